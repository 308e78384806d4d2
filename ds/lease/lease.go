package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
)

// Lease is a lease that was granted. Its methods may be called by many
// goroutines.
type Lease struct {
	d      command.Doer
	owned  *owned.Set
	name   string
	names  names
	id     string // of this acquisition
	owner  string
	ttl    time.Duration
	token  int64
	share  bool            // of the lease, with other readers
	queued bool            // came by the queue: somebody may wait there
	parent context.Context // what Acquire was called with
	outer  *Lease          // the lease that parent belongs to, or nil
	hold   hold.Hold
	loss   LostError // what its context ends with, once it has

	turn     chan struct{} // held by the Release that runs; guards what follows
	released bool
	result   error  // of the release
	unsure   bool   // an earlier release may have run
	ticket   Ticket // of HandOver, with a token once it was handed over
}

// Name returns the name of the lease.
func (l *Lease) Name() string { return l.name }

// Owner returns the name of the holder that others are shown.
func (l *Lease) Owner() string { return l.owner }

// Token returns the fencing token: a positive number that is greater than the
// token of every earlier grant of that name. Hand it on to whatever the lease
// protects outside of this server, and have that refuse smaller tokens than it
// has seen.
func (l *Lease) Token() int64 { return l.token }

// Context returns the context for the work under the lease. It ends before the
// server lets anyone else in, with a *LostError as context.Cause, and when the
// context ends that Acquire was called with. It has that one's values.
func (l *Lease) Context() context.Context { return l.hold.Context() }

// Remaining returns for how long the lease may be trusted without a further
// renewal; 0 when it is lost or released.
func (l *Lease) Remaining() time.Duration { return l.hold.Remaining() }

// Release ends the lease's context and deletes the lease on the server, if it is
// still ours there. It works on a server that is out of memory. It may be called
// more than once and returns the same then, unless the call before failed to
// reach the server.
//
// It returns nil when the lease was ours to the end, a *LostError when the
// server says that it was not, and else why the server could not be asked. If
// ctx has ended or ends meanwhile, the release goes on in the background for
// 2 s at most and the error wraps that of ctx and its cause. A lease that is not
// released lapses after its TTL. ctx may come from the lease's own context:
// then the context counts that Acquire was called with.
func (l *Lease) Release(ctx context.Context) error {
	if within(ctx, l) {
		ctx = l.parent
	}
	l.hold.Stop()
	if !l.begin(ctx) {
		return wrap(l.name, wait.Ended(ctx))
	}
	defer func() { <-l.turn }()
	if l.released {
		return l.result
	}
	if ctx.Err() != nil {
		l.abandon(ctx)
		return wrap(l.name, wait.Ended(ctx))
	}
	why, err := l.giveBack(ctx)
	if err != nil {
		l.unsure = l.unsure || script.MayHaveRun(err)
		if ctx.Err() != nil {
			l.abandon(ctx)
		}
		return wrap(l.name, wait.Because(ctx, err))
	}
	l.released = true
	// Not there, but perhaps because the call before had deleted it unseen.
	if why != "" && !l.unsure {
		l.result = l.notOurs(why)
	}
	return l.result
}

// begin waits until no other Release runs. It reports false if ctx ended first.
func (l *Lease) begin(ctx context.Context) bool {
	// A select alone would let an ended context win by chance, and then nobody
	// would see to the release.
	select {
	case l.turn <- struct{}{}:
		return true
	default:
	}
	select {
	case l.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// notOurs says why the lease had gone before its release. why is the server's
// word; the hold may know better.
func (l *Lease) notOurs(why hold.Reason) error {
	var lost *LostError
	if errors.As(l.hold.Err(), &lost) && lost.Name == l.name && lost.Token == l.token && lost.Reason != reasonReleased {
		return lost
	}
	return &LostError{Name: l.name, Token: l.token, Reason: string(why)}
}

// abandon releases the lease for a caller who has gone. A later Release finds
// out what came of it.
func (l *Lease) abandon(ctx context.Context) {
	l.unsure = true
	l.owned.After(ctx, func(ctx context.Context) {
		// Best effort: what stays lapses after its TTL.
		_, _ = l.giveBack(ctx)
	})
}

// row is a Lease as its renewals see it.
type row Lease

// Script returns renew.lua.
func (*row) Script() *command.Script { return lua.renew }

// Append appends what renew.lua takes for one lease.
func (r *row) Append(keys []string, args []command.Arg) ([]string, []command.Arg) {
	return append(keys, r.names.lease, r.names.fence), append(args, command.Str(r.id), command.Int(r.token), command.Int(r.ttl.Milliseconds()))
}

// keeper is a Lease as its hold sees it.
type keeper Lease

// Value makes the lease's context lead to the lease.
func (k *keeper) Value(key any) any {
	if key == (contextKey{}) {
		return (*Lease)(k)
	}
	return nil
}

// Ended takes the lease from those that the client's Close ends.
func (k *keeper) Ended() { k.owned.Remove(k) }

// Stop ends the lease with its client. It does not release it: code that held it
// may be still running.
func (k *keeper) Stop() { k.hold.Stop() }

// keep makes the lease end with its client.
func (l *Lease) keep() error {
	err := l.owned.Add((*keeper)(l))
	if l.hold.Err() != nil {
		l.owned.Remove((*keeper)(l)) // its end may have come first
	}
	return err
}

// Lost builds the cause of the end of the lease's context.
func (k *keeper) Lost(reason hold.Reason, err error) error {
	l, e := (*Lease)(k), &k.loss
	*e = LostError{Name: l.name, Token: l.token, Reason: string(reason), Err: notReplicated(l.name, err)}
	if reason == hold.Released && l.owned.Closed() {
		e.Reason = reasonClosed
	}
	if _, ok := err.(*hold.GoneError); ok {
		e.Err = nil // says no more than the reason
	}
	return e
}

// String names the lease, its owner and its token.
func (l *Lease) String() string {
	return fmt.Sprintf("lease %s (token %d, owner %s)", l.name, l.token, l.owner)
}

// attachment is where a client keeps its leases.
type attachment struct{}

// contextKey is where a lease's context keeps its lease.
type contextKey struct{}

func leaseOf(ctx context.Context) *Lease {
	l, _ := ctx.Value(contextKey{}).(*Lease)
	return l
}

// reentrant reports whether ctx comes from the lease that id holds.
func reentrant(ctx context.Context, id string) bool {
	for l := leaseOf(ctx); l != nil; l = l.outer {
		if l.id == id {
			return true
		}
	}
	return false
}

// within reports whether ctx comes from the context of l.
func within(ctx context.Context, l *Lease) bool { return reentrant(ctx, l.id) }
