package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/batch"
	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/replicas"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
)

// Acquire waits until the lease of that name is free, and takes it. The lease
// is renewed until it is released or lost, or until ctx ends: ctx bounds the
// wait and is the parent of the lease's context.
//
// When ctx ends first, the error is a *HeldError if somebody else was seen to
// hold the lease, and in any case wraps the error of ctx and its cause. It is
// ErrReentrant where ctx comes from a lease of the same name that is still
// held, an *UnsafeServerError where the server may evict keys, a *LostError
// where the grant took so long on its way that it came too late, and otherwise
// what the server or the connection said. Whatever the error, the lease is not
// held; where its request may have been granted unseen, that grant is released
// in the background, and lapses after the TTL if that fails, too.
//
// A request whose answer was lost is sent once more with the same id, which
// cannot be granted twice.
func Acquire(ctx context.Context, d command.Doer, name string, opts ...Option) (*Lease, error) {
	a, err := newAttempt(ctx, d, name, opts)
	if err != nil {
		return nil, err
	}
	return a.result(ctx, a.wait(ctx))
}

// TryAcquire takes the lease of that name if it is free and nobody waits for it
// in the queue, and else returns a
// *HeldError at once. All else is as with Acquire.
func TryAcquire(ctx context.Context, d command.Doer, name string, opts ...Option) (*Lease, error) {
	a, err := newAttempt(ctx, d, name, opts)
	if err != nil {
		return nil, err
	}
	return a.result(ctx, a.once(ctx))
}

// With acquires the lease, runs fn with the lease's context, and releases it,
// also when fn panics.
//
// It returns what fn returned. If the lease was lost before its release, that
// *LostError is joined to it, even when fn returned nil: fn may have run beside
// another holder. A release that fails otherwise is no error of With: the work
// is done, and the lease lapses after its TTL.
func With(ctx context.Context, d command.Doer, name string, fn func(ctx context.Context, l *Lease) error, opts ...Option) (err error) {
	l, err := Acquire(ctx, d, name, opts...)
	if err != nil {
		return err
	}
	defer func() {
		// Asked before the release: that one may get no answer, and then says
		// nothing of a loss. fn may have released the lease itself.
		cause := context.Cause(l.Context())
		released := l.Release(ctx)
		for _, lost := range []error{cause, released} {
			var e *LostError
			if errors.As(lost, &e) && e.Reason != string(hold.Released) && !errors.Is(err, ErrLost) {
				err = errors.Join(err, lost)
			}
		}
	}()
	return fn(l.Context(), l)
}

// attempt is one acquisition, from its id to its lease.
type attempt struct {
	d     command.Doer
	owned *owned.Set
	o     options
	name  string
	names names
	id    string

	sent    time.Time // when the granted request left
	granted bool
	token   int64
	held    *holder         // who was last seen to have it
	quiet   *UnsettledError // when the server was last seen to be unsettled
	unsure  bool            // a request may have been granted unseen
	over    <-chan struct{} // nil, or closed when that request can run no more
	waits   bool            // Acquire, not TryAcquire
	queued  bool            // has to do with the queue

	made Lease // what it leads to: one allocation with the attempt
}

func newAttempt(ctx context.Context, d command.Doer, name string, opts []Option) (*attempt, error) {
	a := &attempt{d: d, name: name}
	if err := a.o.build(name, opts); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, wrap(name, wait.Ended(ctx))
	}
	var err error
	if a.owned, err = owned.By(d, attachment{}); err != nil {
		return nil, wrap(name, err)
	}
	if !a.o.allowEviction {
		if err := evict.Check(ctx, d); err != nil {
			return nil, wrap(name, wait.Because(ctx, err))
		}
	}
	a.names, a.id = namesOf(a.o.namespace, name), owner.New()
	return a, nil
}

// try asks once, and once more when the answer was lost. It has the form that
// wait.Until takes.
func (a *attempt) try(ctx context.Context) (done bool, again time.Duration, err error) {
	g, err := a.ask(ctx)
	if err != nil && a.unsure && !a.granted && ctx.Err() == nil {
		g, err = a.ask(ctx)
	}
	if err != nil {
		return false, 0, err
	}
	switch g.verdict {
	case granted:
		a.granted, a.token = true, g.token
		if a.o.strict {
			again, err = a.settle(ctx)
		}
		return a.granted, again, err
	case refused:
		held := g.held
		a.held, a.quiet = &held, nil
		if reentrant(ctx, held.id) {
			return false, 0, ErrReentrant
		}
		// Who is to wait fairly goes on in the queue.
		return a.o.fair && !a.queued, a.pause(g.again), nil
	case seeQueue:
		if !a.queued {
			return true, 0, nil
		}
	case queueFull:
		return false, 0, ErrQueueFull
	case isReader:
		return false, 0, ErrReentrant
	case neverFits:
		return false, 0, &NeverFitsError{Weight: a.o.weight, Limit: g.held.limit}
	}
	return false, 0, errNoGrant
}

