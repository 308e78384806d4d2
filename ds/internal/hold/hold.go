package hold

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/replicas"
)

// ErrGone is what Renew wraps when the server says that the thing is not ours:
// deleted, lapsed, or somebody else's.
var ErrGone = errors.New("hold: gone")

// Reason says why a Hold has ended.
type Reason string

// The reasons.
const (
	Expired  Reason = "expired"  // the trust window closed without a renewal
	Gone     Reason = "gone"     // the server says that it is not ours
	Clock    Reason = "clock"    // the machine has slept, or its wall clock was set forward
	Released Reason = "released" // Stop was called

	// What a row's script may say instead of Gone; see Row.

	NotOwner   Reason = "not owner"   // somebody else got it after it had gone
	TakenOver  Reason = "taken over"  // somebody took it by force
	HandedOver Reason = "handed over" // it was given to somebody else
	// Failover takes the place of Gone and NotOwner when another server says so
	// than the one that confirmed it last: promoted, or restarted.
	Failover Reason = "failover"
)

// GoneError is an ErrGone with a reason.
type GoneError struct{ Reason Reason }

// Error gives the reason.
func (e *GoneError) Error() string { return "hold: " + string(e.Reason) }

// Unwrap returns ErrGone.
func (e *GoneError) Unwrap() error { return ErrGone }

// Options says how to keep something.
type Options struct {
	// TTL is how long the server keeps it after each grant or renewal. It must
	// be positive.
	TTL time.Duration
	// Renew asks the server for another TTL. It returns nil, an error that
	// wraps ErrGone, or any other error, which says nothing. Its context ends
	// with the hold. Nil means that it is never renewed, unless Row is set.
	Renew func(ctx context.Context) error
	// Row, if not nil, renews in place of Renew, together with what else of the
	// Doer's is due then.
	Row Row
	// Doer sends what Row needs.
	Doer command.Doer
	// Confirm is how many replicas must have a renewal for it to count. It needs
	// a Row and a Doer that is a command.Batcher.
	Confirm replicas.Need
	// Lost builds the cause of the context's end. It is called at most once,
	// must not block and must not call the Hold. err is the last error of
	// Renew, if there was one. Nil means a *LostError.
	Lost func(reason Reason, err error) error
	// Owner, if not nil, takes the place of Lost.
	Owner Owner

	// sleep is how long the machine seems to have slept, for tests: wall and
	// monotonic clock cannot be made to differ from outside.
	sleep func() time.Duration
}

// Owner is what a hold belongs to, where that wants more than Lost. Its methods
// must not block and must not call the Hold.
type Owner interface {
	// Lost is Options.Lost.
	Lost(reason Reason, err error) error
	// Ended is called once, when the hold has ended for whatever reason.
	Ended()
	// Value is what the hold's context has besides its parent's values.
	Value(key any) any
}

// LostError is the cause where Options.Lost builds none.
type LostError struct {
	Reason Reason
	Err    error // the last error of Renew, or nil
}

// Error gives the reason and the last error.
func (e *LostError) Error() string {
	if e.Err == nil {
		return "hold: lost: " + string(e.Reason)
	}
	return fmt.Sprintf("hold: lost: %s: %v", e.Reason, e.Err)
}

// Unwrap returns the last error of Renew.
func (e *LostError) Unwrap() error { return e.Err }

// Margin returns how long before the server's end a hold of that TTL stops
// trusting it: a tenth of the TTL, at least 5 ms (but no more than half the
// TTL) and at most 1 s.
func Margin(ttl time.Duration) time.Duration {
	return min(max(ttl/10, 5*time.Millisecond), time.Second, ttl/2)
}

// Hold is one thing held. Use Start to make one, or Begin on a zero Hold.
type Hold struct {
	o      Options
	margin time.Duration
	ctx    context.Context // ends with cancel
	cancel context.CancelCauseFunc
	forget func() bool // stops watching the parent

	renewals sync.WaitGroup // renewals in flight

	mu     sync.Mutex
	until  time.Time   // the end of the trust window
	base   time.Time   // when the request that opened the window left
	ended  bool        // lost, stopped or without a parent
	cause  error       // why, when ended
	err    error       // the last error of Renew
	server string      // which one confirmed it last, "" when unknown
	group  *group      // renews it with others and ends it, or nil: then
	expiry *time.Timer // ends it at until, and
	beat   *time.Timer // starts the next renewal

	entry // in the group, whose lock guards it
}

