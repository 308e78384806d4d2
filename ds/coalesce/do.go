package coalesce

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
)

// Do runs fn once for all callers, in all processes, that ask for name while it
// runs, and returns its result to each of them. The result stays readable for
// Keep (1 s) under "{redisx:coalesce:name}:value", so that those who waited
// elsewhere find it, and calls within that time get it. Results travel as text
// (WithCodec).
//
// fn runs in the Group that Option In describes: see Local for its context,
// which also ends, with a *LostError, when the fill is lost; then what it
// returns is thrown away, and Do runs fn again, 8 times at most
// (*ForgottenError).
// An error of fn goes, as it is, to those who wait in this process; nothing is
// stored, and the next caller, or one of the processes that wait, runs its fn.
//
// Other errors: why ctx ended, *PanicError, *StoreError (with the value),
// *CodecError, *OverloadError, *OptionError, and those of the client.
func Do[T any](ctx context.Context, d command.Doer, name string, fn func(ctx context.Context) (T, error), opts ...Option) (T, error) {
	f, err := doer(d, name, opts)
	if err != nil {
		var zero T
		return zero, err
	}
	return do(ctx, f, fn)
}

// Forget makes calls of Do that begin after it start anew, everywhere: it drops
// a result that is still readable and refuses the run under way, whose result
// will never be stored, nor returned to a caller that came after Forget had
// returned. It may be repeated. Unless command.SafeToRetry clears an error, it
// may have happened.
func Forget(ctx context.Context, d command.Doer, name string, opts ...Option) error {
	f, err := doer(d, name, opts)
	if err != nil {
		return err
	}
	return f.forget(ctx)
}

func doer(d command.Doer, name string, opts []Option) (*filler, error) {
	f := &filler{d: d}
	if err := f.set(opts); err != nil {
		return nil, err
	}
	prefix := keys.Prefix(f.namespace, "coalesce", name)
	f.key, f.side = prefix+"value", prefix+"fill"
	return f, nil
}
