package aside

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/wait"
)

// Cache is values of one type that one function computes. Any number of
// goroutines may use it. It needs no Close: what it keeps hangs on the client.
type Cache[T any] struct {
	d    command.Doer
	s    *shared
	ttl  time.Duration
	load func(ctx context.Context, key string) (T, error)
	o    options
	err  error // what is wrong with the arguments, or that the client is closed
}

// New returns the Cache whose values load computes, each fresh for ttl: at least
// 1 ms, counted by the server. What is wrong with the arguments, every call
// tells.
//
// See GetOrCompute for the context of load and for what its error does.
func New[T any](d command.Doer, ttl time.Duration, load func(ctx context.Context, key string) (T, error), opts ...Option) *Cache[T] {
	c := &Cache[T]{d: d, ttl: ttl, load: load}
	c.o.read(opts)
	if c.err = c.o.check(ttl); c.err == nil {
		c.s, c.err = sharedOf(d)
	}
	if c.s != nil {
		c.s.memory.allow(c.o.memory)
	}
	return c
}

// Get returns the value of key; see GetOrCompute.
func (c *Cache[T]) Get(ctx context.Context, key string) (T, error) {
	if c.err != nil {
		var zero T
		return zero, c.err
	}
	if c.o.memory > 0 && c.s != nil {
		if v, ok := remembered[T](ctx, c.s, key); ok {
			return v, nil
		}
	}
	return lookup(ctx, c.d, c.s, key, c.ttl, c.o, func(ctx context.Context) (T, error) { return c.load(ctx, key) })
}

// Invalidate drops the value of key; see the function.
func (c *Cache[T]) Invalidate(ctx context.Context, key string) error {
	if c.err != nil {
		return c.err
	}
	return invalidate(ctx, c.d, c.s, key)
}

// InvalidateTag drops the values with that tag; see the function.
func (c *Cache[T]) InvalidateTag(ctx context.Context, tag string) error {
	if c.err != nil {
		return c.err
	}
	return invalidateTag(ctx, c.d, c.s, c.o.namespace, tag)
}

// Inspect tells how the value of a key stands; see the function.
func (c *Cache[T]) Inspect(ctx context.Context, key string) (Info, error) {
	if c.err != nil {
		return Info{}, c.err
	}
	return Inspect(ctx, c.d, key)
}

// GetOrCompute returns the value that is stored under key. If there is none, it
// runs fn, stores the result for ttl and returns it: once for all processes that
// ask meanwhile, each of which gets that one result. It is Cache.Get for callers
// with a function for each call; one that captures variables costs them an
// allocation.
//
// The value key is key itself and holds what the codec writes, by default plain
// JSON: any client can read it. ttl is counted by the server from the moment of
// storing, in whole milliseconds, at least one, and ten years at most, like all
// durations of the options; SetTTL sets another from within fn.
//
// fn runs on a goroutine of its own. Its context has the values of the first
// caller's, but neither its end nor its deadline: it ends when the last caller
// has left (coalesce.ErrAbandoned), when the client is closed
// (coalesce.ErrClosed), and when the fill is lost (*LostError); then what it
// returns is thrown away and fn is run again, 8 times at most
// (*InvalidatedError).
//
// If fn returns ErrNotFound, the old value goes, and all callers get a
// *NotFoundError. Any other error goes, as it is, to those who wait in this
// process, unless there is a stale value that StaleIfError lets them have;
// nothing is stored, and the next caller, or one of the processes that wait,
// computes.
//
// A server that cannot be reached, or is full, is no error without Strict: then
// fn is run once for the callers in this process, 32 such computes of a client
// at a time. Other errors: why ctx ended, *coalesce.PanicError,
// *coalesce.OverloadError, *CodecError, *OptionError, and those of the client.
func GetOrCompute[T any](ctx context.Context, d command.Doer, key string, ttl time.Duration, fn func(ctx context.Context) (T, error), opts ...Option) (T, error) {
	var o options
	o.read(opts)
	s, err := sharedOf(d)
	if err == nil && o.memory > 0 && s != nil {
		if v, ok := remembered[T](ctx, s, key); ok {
			return v, nil
		}
	}
	return lookupChecked(ctx, d, s, err, key, ttl, o, fn)
}

// lookupChecked is lookup for options that nobody has looked at. They come by
// value: by pointer they would move to the heap of who finds a value in memory.
func lookupChecked[T any](ctx context.Context, d command.Doer, s *shared, err error, key string, ttl time.Duration, o options, fn func(ctx context.Context) (T, error)) (T, error) {
	if wrong := o.check(ttl); wrong != nil {
		err = wrong
	}
	if err != nil {
		var zero T
		return zero, err
	}
	if s != nil {
		s.memory.allow(o.memory)
	}
	return lookup(ctx, d, s, key, ttl, o, fn)
}

