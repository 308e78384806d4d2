package coalesce

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/redisx/redisx/ds/internal/wait"
)

// DefaultLimit is the Limit of a Group that sets none.
const DefaultLimit = 65536

// Group joins the concurrent calls for a key in this process: see Local. The
// zero value is ready; a Group must not be copied after first use.
//
// A Group owns one goroutine for each flight, a compute under way. It ends when
// the compute returns; Close waits for all of them.
type Group struct {
	// Limit bounds how many callers may wait, and how many computes may run,
	// at once. A call beyond it returns an *OverloadError at once. Zero means
	// DefaultLimit. It must not change after first use.
	Limit int

	computes sync.WaitGroup

	mu      sync.Mutex
	open    map[string][]*flight // flights that may be joined; of one key, each has another type
	running map[*flight]struct{} // flights whose compute has not returned
	waiting int                  // callers inside
	closed  bool
}

// flight is one compute and those who wait for it.
type flight struct {
	key    string
	typ    reflect.Type
	cancel context.CancelCauseFunc
	done   chan struct{}

	waiters int // guarded by Group.mu

	value any // these two: written before done is closed, read after
	err   error
}

// Local runs fn once for all callers in this process that ask for key while it
// runs, and hands its result to each of them. They share the value itself: who
// wants to change it makes a copy.
//
// fn runs on a goroutine of the Group. Its context has the values of the first
// caller's context, but neither its end nor its deadline: it ends, with
// ErrAbandoned as its cause, when the last caller has left. A caller leaves
// when its own ctx ends, and gets the cause at once. A call after that starts
// anew, even if fn has not noticed yet.
//
// If fn panics, or ends its goroutine by runtime.Goexit, every caller gets a
// *PanicError. Callers with another T do not join.
func Local[T any](ctx context.Context, g *Group, key string, fn func(ctx context.Context) (T, error)) (T, error) {
	v, err := g.do(ctx, key, reflect.TypeFor[T](), func(ctx context.Context) (any, error) { return fn(ctx) })
	// The assertion fails for the nil of an interface type only.
	t, _ := v.(T)
	return t, err
}

// Forget makes later callers for key start anew instead of joining a compute
// that is under way. Those who wait for it still get its result.
func (g *Group) Forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, key)
}

// Close ends the contexts of all computes with ErrClosed and waits until they
// have returned. Calls after it return ErrClosed. It may be called more than
// once, but not from inside a compute of the Group.
func (g *Group) Close() error {
	g.mu.Lock()
	g.closed = true
	for f := range g.running {
		f.cancel(ErrClosed)
	}
	g.mu.Unlock()
	g.computes.Wait()
	return nil
}

func (g *Group) do(ctx context.Context, key string, typ reflect.Type, fn func(ctx context.Context) (any, error)) (any, error) {
	if ctx.Err() != nil {
		return nil, left(ctx, key)
	}
	if g.inside(ctx, key, typ) {
		return nil, fmt.Errorf("coalesce: %s: %w", key, ErrReentrant)
	}
	f, err := g.join(ctx, key, typ, fn)
	if err != nil {
		return nil, fmt.Errorf("coalesce: %s: %w", key, err)
	}
	defer g.leave(f)
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return nil, left(ctx, key)
	}
}

// left is the error of a caller whose context has ended.
func left(ctx context.Context, key string) error {
	return fmt.Errorf("coalesce: %s: %w", key, wait.Ended(ctx))
}

// join adds the caller to a flight of key, which it starts if there is none.
// Each join has its leave.
func (g *Group) join(ctx context.Context, key string, typ reflect.Type, fn func(ctx context.Context) (any, error)) (*flight, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	limit := g.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	if g.closed {
		return nil, ErrClosed
	}
	if g.waiting >= limit {
		return nil, &OverloadError{Limit: limit}
	}
	i := slices.IndexFunc(g.open[key], func(f *flight) bool { return f.typ == typ })
	if i >= 0 {
		f := g.open[key][i]
		f.waiters++
		g.waiting++
		return f, nil
	}
	// Computes whose callers have all left count, too: they are not gone yet.
	if len(g.running) >= limit {
		return nil, &OverloadError{Limit: limit}
	}
	f := &flight{key: key, typ: typ, done: make(chan struct{}), waiters: 1}
	g.waiting++
	if g.open == nil {
		g.open, g.running = map[string][]*flight{}, map[*flight]struct{}{}
	}
	g.open[key] = append(g.open[key], f)
	g.running[f] = struct{}{}
	ctx = context.WithValue(context.WithoutCancel(ctx), nestKey{}, &nest{g, f, nestOf(ctx)})
	ctx, f.cancel = context.WithCancelCause(ctx)
	g.computes.Go(func() { g.run(ctx, f, fn) })
	return f, nil
}

// nest is what the context of a compute knows: its flight, and the compute
// whose context that flight's first caller had.
type nest struct {
	g     *Group
	f     *flight
	outer *nest
}

type nestKey struct{}

func nestOf(ctx context.Context) *nest {
	n, _ := ctx.Value(nestKey{}).(*nest)
	return n
}

// inside reports whether ctx is that of a compute for key. The flight need not
// be the one that a call would join: after Forget a new one would wait for the
// old one's fill.
func (g *Group) inside(ctx context.Context, key string, typ reflect.Type) bool {
	for n := nestOf(ctx); n != nil; n = n.outer {
		if n.g == g && n.f.key == key && n.f.typ == typ {
			return true
		}
	}
	return false
}

// leave takes the caller out of a flight. The last one ends the compute's
// context, in the same step in which the flight stops being joinable: nobody
// can join a compute that has been told to end.
func (g *Group) leave(f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
	f.waiters--
	if f.waiters == 0 {
		g.seal(f)
		f.cancel(ErrAbandoned)
	}
}

// seal takes a flight from those that may be joined. The caller holds mu.
func (g *Group) seal(f *flight) {
	// After Forget another flight may have taken the key.
	rest := slices.DeleteFunc(g.open[f.key], func(o *flight) bool { return o == f })
	if len(rest) == 0 {
		delete(g.open, f.key)
	} else {
		g.open[f.key] = rest
	}
}

func (g *Group) run(ctx context.Context, f *flight, fn func(ctx context.Context) (any, error)) {
	// Deferred, because Goexit runs nothing else.
	defer func() {
		g.mu.Lock()
		g.seal(f)
		delete(g.running, f)
		g.mu.Unlock()
		close(f.done)
		f.cancel(nil)
	}()
	protect(&f.value, &f.err, func() (any, error) {
		v, err := fn(ctx)
		if err != nil && context.Cause(ctx) == ErrClosed && !errors.Is(err, ErrClosed) {
			err = fmt.Errorf("%w: %w", ErrClosed, err)
		}
		return v, err
	})
}

// protect runs fn for its results; a panic or a Goexit becomes a *PanicError.
func protect(value *any, err *error, fn func() (any, error)) {
	returned := false
	defer func() {
		if !returned {
			*value, *err = nil, &PanicError{Value: recover(), Stack: debug.Stack()}
		}
	}()
	*value, *err = fn()
	returned = true
}