// Start returns a Hold on what a request got that left at sent, a time.Now from
// before it left. The Hold renews until it is lost or stopped, or parent ends;
// its context has the parent's values. Whoever starts one must Stop it.
//
// If the window has closed already, the Hold is lost from the start.
func Start(parent context.Context, sent time.Time, o Options) *Hold {
	h := new(Hold)
	h.Begin(parent, sent, o)
	return h
}

// Begin is Start for a zero Hold that is part of something else.
func (h *Hold) Begin(parent context.Context, sent time.Time, o Options) {
	h.o, h.margin, h.base = o, Margin(o.TTL), sent
	h.until = sent.Add(o.TTL - h.margin)
	h.ctx, h.cancel = context.WithCancelCause(parent)

	// The timers below may fire before this returns: they wait for mu.
	h.mu.Lock()
	h.schedule()
	if parent.Done() != nil {
		// The parent tells its children in any order: the callback may be here
		// first, so it brings the parent's own cause along.
		h.forget = context.AfterFunc(parent, func() { h.end(context.Cause(parent)) })
	}
	h.mu.Unlock()
}

// jitter returns a duration between -d and d.
func jitter(d time.Duration) time.Duration { return rand.N(2*d+1) - d }

// Context returns the context that ends when the hold does, with the cause that
// Options.Lost built, or with the parent's.
func (h *Hold) Context() context.Context { return (*watched)(h) }