// ask runs acquire.lua, or queue.lua for who has to do with the queue.
func (a *attempt) ask(ctx context.Context) (g grant, err error) {
	if a.queued {
		return a.askQueue(ctx)
	}
	g, a.sent, err = lua.acquire.Run(ctx, a.d, a.o.confirm, []string{a.names.lease, a.names.fence}, []command.Arg{
		command.Str(a.id), command.Str(a.o.owner), command.Int(a.o.ttl.Milliseconds()), command.Str(a.o.meta),
	})
	if err == nil {
		return g, nil
	}
	return g, a.failed(g, err)
}

// send runs another script that grants.
func (a *attempt) send(ctx context.Context, s *command.Script, keys []string, args ...command.Arg) (grant, error) {
	a.sent = time.Now()
	g, err := replicas.Run(ctx, a.d, a.o.confirm, s, asGrant, keys, args...)
	if err == nil {
		return g, nil
	}
	return g, a.failed(g, err)
}

// failed notes what an error leaves open, and returns it if it is one.
func (a *attempt) failed(g grant, err error) error {
	var short *replicas.ShortError
	switch {
	case errors.As(err, &short) && g.verdict != granted:
		err = nil // who is refused needs no replica
	case errors.As(err, &short):
		a.granted, err = true, notReplicated(a.name, err)
	case script.MayHaveRun(err):
		a.unsure, a.over = true, batch.Over(err)
	}
	return err
}

// result turns the end of waiting into a lease or an error.
func (a *attempt) result(ctx context.Context, err error) (*Lease, error) {
	if a.granted && err == nil && ctx.Err() == nil {
		l := a.lease(ctx)
		if err = l.hold.Err(); err == nil {
			if err = l.keep(); err == nil {
				return l, nil
			}
		}
		// The grant came when its window had closed, or the client is closing.
		l.hold.Stop()
	}
	if a.granted || a.unsure || a.queued && a.waits {
		a.abandon(ctx)
	}
	switch {
	case ctx.Err() != nil && a.quiet != nil:
		a.quiet.Err = wait.Ended(ctx)
		return nil, a.quiet
	case ctx.Err() != nil && a.held != nil:
		return nil, a.heldError(wait.Ended(ctx))
	case ctx.Err() != nil:
		return nil, wrap(a.name, wait.Because(ctx, err))
	case err != nil:
		return nil, wrap(a.name, err)
	}
	return nil, a.heldError(nil)
}

func (a *attempt) heldError(err error) error {
	h := a.held
	return &HeldError{
		Name: a.name, Owner: h.owner, Token: h.token, Since: h.since, TTL: h.left, Meta: h.meta,
		Readers: h.readers, Used: h.used, Limit: h.limit, Position: h.position, Waiting: h.waiting, Err: err,
	}
}

// lease starts to hold what was granted.
func (a *attempt) lease(ctx context.Context) *Lease {
	l := &a.made
	*l = Lease{
		d: a.d, owned: a.owned, name: a.name, names: a.names, id: a.id, owner: a.o.owner, ttl: a.o.ttl, token: a.token,
		parent: ctx, outer: leaseOf(ctx), ticket: Ticket{Namespace: a.o.namespace, Name: a.name}, turn: make(chan struct{}, 1), share: a.o.shared, queued: a.queued,
	}
	l.hold.Begin(ctx, a.sent, hold.Options{
		TTL: a.o.ttl, Row: l.row(), Doer: a.d, Confirm: a.o.confirm, Owner: (*keeper)(l),
	})
	return l
}

// abandon releases what nobody will use, for a caller who has gone.
func (a *attempt) abandon(ctx context.Context) {
	a.owned.After(ctx, func(ctx context.Context) {
		if a.over != nil {
			select {
			case <-a.over:
			case <-ctx.Done():
			}
		}
		// Best effort: what stays lapses after its TTL.
		_, _ = leave(ctx, a.d, a.names, a.id, a.token)
	})
}

// wrap adds the name of the lease.
func wrap(name string, err error) error {
	var lost *LostError
	var short *NotReplicatedError
	var ticket *TicketError
	var quiet *UnsettledError
	if errors.As(err, &lost) && lost.Name == name || errors.As(err, &short) && short.Name == name || errors.As(err, &ticket) || errors.As(err, &quiet) {
		return err
	}
	return fmt.Errorf("lease: %s: %w", name, err)
}
