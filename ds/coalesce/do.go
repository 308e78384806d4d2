package coalesce

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
)

// Do runs fn once for all callers, in all processes, that ask for name while it
// runs, and returns its result to each of them. It is Fill on a key of its own,
// "{redisx:coalesce:name}:value": the result stays readable for Keep (1 s), so
// that those who waited elsewhere find it, and calls within that time get it.
//
// Results travel as text (WithCodec). Contexts and errors are as in Fill.
func Do[T any](ctx context.Context, d command.Doer, name string, fn func(ctx context.Context) (T, error), opts ...Option) (T, error) {
	f, err := doer(d, name, opts)
	if err != nil {
		var zero T
		return zero, err
	}
	return fill(ctx, f, fn)
}

// Forget makes calls of Do that begin after it start anew, everywhere: it drops
// a result that is still readable and refuses the run under way. See Invalidate.
func Forget(ctx context.Context, d command.Doer, name string, opts ...Option) error {
	f, err := doer(d, name, opts)
	if err != nil {
		return err
	}
	return f.invalidate(ctx)
}

func doer(d command.Doer, name string, opts []Option) (*filler, error) {
	f := &filler{d: d}
	if err := f.set(opts); err != nil {
		return nil, err
	}
	prefix := keys.Prefix(f.namespace, "coalesce", name)
	f.key, f.side, f.ttl = prefix+"value", prefix+"fill", f.keep
	return f, nil
}