// Remaining returns for how long the thing may be trusted without a further
// renewal, 0 when it may not.
func (h *Hold) Remaining() time.Duration {
	if !h.trusted() {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(time.Until(h.until), 0)
}

// Err returns nil while the thing may be trusted, and then the cause.
func (h *Hold) Err() error {
	h.trusted()
	return context.Cause(h.ctx)
}

// Stop ends the hold with reason Released unless it has ended already, and
// waits for a renewal in flight that is Renew's, whose context it ends. It gives
// nothing back to the server. It may be called more than once.
func (h *Hold) Stop() { h.StopFor(Released) }

// StopFor is Stop with another reason.
func (h *Hold) StopFor(reason Reason) {
	h.lose(reason)
	h.renewals.Wait()
}

// Lose ends the hold: the server said to somebody else than Renew that the thing
// is not ours, and why. err is what it said. A hold that has ended stays as it
// is.
func (h *Hold) Lose(reason Reason, err error) {
	h.mu.Lock()
	if !h.ended {
		h.err = err
	}
	h.mu.Unlock()
	h.lose(reason)
}

// trusted reports whether the window is open, and ends the hold if it is not.
func (h *Hold) trusted() bool {
	now := time.Now()
	h.mu.Lock()
	ended, reason := h.ended, Reason("")
	switch {
	case ended:
	case h.slept(now) > h.margin:
		reason = Clock
	case !now.Before(h.until):
		reason = Expired
	}
	cause := h.cause
	h.mu.Unlock()
	if ended {
		// Another goroutine may be between its decision and its cancel.
		h.cancel(cause)
		return false
	}
	if reason != "" {
		h.lose(reason)
		return false
	}
	return h.ctx.Err() == nil
}

// slept returns by how much the wall clock has run ahead of the monotonic one
// since the window opened. On Linux and macOS Go's monotonic clock stands still
// while the machine sleeps, and the server's does not.
func (h *Hold) slept(now time.Time) time.Duration {
	wall := now.Round(0).Sub(h.base.Round(0))
	gap := wall - now.Sub(h.base)
	if h.o.sleep != nil {
		gap += h.o.sleep()
	}
	return gap
}

// lose ends the hold for a reason.
func (h *Hold) lose(reason Reason) {
	h.mu.Lock()
	if h.ended {
		cause := h.cause
		h.mu.Unlock()
		h.cancel(cause)
		return
	}
	cause := h.lost(reason)
	h.finish(cause)
	h.mu.Unlock()
	h.tell(cause)
}

// tell ends the context, and leaves nothing at the parent. It is called outside
// of mu: who derived from the context may do anything.
func (h *Hold) tell(cause error) {
	h.cancel(cause)
	if h.forget != nil {
		h.forget()
	}
}

// lost builds the cause. The caller holds mu.
func (h *Hold) lost(reason Reason) error {
	switch {
	case h.o.Owner != nil:
		return h.o.Owner.Lost(reason, h.err)
	case h.o.Lost != nil:
		return h.o.Lost(reason, h.err)
	}
	return &LostError{Reason: reason, Err: h.err}
}

// end ends the hold with a cause of its own.
func (h *Hold) end(cause error) {
	h.mu.Lock()
	if !h.ended {
		h.finish(cause)
	}
	cause = h.cause
	h.mu.Unlock()
	h.tell(cause)
}

// finish notes the end. The caller holds mu.
func (h *Hold) finish(cause error) {
	h.ended, h.cause = true, cause
	for _, t := range []*time.Timer{h.expiry, h.beat} {
		if t != nil {
			t.Stop()
		}
	}
	if h.group != nil {
		h.group.remove(h)
	}
	if h.o.Owner != nil {
		h.o.Owner.Ended()
	}
}

// schedule sets up the first renewal and the end. The caller holds mu.
func (h *Hold) schedule() {
	first := h.o.TTL/3 - time.Since(h.base) + jitter(h.o.TTL/30)
	if h.o.Row != nil && h.join(first) {
		return
	}
	h.expiry = time.AfterFunc(time.Until(h.until), func() { h.trusted() })
	if h.o.Renew != nil {
		h.beat = time.AfterFunc(first, h.renew)
	}
}

// again sets up the next renewal and the end. The caller holds mu.
func (h *Hold) again(d time.Duration) {
	if h.group != nil {
		h.group = h.group.add(h, d)
		return
	}
	h.expiry.Reset(time.Until(h.until))
	h.beat.Reset(d)
}

// renew is the beat: one renewal, and what follows from it.
func (h *Hold) renew() {
	if !h.trusted() {
		return
	}
	h.mu.Lock()
	if h.ended {
		h.mu.Unlock()
		return
	}
	// Under mu and before ended is set, so that Stop cannot miss it.
	h.renewals.Add(1)
	h.mu.Unlock()
	defer h.renewals.Done()

	sent := time.Now()
	h.renewed(sent, h.o.Renew(h.ctx))
}

// renewed is what follows from a renewal that left at sent.
func (h *Hold) renewed(sent time.Time, err error) {
	if !h.trusted() {
		return // also a late success: who looked meanwhile has seen the end
	}
	if errors.Is(err, ErrGone) {
		reason := Gone
		var why *GoneError
		if errors.As(err, &why) {
			reason = why.Reason
		}
		h.Lose(reason, err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	h.err = err
	if err != nil {
		h.again(h.o.TTL/20 + rand.N(h.o.TTL/20+1))
		return
	}
	h.base, h.until = sent, sent.Add(h.o.TTL-h.margin)
	h.again(h.o.TTL/3 - time.Since(sent) + jitter(h.o.TTL/30))
}

// watched is the context of a Hold: it looks at the clock on every use.
//
// Without it a process that was stopped past the end of its window could begin
// a command before the runtime runs the overdue timer:
//
//  1. SIGSTOP; the lease lapses; somebody else gets it.
//  2. SIGCONT; the goroutine is first to run, asks ctx.Err(), and hears nil.
//  3. The timer fires.
type watched Hold

// Deadline returns the parent's.
func (w *watched) Deadline() (time.Time, bool) { return w.ctx.Deadline() }

// Done returns the channel that is closed at the end.
func (w *watched) Done() <-chan struct{} {
	(*Hold)(w).trusted()
	return w.ctx.Done()
}

// Err returns nil until the end.
func (w *watched) Err() error {
	(*Hold)(w).trusted()
	return w.ctx.Err()
}

// Value returns the owner's value, or the parent's. context.Cause asks for one,
// too.
func (w *watched) Value(key any) any {
	(*Hold)(w).trusted()
	if w.o.Owner != nil {
		if v := w.o.Owner.Value(key); v != nil {
			return v
		}
	}
	return w.ctx.Value(key)
}
