package replicas

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// ErrNoBatch: the Doer cannot send two commands on one connection.
var ErrNoBatch = errors.New("replicas: the client sends no batches: it is no command.Batcher")

// Need says how many replicas have to confirm, and how soon. The zero Need asks
// nobody.
type Need struct {
	Count  int
	Within time.Duration
}

// ShortError reports that the script has run and too few replicas have
// confirmed it.
type ShortError struct {
	Need  Need
	Acked int   // how many had confirmed, 0 when nobody knows
	Err   error // why nobody knows, nil when the server counted
}

// Error tells how many confirmed of how many.
func (e *ShortError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("replicas: nobody knows whether %d confirmed: %v", e.Need.Count, e.Err)
	}
	return fmt.Sprintf("replicas: %d of %d confirmed within %v", e.Acked, e.Need.Count, e.Need.Within)
}

// Unwrap returns why nobody knows.
func (e *ShortError) Unwrap() error { return e.Err }

// Run runs s and waits for the replicas. The value counts when the error is nil
// or a *ShortError; after any other error nothing is known but what that error
// says.
func Run[T any](ctx context.Context, d command.Doer, need Need, s *command.Script, decode command.Decoder[T], keys []string, args ...command.Arg) (T, error) {
	if need.Count == 0 {
		return command.RunScript(ctx, d, s, decode, keys, args...)
	}
	b, ok := d.(command.Batcher)
	if !ok {
		var zero T
		r := s.EvalSHA(keys, args...)
		return zero, command.BuildError(&r, ErrNoBatch)
	}
	v, err := pair(ctx, b, need, s.EvalSHA(keys, args...), decode)
	if command.IsCode(err, "NOSCRIPT") {
		v, err = pair(ctx, b, need, s.Eval(keys, args...), decode)
	}
	return v, err
}

// pair sends a script and the WAIT behind it.
func pair[T any](ctx context.Context, b command.Batcher, need Need, r command.Request, decode command.Decoder[T]) (T, error) {
	var v T
	var acked int64
	var errs [2]error
	wait := command.Wait(int64(need.Count), need.Within).Request()
	failed := b.DoBatch(ctx, []command.Request{r, wait}, func(i int, view resp3.View, err error) {
		switch {
		case err != nil:
			errs[i] = err
		case i == 0:
			v, errs[i] = decode(view)
		default:
			acked, errs[i] = view.Int()
		}
	})
	switch {
	case errs[0] != nil:
		return v, errs[0]
	case errs[1] == nil && failed != nil:
		errs[1] = failed
	}
	if errs[1] != nil || acked < int64(need.Count) {
		return v, &ShortError{Need: need, Acked: int(acked), Err: errs[1]}
	}
	return v, nil
}
