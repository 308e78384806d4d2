package command

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// ErrScanStuck is the cause when a server answers a step of a scan with the
// cursor that it was sent: the scan would never end.
var ErrScanStuck = errors.New("the server answered with the cursor it was sent: the scan would never end")

// ScanAll walks over the keys of d's database, step by step, as SCAN does:
//
//   - A key that is there from the first step to the last is found at least
//     once. One that comes or goes meanwhile may be found or not.
//   - A key may be found more than once: nothing is kept to tell.
//   - The server is held up for one step at a time, of about COUNT keys (10
//     unless given; 1000 saves round trips). MATCH and TYPE filter after that.
//   - Memory holds one step. A step is asked for when the one before has been
//     consumed; leaving the loop asks for no more.
//
// The first error ends the walk and is its last pair: of a step, or of ctx when
// it ends between two keys. A server that never ends a scan is followed until
// ctx ends, unless it repeats a cursor at once (ErrScanStuck). To go on after
// an error, walk with Scan and keep its cursor.
//
// It may be ranged over more than once; each time begins anew.
func ScanAll(ctx context.Context, d Doer, opts ...ScanOption) iter.Seq2[string, error] {
	return walk(ctx, d, func(cursor uint64) Cmd[ScanResult] { return Scan(cursor, opts...) }, ScanResult.step)
}

// SScanAll walks over the members of a set, as ScanAll does over keys.
func SScanAll(ctx context.Context, d Doer, key string, opts ...ElementScanOption) iter.Seq2[string, error] {
	return walk(ctx, d, func(cursor uint64) Cmd[ScanResult] { return SScan(key, cursor, opts...) }, ScanResult.step)
}

// HScanAll walks over the fields of a hash with their values, as ScanAll does
// over keys. The values are as they were when their step was taken.
func HScanAll(ctx context.Context, d Doer, key string, opts ...ElementScanOption) iter.Seq2[Pair, error] {
	return walk(ctx, d, func(cursor uint64) Cmd[HScanResult] { return HScan(key, cursor, opts...) },
		func(r HScanResult) (uint64, []Pair) { return r.Cursor, r.Fields })
}

// HScanFieldsAll walks over the fields of a hash without their values, as
// ScanAll does over keys (Redis 7.4, Valkey 8.0).
func HScanFieldsAll(ctx context.Context, d Doer, key string, opts ...ElementScanOption) iter.Seq2[string, error] {
	return walk(ctx, d, func(cursor uint64) Cmd[ScanResult] { return HScanFields(key, cursor, opts...) }, ScanResult.step)
}

// ZScanAll walks over the members of a sorted set with their scores, in no
// order, as ScanAll does over keys.
func ZScanAll(ctx context.Context, d Doer, key string, opts ...ElementScanOption) iter.Seq2[Z, error] {
	return walk(ctx, d, func(cursor uint64) Cmd[ZScanResult] { return ZScan(key, cursor, opts...) },
		func(r ZScanResult) (uint64, []Z) { return r.Cursor, r.Members })
}

func (r ScanResult) step() (uint64, []string) { return r.Cursor, r.Keys }

func walk[S, T any](ctx context.Context, d Doer, next func(cursor uint64) Cmd[S], step func(S) (uint64, []T)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		for cursor := uint64(0); ; {
			c := next(cursor)
			if ctx.Err() != nil {
				yield(zero, ended(ctx, c.req.spec))
				return
			}
			s, err := Do(ctx, d, c)
			if err != nil {
				yield(zero, err)
				return
			}
			after, found := step(s)
			for _, x := range found {
				if ctx.Err() != nil {
					yield(zero, ended(ctx, c.req.spec))
					return
				}
				if !yield(x, nil) {
					return
				}
			}
			if after == 0 {
				return
			}
			if after == cursor {
				yield(zero, DecodeError(c.req.spec, ErrScanStuck))
				return
			}
			cursor = after
		}
	}
}

// ended returns the error of a step that was not sent, because ctx has ended.
func ended(ctx context.Context, spec *Spec) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if !errors.Is(cause, err) {
		cause = fmt.Errorf("%w: %w", err, cause)
	}
	return &Error{Command: spec.Name, Node: "client", Phase: "queue", Outcome: NotSent, Err: cause}
}
