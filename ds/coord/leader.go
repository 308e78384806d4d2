package coord

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/resp3"
)

// Term is one leadership, from its election to its end. Its methods may be
// called by many goroutines.
type Term struct {
	e      *Election
	owned  *owned.Set
	lease  *lease.Lease
	stop   context.CancelCauseFunc // ends the lease's context and renewal, and releases nothing
	parent context.Context         // what Campaign was called with

	ctx    context.Context // ends with cancel; users get it as a termContext
	cancel context.CancelCauseFunc

	keeper sync.WaitGroup // the keeper, where no client owns it
	checks time.Time      // when the next health check is due; of the keeper
}

// newTerm makes a term of a lease that was granted. start sets it going.
func newTerm(parent context.Context, e *Election, s *owned.Set, l *lease.Lease, stop context.CancelCauseFunc) *Term {
	t := &Term{e: e, owned: s, lease: l, stop: stop, parent: parent, checks: time.Now().Add(e.o.ttl / 3)}
	// Cut off from the lease's end, to end with a cause of our own.
	values := context.WithValue(context.WithoutCancel(l.Context()), termKey{}, t)
	t.ctx, t.cancel = context.WithCancelCause(values)
	context.AfterFunc(l.Context(), t.look)
	return t
}

// start starts the keeper.
func (t *Term) start() error {
	if t.owned == nil {
		t.keeper.Go(t.keep)
		return nil
	}
	if err := t.owned.Add(ending{t}); err != nil {
		return err
	}
	if !t.owned.Go(func(context.Context) {
		t.keep()
		t.owned.Remove(ending{t})
	}) {
		return owned.ErrClosed
	}
	return nil
}

// ending is a term for its client, which ends it when it is closed.
type ending struct{ t *Term }

// Stop ends the term with reason closed.
func (e ending) Stop() { e.t.end(reasonClosed, nil) }

// keep is the keeper: it looks after the term until that ends.
func (t *Term) keep() {
	_ = wait.Until(t.Context(), t.e.d, t.e.keys.stepdown, t.check)
}

// Name returns the name of the election.
func (t *Term) Name() string { return t.e.name }

// Leader returns what this leader is called: see the option Name.
func (t *Term) Leader() string { return t.e.o.name }

// Token returns the term's number, which is a fencing token: positive, and
// greater than that of every earlier term of the election. Hand it on to
// whatever the leader writes to outside of this server, and have that refuse
// smaller tokens than it has seen.
func (t *Term) Token() int64 { return t.lease.Token() }

// Remaining returns for how long the term may be trusted without a further
// renewal; 0 when it has ended.
func (t *Term) Remaining() time.Duration {
	if t.Context().Err() != nil {
		return 0
	}
	return t.lease.Remaining()
}

// Context returns the context for the work of the leader. It ends before
// anybody else can lead, with a *LostError as context.Cause, and when the
// context ends that Campaign was called with. It has that one's values.
func (t *Term) Context() context.Context { return termContext{t.ctx, t} }

// Do is the fenced write: the server runs the commands if this term still runs,
// and else none of them; then the error is a *lease.FencedError, and the term's
// context ends. All else is as with Lease.Do of package lease: it returns one
// reply for each command, and it is sent even when the term's context has
// ended, if ctx has not.
//
// In a cluster all keys must be in the slot of the election: give them its hash
// tag, "{redisx:lease:leader:NAME}" for a name without %, {, } and control
// bytes.
func (t *Term) Do(ctx context.Context, commands ...command.Sendable) ([]resp3.Value, error) {
	return t.lease.Do(ctx, commands...)
}

// Resign ends the term's context and then the term on the server, so that
// others can lead at once. It ends this term only: a later one of whomever is
// not touched. It works on a server that is out of memory. It may be called more
// than once.
//
// It returns nil when the term was ours to the end, a *LostError when the server
// says that it was not, and else why the server could not be asked. If ctx has
// ended or ends meanwhile, the resignation goes on in the background, for 2 s at
// most, and for 1 s of the client's Close; the error wraps the cause of ctx then.
// ctx may come from the term's own context: then the context counts that
// Campaign was called with.
func (t *Term) Resign(ctx context.Context) error {
	if termOf(ctx) == t {
		ctx = t.parent
	}
	t.end(reasonResigned, nil)
	if t.owned == nil {
		t.keeper.Wait()
		return t.resigned(t.lease.Release(ctx))
	}
	done := make(chan error, 1)
	// Not with ctx alone: who is shutting down has an ended context, and closes
	// the client next, and then the others would wait for a TTL.
	if !t.owned.Go(func(end context.Context) {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(owned.AfterTimeout, cancel) })()
		defer context.AfterFunc(end, cancel)()
		done <- t.lease.Release(own)
	}) {
		return wrap("election", t.e.name, owned.ErrClosed)
	}
	select {
	case err := <-done:
		return t.resigned(err)
	case <-ctx.Done():
		return wrap("election", t.e.name, wait.Ended(ctx))
	}
}

