package idem

import (
	"context"

	"github.com/redisx/redisx/ds/internal/hold"
)

// runContext ends with the caller's context and with the lease. Like the
// hold's own it looks at the clock on every use, so that a process that was
// stopped past its lease finds it ended at once.
type runContext struct {
	context.Context
	h      *hold.Hold
	r      *run
	cancel context.CancelCauseFunc
}

// withRun is the key under which a runContext has its run.
type withRun struct{}

// runOf returns the run whose context this is, or nil.
func runOf(ctx context.Context) *run {
	r, _ := ctx.Value(withRun{}).(*run)
	return r
}

func withLease(ctx context.Context, h *hold.Hold, r *run) (context.Context, context.CancelCauseFunc) {
	inner, cancel := context.WithCancelCause(ctx)
	c := runContext{inner, h, r, cancel}
	forget := context.AfterFunc(h.Context(), c.look)
	return c, func(cause error) {
		forget()
		cancel(cause)
	}
}

// look ends the context if the lease is lost.
func (c runContext) look() {
	if err := c.h.Err(); err != nil {
		c.cancel(err)
	}
}

// Done returns the channel that is closed at the end.
func (c runContext) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

// Err returns nil until the end.
func (c runContext) Err() error {
	c.look()
	return c.Context.Err()
}

// Value returns the run, or the caller's value. context.Cause asks for one, too.
func (c runContext) Value(key any) any {
	c.look()
	if key == (withRun{}) {
		return c.r
	}
	return c.Context.Value(key)
}
