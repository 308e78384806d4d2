package intent

import (
	"context"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
)

// GetOrCompute returns the value of key: from this process's memory if option
// Memory lets it, else from the server, where it is plain JSON under that very
// name. If there is none, it runs fn, once for all callers in all processes that
// ask meanwhile, stores the result for ttl (at least 1 ms, counted by the server)
// and returns it to all of them.
//
// Shortly before its end one process computes the next value in the background,
// while all are served with the old one. Options say more: Stale, StaleIfError,
// Negative, Tags, and all others of package aside.
//
// fn runs on a context of its own, which ends when the last caller has left, or
// when the right to compute is lost. Its error is returned as it is, to those who
// wait in this process; nothing is stored then, and the next caller computes. If
// there is nothing to be found it returns aside.ErrNotFound.
//
// Other errors: why ctx ended, *aside.NotFoundError, *aside.CodecError,
// *aside.InvalidatedError, *aside.OptionError, *coalesce.PanicError,
// *coalesce.OverloadError, and those of the client. Each has an Explain method
// that says what to do. A server that cannot be reached is none: fn is run once
// for this process then (aside.Strict changes that).
func GetOrCompute[T any](ctx context.Context, d command.Doer, key string, ttl time.Duration, fn func(ctx context.Context) (T, error), opts ...aside.Option) (T, error) {
	return aside.GetOrCompute(ctx, d, key, ttl, fn, opts...)
}

// Invalidate drops the value of key. Call it after the source has changed: from
// its return on, no process gets a value from the server that was computed
// before, not even from a compute that still runs. A plain DEL does not promise
// that. Memory of other processes is told by push.
//
// It may be repeated. Unless command.SafeToRetry clears an error, it may have
// happened.
func Invalidate(ctx context.Context, d command.Doer, key string) error {
	return aside.Invalidate(ctx, d, key)
}

// InvalidateTag is Invalidate for all values that were computed with that tag
// (Tags).
func InvalidateTag(ctx context.Context, d command.Doer, tag string) error {
	return aside.InvalidateTag(ctx, d, tag)
}

// Memory keeps values in this process, too, up to that many bytes of a client,
// until the server tells that they have changed. All callers get the same value.
func Memory(maxBytes int) aside.Option { return aside.Memory(maxBytes) }

// Stale lets a value be served for d after its ttl while the next one is
// computed in the background.
func Stale(d time.Duration) aside.Option { return aside.Stale(d) }

// StaleIfError lets a value be served for d after its ttl when the next one
// cannot be computed.
func StaleIfError(d time.Duration) aside.Option { return aside.StaleIfError(d) }

// Negative keeps for d that fn found nothing.
func Negative(d time.Duration) aside.Option { return aside.Negative(d) }

// Tags gives a value tags by which InvalidateTag finds it: 16 at most, the same
// in all calls for the key.
func Tags(names ...string) aside.Option { return aside.Tags(names...) }
