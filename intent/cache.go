package intent

import (
	"context"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coalesce"
)

// GetOrCompute returns the value that is stored under key, as plain JSON under
// that very name. If there is none, it runs fn, once for all callers in all
// processes that ask meanwhile, stores the result for ttl (at least 1 ms, counted
// by the server) and returns it to all of them.
//
// fn runs on a context of its own, which ends when the last caller has left, or
// when the right to compute is lost. Its error is returned as it is, to those who
// wait in this process; nothing is stored then, and the next caller computes.
//
// Other errors: the cause of ctx, *coalesce.PanicError, *coalesce.StoreError (the
// value comes with it), *coalesce.CodecError, *coalesce.InvalidatedError,
// *coalesce.OverloadError, *coalesce.OptionError, and those of the client. All
// options of package coalesce are taken.
func GetOrCompute[T any](ctx context.Context, d command.Doer, key string, ttl time.Duration, fn func(ctx context.Context) (T, error), opts ...coalesce.Option) (T, error) {
	return coalesce.Fill(ctx, d, key, ttl, fn, opts...)
}

// Invalidate drops the value of key. Call it after the source has changed: from
// its return on, no process gets a value that was computed before, not even from
// a compute that still runs. A plain DEL does not promise that.
//
// It may be repeated. Unless command.SafeToRetry clears an error, it may have
// happened.
func Invalidate(ctx context.Context, d command.Doer, key string, opts ...coalesce.Option) error {
	return coalesce.Invalidate(ctx, d, key, opts...)
}

// Jitter makes each value of GetOrCompute live between (1 − share) and 1 times
// its ttl, so that values stored together do not expire together. At least 0,
// the default, and below 1.
func Jitter(share float64) coalesce.Option { return coalesce.Jitter(share) }

// FillLease sets how long after the death of a process that computes another one
// takes over. The default is 5 s, the least 50 ms. A process that lives renews,
// so computes may take longer.
func FillLease(d time.Duration) coalesce.Option { return coalesce.Lease(d) }