// resigned turns what Release of the lease returned into what Resign returns.
func (t *Term) resigned(err error) error {
	var lost *lease.LostError
	if errors.As(err, &lost) {
		return t.lost(lost.Reason, lost)
	}
	if err != nil {
		return wrap("election", t.e.name, err)
	}
	return nil
}

// end ends the term's context, and the renewal of its lease with it. The first
// end stays.
func (t *Term) end(reason string, err error) {
	t.look()
	cause := t.lost(reason, err)
	t.cancel(cause)
	t.stop(cause)
}

// look ends the term's context if the lease has ended.
func (t *Term) look() {
	of := t.lease.Context()
	if of.Err() == nil {
		return
	}
	cause := context.Cause(of)
	var lost *lease.LostError
	// Another lease may be the parent: its loss is passed on as it is.
	if errors.As(cause, &lost) && lost.Token == t.Token() && lost.Name == t.lease.Name() {
		cause = t.lost(lost.Reason, lost)
	}
	t.cancel(cause)
	t.stop(cause) // nothing is left with the parent, which may last
}

func (t *Term) lost(reason string, err error) *LostError {
	return &LostError{Kind: "leadership", Name: t.e.name, Token: t.Token(), Reason: reason, Err: err}
}

// check is what the keeper does whenever something may have changed: it asks
// for the health of this process, and looks for a request to step down. It has
// the form that wait.Until takes, and is done when it has ended the term.
func (t *Term) check(ctx context.Context) (done bool, next time.Duration, err error) {
	if t.e.o.healthy != nil && !time.Now().Before(t.checks) {
		if err := t.health(ctx); err != nil {
			t.end(reasonUnhealthy, err)
			return true, 0, nil
		}
		t.checks = time.Now().Add(t.e.o.ttl / 3)
	}
	asked, err := command.Do(ctx, t.e.d, command.HMGet(t.e.keys.stepdown, "term", "by", "why"))
	if err != nil {
		// The lease's renewal will say what is wrong. Look again with the next.
		return false, t.e.o.ttl / 3, nil
	}
	if len(asked) == 3 && asked[0].Value == fmt.Sprint(t.Token()) {
		by := "by " + asked[1].Value
		if why := asked[2].Value; why != "" {
			by += ": " + why
		}
		t.end(reasonAsked, errors.New(by))
		return true, 0, nil
	}
	if t.e.o.healthy != nil {
		return false, max(time.Until(t.checks), time.Millisecond), nil
	}
	return false, 0, nil
}

// health asks for the health of the leader. A check that does not mind its
// context must not keep the term alive, so a timer ends it.
func (t *Term) health(ctx context.Context) error {
	slow := time.AfterFunc(t.e.o.ttl/3, func() { t.end(reasonUnhealthy, errSlow) })
	defer slow.Stop()
	return t.e.health(ctx)
}

// String names the election, the leader and the term.
func (t *Term) String() string {
	return fmt.Sprintf("term %d of %s, led by %s", t.Token(), t.e.name, t.e.o.name)
}

// termKey is where a term's context keeps its term.
type termKey struct{}

// termOf returns the term that ctx comes from, or nil.
func termOf(ctx context.Context) *Term {
	t, _ := ctx.Value(termKey{}).(*Term)
	return t
}

// termContext is the context of a term. Like that of the lease below it looks
// at the clock on every use, so that after a pause of the process the first
// look finds it ended.
type termContext struct {
	context.Context
	t *Term
}

// Deadline returns that of the context which Campaign was called with.
func (c termContext) Deadline() (time.Time, bool) { return c.t.parent.Deadline() }

// Done returns the channel that is closed at the end.
func (c termContext) Done() <-chan struct{} {
	c.t.look()
	return c.Context.Done()
}

// Err returns nil until the end.
func (c termContext) Err() error {
	c.t.look()
	return c.Context.Err()
}

// Value returns the parent's value. context.Cause asks for one, too.
func (c termContext) Value(key any) any {
	c.t.look()
	return c.Context.Value(key)
}