// lookup is a call that has found nothing in memory.
func lookup[T any](ctx context.Context, d command.Doer, s *shared, key string, ttl time.Duration, o options, fn func(ctx context.Context) (T, error)) (T, error) {
	var zero T
	tags, err := o.tagsOf(key)
	if err != nil {
		return zero, err
	}
	if ctx.Err() != nil {
		return zero, left(ctx, key)
	}
	c := newCall(d, s, key, ttl, o, tags)
	c.compute = computer(c, fn)
	defer c.end()
	out, found, err := c.get(ctx)
	// Not by errors.As: the compute's own error may be one, of another key.
	if err != nil && out.unstored == nil {
		return zero, err
	}
	if out.absent {
		return zero, &NotFoundError{Key: key, Left: out.left}
	}
	kept := false
	defer func() {
		if !kept { // the codec may have panicked
			found.interest.stop()
		}
	}()
	v, wrong := decode[T](c, out.data)
	if wrong != nil {
		return zero, errors.Join(wrong, err)
	}
	if kept = found.interest != nil; kept {
		found.interest.keep(&box[T]{v}, len(out.data), found)
	}
	return v, err
}

// left is the error of a caller whose context has ended.
func left(ctx context.Context, key string) error {
	return fmt.Errorf("aside: %s: %w", key, wait.Ended(ctx))
}

// result is what a compute made.
type result struct {
	data   []byte
	absent bool
	ttl    time.Duration
	took   time.Duration
}

// computer returns the compute of a call, with its result as text.
func computer[T any](c *call, fn func(ctx context.Context) (T, error)) func(ctx context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		r := &running{}
		r.ttl.Store(int64(c.life(c.ttl)))
		began := time.Now()
		v, err := fn(context.WithValue(ctx, runningKey{}, r))
		out := result{ttl: time.Duration(r.ttl.Load()), took: time.Since(began)}
		if errors.Is(err, ErrNotFound) {
			out.absent, out.ttl = true, c.negative
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if out.data, err = c.codec.Encode(v); err != nil {
			err = &CodecError{Key: c.key, Op: "encode", Err: err}
		}
		return out, err
	}
}

func decode[T any](c *call, data []byte) (T, error) {
	var v, zero T
	if err := c.codec.Decode(data, &v); err != nil {
		return zero, &CodecError{Key: c.key, Op: "decode", Err: err}
	}
	return v, nil
}

// running is what the context of a compute knows.
type running struct{ ttl atomic.Int64 }

type runningKey struct{}

// SetTTL sets, from within a compute and with its context, for how long its
// value is fresh; no jitter is taken off. Zero or less means that it is not
// stored. It reports whether ctx is that of a compute.
func SetTTL(ctx context.Context, ttl time.Duration) bool {
	r, ok := ctx.Value(runningKey{}).(*running)
	if ok {
		r.ttl.Store(int64(min(max(ttl, 0), longest)))
	}
	return ok
}

// Invalidate drops the value of key and refuses the computes under way: what
// any of them returns will never be stored, nor returned to a caller that came
// after Invalidate had returned. Waiting callers get a value computed later.
//
// It may be repeated. Unless command.SafeToRetry clears an error, it may have
// happened.
func Invalidate(ctx context.Context, d command.Doer, key string) error {
	s, err := sharedOf(d)
	if err != nil {
		return err
	}
	return invalidate(ctx, d, s, key)
}

// InvalidateTag drops all values with that tag, for all who ask by this
// package with the same Tags: calls that begin after it get none that was
// computed from before it. It is one DEL, however many values there are; they
// stay under their keys, where other programs can read them, until they end or
// are computed anew. Of the options Namespace counts.
//
// It may be repeated. Unless command.SafeToRetry clears an error, it may have
// happened.
func InvalidateTag(ctx context.Context, d command.Doer, tag string, opts ...Option) error {
	var o options
	o.read(opts)
	s, err := sharedOf(d)
	if err != nil {
		return err
	}
	return invalidateTag(ctx, d, s, o.namespace, tag)
}

func invalidate(ctx context.Context, d command.Doer, s *shared, key string) error {
	c := newCall(d, s, key, 0, options{}, nil)
	_, err := command.RunScript(ctx, d, invalidateScript, command.AsInt, []string{key, c.side(), c.fill()})
	if s != nil {
		// Also after an error, which does not tell that nothing happened.
		s.memory.drop(key)
		s.group.Forget(key)
	}
	if err != nil {
		return fmt.Errorf("aside: invalidate %s: %w", key, err)
	}
	return nil
}

func invalidateTag(ctx context.Context, d command.Doer, s *shared, namespace, tag string) error {
	_, err := command.Do(ctx, d, command.Del(tagKey(namespace, tag)))
	if s != nil {
		s.memory.dropTag(namespace, tag)
	}
	if err != nil {
		return fmt.Errorf("aside: invalidate tag %s: %w", tag, err)
	}
	return nil
}
