package queue

import (
	"context"
	"fmt"

	"github.com/redisx/redisx/ds/internal/hold"
)

// state is where a delivery stands. The drawing is in doc.go.
type state uint8

const (
	held     state = iota // ours, kept by heartbeats
	lapsed                // ours no longer for sure: only the server knows
	settling              // a settling script is on its way
	settled               // done, to be retried, dead, or handed back
	stale                 // the server said that it is not ours
)

// verb is a way to settle a delivery.
type verb uint8

const (
	noVerb verb = iota
	ackVerb
	retryVerb
	deadVerb
	releaseVerb
)

// The codes of the settling scripts.
const (
	codeGone  = -1
	codeTaken = 0
	codeOK    = 1
)

// delivery is one delivery of a job to a consumer. The fields below the first
// group belong to the consumer's mu.
type delivery struct {
	c       *consumer
	id      string
	attempt int64
	payload []byte
	hold    *hold.Hold
	ctx     context.Context
	cancel  context.CancelCauseFunc

	state state
	from  state // held or lapsed: what a failed settling goes back to
	by    verb  // who settles or settled it
	maybe verb  // a settling by it was sent and got no answer
	cause *StaleError
}

// to makes a step of the state machine. A step that is not drawn is a bug.
func (d *delivery) to(next state) {
	ok := false
	switch d.state {
	case held:
		ok = next != held
	case lapsed:
		ok = next == settling
	case settling:
		ok = next != settling
	}
	if !ok {
		panic(fmt.Sprintf("queue: delivery goes from state %d to %d", d.state, next))
	}
	d.state = next
}

func (d *delivery) staleError(reason string, err error) *StaleError {
	return &StaleError{Queue: d.c.core.name, ID: d.id, Attempt: int(d.attempt), Reason: reason, Err: err}
}

// jobContext is a delivery's context. It looks at the clock on every use, as
// the context of a hold does: after a pause of the process the first look finds
// it ended, even if no timer has run yet.
type jobContext struct {
	context.Context
	d *delivery
}

func (c jobContext) look() {
	if c.Context.Err() == nil && c.d.hold.Err() != nil {
		c.d.c.lapse(c.d)
	}
}

// Done returns the channel that is closed at the end.
func (c jobContext) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

// Err returns nil until the end.
func (c jobContext) Err() error {
	c.look()
	return c.Context.Err()
}

// Value returns the parent's value. context.Cause asks for one, too.
func (c jobContext) Value(key any) any {
	c.look()
	return c.Context.Value(key)
}
