package hold

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
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
)

// Options says how to keep something.
type Options struct {
	// TTL is how long the server keeps it after each grant or renewal. It must
	// be positive.
	TTL time.Duration
	// Renew asks the server for another TTL. It returns nil, an error that
	// wraps ErrGone, or any other error, which says nothing. Its context ends
	// with the hold. Nil means that it is never renewed.
	Renew func(ctx context.Context) error
	// Lost builds the cause of the context's end. It is called at most once,
	// must not block and must not call the Hold. err is the last error of
	// Renew, if there was one. Nil means a *LostError.
	Lost func(reason Reason, err error) error

	// sleep is how long the machine seems to have slept, for tests: wall and
	// monotonic clock cannot be made to differ from outside.
	sleep func() time.Duration
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

// Hold is one thing held. Use Start to make one.
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
	expiry *time.Timer // ends the hold at until
	beat   *time.Timer // starts the next renewal
}

// Start returns a Hold on what a request got that left at sent, a time.Now from
// before it left. The Hold renews until it is lost or stopped, or parent ends;
// its context has the parent's values. Whoever starts one must Stop it.
//
// If the window has closed already, the Hold is lost from the start.
func Start(parent context.Context, sent time.Time, o Options) *Hold {
	if o.Lost == nil {
		o.Lost = func(reason Reason, err error) error { return &LostError{Reason: reason, Err: err} }
	}
	if o.sleep == nil {
		o.sleep = func() time.Duration { return 0 }
	}
	h := &Hold{o: o, margin: Margin(o.TTL), base: sent}
	h.until = sent.Add(o.TTL - h.margin)
	h.ctx, h.cancel = context.WithCancelCause(parent)

	// The timers below may fire before this returns: they wait for mu.
	h.mu.Lock()
	h.expiry = time.AfterFunc(time.Until(h.until), func() { h.trusted() })
	if o.Renew != nil {
		h.beat = time.AfterFunc(o.TTL/3-time.Since(sent)+jitter(o.TTL/30), h.renew)
	}
	// The parent tells its children in any order: the callback may be here first,
	// so it brings the parent's own cause along.
	h.forget = context.AfterFunc(parent, func() { h.end(context.Cause(parent)) })
	h.mu.Unlock()
	return h
}

// jitter returns a duration between -d and d.
func jitter(d time.Duration) time.Duration { return rand.N(2*d+1) - d }

// Context returns the context that ends when the hold does, with the cause that
// Options.Lost built, or with the parent's.
func (h *Hold) Context() context.Context { return watched{h.ctx, h} }

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
// waits for a renewal in flight, whose context it ends. It gives nothing back
// to the server. It may be called more than once.
func (h *Hold) Stop() {
	h.lose(Released)
	h.renewals.Wait()
	h.forget()
}

// Lose ends the hold with reason Gone: the server said to somebody else than
// Renew that the thing is not ours. err is what it said. A hold that has ended
// stays as it is.
func (h *Hold) Lose(err error) {
	h.mu.Lock()
	if !h.ended {
		h.err = err
	}
	h.mu.Unlock()
	h.lose(Gone)
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
	return wall - now.Sub(h.base) + h.o.sleep()
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
	cause := h.o.Lost(reason, h.err)
	h.finish(cause)
	h.mu.Unlock()
	// Outside of mu: who derived from the context may do anything.
	h.cancel(cause)
}

// end ends the hold with a cause of its own.
func (h *Hold) end(cause error) {
	h.mu.Lock()
	if !h.ended {
		h.finish(cause)
	}
	cause = h.cause
	h.mu.Unlock()
	h.cancel(cause)
}

// finish notes the end. The caller holds mu.
func (h *Hold) finish(cause error) {
	h.ended, h.cause = true, cause
	h.expiry.Stop()
	if h.beat != nil {
		h.beat.Stop()
	}
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
	err := h.o.Renew(h.ctx)
	if !h.trusted() {
		return // also a late success: who looked meanwhile has seen the end
	}
	if errors.Is(err, ErrGone) {
		h.Lose(err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	h.err = err
	if err != nil {
		h.beat.Reset(h.o.TTL/20 + rand.N(h.o.TTL/20+1))
		return
	}
	h.base, h.until = sent, sent.Add(h.o.TTL-h.margin)
	h.expiry.Reset(time.Until(h.until))
	h.beat.Reset(h.o.TTL/3 - time.Since(sent) + jitter(h.o.TTL/30))
}

// watched is the context of a Hold: it looks at the clock on every use.
//
// Without it a process that was stopped past the end of its window could begin
// a command before the runtime runs the overdue timer:
//
//  1. SIGSTOP; the lease lapses; somebody else gets it.
//  2. SIGCONT; the goroutine is first to run, asks ctx.Err(), and hears nil.
//  3. The timer fires.
type watched struct {
	context.Context
	h *Hold
}

// Done returns the channel that is closed at the end.
func (w watched) Done() <-chan struct{} {
	w.h.trusted()
	return w.Context.Done()
}

// Err returns nil until the end.
func (w watched) Err() error {
	w.h.trusted()
	return w.Context.Err()
}

// Value returns the parent's value. context.Cause asks for one, too.
func (w watched) Value(key any) any {
	w.h.trusted()
	return w.Context.Value(key)
}
