package intent

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
)

// LeaseLock waits until it has the lease of that name, runs fn, and releases the
// lease, also when fn panics. ctx bounds the wait, too: when it ends first, the
// error is a *lease.HeldError that says who holds the lease, and wraps the cause.
//
// fn gets a context that ends before anyone else gets the lease. LeaseLock
// returns what fn returned; if the lease was lost before its release, that
// *lease.LostError is joined to it, even when fn returned nil. A release without
// an answer is no error: the work is done, and the lease lapses after its TTL
// (10 s, see lease.TTL).
//
// All options of package lease are taken. Inside fn, a lock of the same name is
// lease.ErrReentrant.
func LeaseLock(ctx context.Context, d command.Doer, name string, fn func(ctx context.Context) error, opts ...lease.Option) error {
	return lease.With(ctx, d, name, func(ctx context.Context, _ *lease.Lease) error { return fn(ctx) }, opts...)
}
