package coalesce

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

//go:embed forget.lua
var forgetSource string

var forgetScript = command.NewScript(forgetSource)

// filler is one call of Do or Forget.
type filler struct {
	options
	d    command.Doer
	key  string // of the value
	side string // of the fill

	encode func(ctx context.Context) ([]byte, error) // the compute
}

// outcome is what a flight ends with. It holds text, not a T: each caller
// decodes its own, and nobody shares maps and pointers.
type outcome struct {
	data []byte
	// fresh: data was the value, or what a compute made that began, at some
	// moment not before this.
	fresh time.Time
	// unstored: the server did not take data, and why. Not the flight's error,
	// which may be a StoreError, too: of another key that fn has asked for.
	unstored *StoreError
}

// do is the loop of one caller. A caller never takes a result that may be
// older than the call:
//
//  1. A's store has run on the server; its answer is on the way.
//  2. Somebody calls Forget, and tells B.
//  3. B calls, and joins A's flight just before it ends.
//
// B sees that the flight's last word left for the server before B came, and
// starts over. The first two steps in the other order are the server's to
// refuse: the fill is not A's any more.
func do[T any](ctx context.Context, f *filler, fn func(ctx context.Context) (T, error)) (T, error) {
	var zero T
	came := time.Now()
	v, err := get[T](ctx, f)
	if !errors.Is(err, command.Nil) {
		return v, err
	}
	group, err := f.groupOf(f.d)
	if err != nil {
		return zero, err
	}
	f.encode = encoder(f, fn)
	for {
		out, err := f.fly(ctx, group)
		if err != nil {
			return zero, err
		}
		stale := came.After(out.fresh)
		if out.unstored != nil {
			return late[T](f, out, stale)
		}
		if !stale {
			return decode[T](f, out.data)
		}
		came = time.Now()
		if v, err := get[T](ctx, f); !errors.Is(err, command.Nil) {
			return v, err
		}
	}
}

// encoder returns the compute, with its result as text.
func encoder[T any](f *filler, fn func(ctx context.Context) (T, error)) func(ctx context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		v, err := fn(ctx)
		if err != nil {
			return nil, err
		}
		data, err := f.codec.Encode(v)
		if err != nil {
			return nil, &CodecError{Key: f.key, Op: "encode", Err: err}
		}
		return data, nil
	}
}

// late returns what is left of a compute that could not be stored.
func late[T any](f *filler, out outcome, stale bool) (T, error) {
	var zero T
	own := *out.unstored // which is shared
	if stale {
		return zero, &own
	}
	v, err := decode[T](f, out.data)
	if err != nil {
		return zero, errors.Join(&own, err)
	}
	own.Computed = true
	return v, &own
}

func decode[T any](f *filler, data []byte) (T, error) {
	var v, zero T
	if err := f.codec.Decode(data, &v); err != nil {
		return zero, &CodecError{Key: f.key, Op: "decode", Err: err}
	}
	return v, nil
}

// get reads the value, or returns Nil.
func get[T any](ctx context.Context, f *filler) (T, error) {
	v, err := command.Do(ctx, f.d, command.As(command.Get(f.key), func(v resp3.View) (T, error) {
		var zero T
		switch {
		case v.IsNull():
			return zero, command.Nil
		case v.Kind() != resp3.BulkString:
			return zero, &resp3.TypeError{Want: "a string", Got: v.Kind()}
		}
		return decode[T](f, v.Bytes())
	}))
	if err != nil && !errors.Is(err, command.Nil) {
		err = fmt.Errorf("coalesce: %s: %w", f.key, err)
	}
	return v, err
}

// fly joins or starts the flight for the key.
func (f *filler) fly(ctx context.Context, g *Group) (outcome, error) {
	var v any
	var err error
	run := func(ctx context.Context) (any, error) { return f.run(ctx) }
	if g != nil {
		v, err = g.do(ctx, f.key, reflect.TypeFor[outcome](), run)
	} else {
		protect(&v, &err, func() (any, error) { return run(ctx) })
	}
	out, _ := v.(outcome)
	return out, err
}

func (f *filler) forget(ctx context.Context) error {
	g, err := f.groupOf(f.d)
	if err != nil {
		return err
	}
	_, err = command.RunScript(ctx, f.d, forgetScript, command.AsInt, []string{f.key, f.side})
	if g != nil {
		// Also after an error, which does not tell that nothing happened.
		g.Forget(f.key)
	}
	if err != nil {
		return fmt.Errorf("coalesce: forget %s: %w", f.key, err)
	}
	return nil
}
