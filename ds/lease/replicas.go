package lease

import (
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/ds/internal/replicas"
)

// ErrNotReplicated: too few replicas have confirmed a grant or a renewal. The
// error is a *NotReplicatedError.
var ErrNotReplicated = errors.New("lease: not replicated")

// Replicas makes a grant count only when n replicas have confirmed it within
// that time, and each renewal likewise: with all replicas asked for, none can
// be promoted that does not know the holder. The default is 0: Redis answers
// before its replicas know.
//
// A grant that too few confirm is released, and the error is a
// *NotReplicatedError. A renewal that too few confirm counts as failed and is
// repeated until the lease's window closes, so a lease is lost when replicas
// stay away for longer than its TTL.
//
// A shortfall is reported when the server ends its WAIT: a server that has
// nothing else to do looks at that every 100 ms (its hz).
//
// n is at least 1; within is from 1 ms to a quarter of the TTL, in whole
// milliseconds. The client must be a command.Batcher, as Client and Session
// are: WAIT counts only what its own connection has written. Each grant and
// each batch of renewals takes one of the client's private connections while it
// waits.
func Replicas(n int, within time.Duration) Option {
	return func(o *options) { o.confirm, o.replicated = replicas.Need{Count: n, Within: within}, true }
}

// checkReplicas checks what Replicas was given.
func (o *options) checkReplicas(name string) error {
	need := o.confirm
	switch {
	case !o.replicated:
		return nil
	case need.Count < 1:
		return fmt.Errorf("lease: %s: %d replicas to confirm are less than 1", name, need.Count)
	case need.Within < time.Millisecond || need.Within > o.ttl/4:
		return fmt.Errorf("lease: %s: %v for the replicas is not within 1ms and a quarter of the TTL of %v", name, need.Within, o.ttl)
	case need.Within%time.Millisecond != 0:
		return fmt.Errorf("lease: %s: %v for the replicas is not in whole milliseconds", name, need.Within)
	}
	return nil
}

// NotReplicatedError reports a grant that too few replicas have confirmed. The
// grant has been, or is being, released.
type NotReplicatedError struct {
	Name   string
	Wanted int
	Acked  int           // how many had confirmed; 0 when nobody knows
	Within time.Duration // the time that they had
	Err    error         // why nobody knows, nil when the server counted
}

// Error names the lease and tells how many confirmed of how many.
func (e *NotReplicatedError) Error() string {
	s := fmt.Sprintf("lease: %s: %d of %d replicas confirmed within %v", e.Name, e.Acked, e.Wanted, e.Within)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns ErrNotReplicated and why nobody knows.
func (e *NotReplicatedError) Unwrap() []error { return sentinel(ErrNotReplicated, e.Err) }

// Explain says what to do.
func (e *NotReplicatedError) Explain() string {
	if e.Err != nil {
		return fmt.Sprintf("The primary granted %q, and the connection failed before it told how many replicas have the grant. It is released. Acquire again.", e.Name)
	}
	return fmt.Sprintf("Only %d of %d replicas confirmed the grant of %q within %v, so it was released: a failover could have lost it. "+
		"Look at INFO replication on the primary (connected_slaves, lag); ask for fewer replicas, or give them more time.", e.Acked, e.Wanted, e.Name, e.Within)
}

// notReplicated names the lease in what package replicas reports, and leaves
// other errors as they are.
func notReplicated(name string, err error) error {
	if err == nil {
		return nil
	}
	var short *replicas.ShortError
	if !errors.As(err, &short) {
		return err
	}
	return &NotReplicatedError{Name: name, Wanted: short.Need.Count, Acked: short.Acked, Within: short.Need.Within, Err: short.Err}
}
