package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/replicas"
	"github.com/redisx/redisx/resp3"
)

const (
	// maxRows bounds a call: what it does keeps the server from others for a
	// fraction of a millisecond.
	maxRows = 64
	// inFlight is how many calls are on their way at once: the server works on
	// one while the answers to the other are handed out.
	inFlight = 2
	// closeTimeout bounds what Close waits for: enough for a server that answers.
	closeTimeout = time.Second
	// maxGroups bounds what a client keeps where each caller has a Doer of its own.
	maxGroups = 64
)

// errClosed is why what is under way ends with the client.
var errClosed = errors.New("batch: the client is closed")

// Script is a script of rows. It may be used by many goroutines.
type Script[T any] struct {
	script     *command.Script
	keys, args int // of each row
	decode     command.Decoder[T]
	head       []command.Arg
	make       func() io.Closer // newGroups[T]: as a value it would be made for each call
	rows       sync.Pool        // of *row[T]
}

// New returns the Script of rows with so many keys and arguments each. decode
// reads the answer to one row. head are arguments that stand once, before those
// of the rows.
func New[T any](s *command.Script, keys, args int, decode command.Decoder[T], head ...command.Arg) *Script[T] {
	return &Script[T]{script: s, keys: keys, args: args, decode: decode, head: head, make: newGroups[T]}
}

// Script returns what is sent.
func (s *Script[T]) Script() *command.Script { return s.script }

// Run runs the script with a row of those keys and arguments in it, and returns
// the answer to that row, and when its call left. Where replicas have to confirm
// and too few do, the answer comes with a *replicas.ShortError.
func (s *Script[T]) Run(ctx context.Context, d command.Doer, need replicas.Need, keys []string, args []command.Arg) (v T, sent time.Time, err error) {
	if len(keys) != s.keys || len(args) != s.args {
		r := s.script.EvalSHA(keys, args...)
		return v, sent, command.BuildError(&r, fmt.Errorf("batch: a row of %d keys and %d arguments, not %d and %d", len(keys), len(args), s.keys, s.args))
	}
	g := s.group(d, need)
	r, _ := s.rows.Get().(*row[T])
	if r == nil {
		r = &row[T]{done: make(chan struct{}, 1)}
	}
	if g == nil {
		c := newCall(s)
		c.add(r, keys, args)
		c.run(ctx, d, need)
	} else if !g.do(ctx, r, keys, args) {
		// The row stays with its call, which will answer it.
		return v, sent, r.left(ctx, s.script)
	}
	v, sent, err = r.v, r.sent, r.err
	*r = row[T]{done: r.done}
	s.rows.Put(r)
	return v, sent, err
}

// row is one caller's part of a call.
type row[T any] struct {
	done chan struct{} // one signal, when the rest is there
	call *call[T]      // nil while it waits for one
	over chan struct{} // of the call, for who has left

	v    T
	sent time.Time
	err  error
}

// left is the error of a caller who does not wait for the answer. When the row
// has no call, it has been taken back.
func (r *row[T]) left(ctx context.Context, s *command.Script) error {
	request := s.EvalSHA(nil)
	err := command.BuildError(&request, ctx.Err())
	if cause := context.Cause(ctx); cause != ctx.Err() {
		err.Err = fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	err.Phase = "queue"
	if r.call == nil {
		return err
	}
	err.Phase, err.Outcome = "read", command.Maybe
	return &leftError{err, r.over}
}

// leftError is that of a caller who left while its row was on its way.
type leftError struct {
	err  *command.Error
	over <-chan struct{}
}

// Error is that of the error that callers know.
func (e *leftError) Error() string { return e.err.Error() }

// Unwrap returns it.
func (e *leftError) Unwrap() error { return e.err }

// Over returns a channel that is closed when the row of which err tells can
// neither leave nor run any more: what is to undo it must come after that. It is
// nil where that is so already.
func Over(err error) <-chan struct{} {
	var e *leftError
	if errors.As(err, &e) {
		return e.over
	}
	return nil
}

// call is rows that go together.
type call[T any] struct {
	s      *Script[T]
	rows   []*row[T]
	keys   []string
	args   []command.Arg
	decode command.Decoder[struct{}]

	// The group's mu guards the rest.
	cancel context.CancelFunc // nil until it leaves, and where the one caller's own context counts
	here   int                // callers who wait for it
	over   chan struct{}      // closed at its end, nil while nobody asks
}

func newCall[T any](s *Script[T]) *call[T] {
	c := &call[T]{s: s}
	c.decode = c.answer
	return c
}

func (c *call[T]) add(r *row[T], keys []string, args []command.Arg) {
	if len(c.args) == 0 {
		c.args = append(c.args, c.s.head...)
	}
	c.rows, c.keys, c.args = append(c.rows, r), append(c.keys, keys...), append(c.args, args...)
}

// remove takes a row back out, and reports whether it was there.
func (c *call[T]) remove(r *row[T]) bool {
	for i := range c.rows {
		if c.rows[i] == r {
			k, a := i*c.s.keys, len(c.s.head)+i*c.s.args
			c.rows = append(c.rows[:i], c.rows[i+1:]...)
			c.keys = append(c.keys[:k], c.keys[k+c.s.keys:]...)
			c.args = append(c.args[:a], c.args[a+c.s.args:]...)
			return true
		}
	}
	return false
}

// run sends the call and gives its rows their answers. Who waits is told by the
// caller.
func (c *call[T]) run(ctx context.Context, d command.Doer, need replicas.Need) {
	sent := time.Now()
	_, err := replicas.Run(ctx, d, need, c.s.script, c.decode, c.keys, c.args...)
	counts := err == nil || isShort(err)
	for _, r := range c.rows {
		r.sent = sent
		if !counts {
			var zero T
			r.v = zero
		}
		if !counts || r.err == nil {
			r.err = err
		}
	}
}

func isShort(err error) bool {
	var short *replicas.ShortError
	return errors.As(err, &short)
}

// answer reads what the script returned.
func (c *call[T]) answer(v resp3.View) (struct{}, error) {
	if v.Kind() != resp3.Array || v.Len() != len(c.rows) {
		return struct{}{}, &resp3.TypeError{Want: "an answer for each row", Got: v.Kind()}
	}
	answers := v.Cursor()
	for _, r := range c.rows {
		answer, _ := answers.Next()
		if err := answer.Err(); err != nil {
			r.err = &command.Error{Command: "EVALSHA", Node: "the server", Phase: "reply", Outcome: command.Done, Err: err}
		} else {
			r.v, r.err = c.s.decode(answer)
		}
	}
	return struct{}{}, nil
}

// groups are what one Script has on one client: a group for each Doer, which is
// the client, or a view of it, and each Need.
type groups[T any] struct {
	ctx    context.Context // ends the calls
	cancel context.CancelCauseFunc
	calls  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	of     map[kind]*group[T]
	first  *group[T] // made first: nearly always the only one
}

// kind is what callers have in common who meet.
type kind struct {
	d    command.Doer
	need replicas.Need
}

// group returns where callers of d meet, nil where d cannot own it, or not any
// more: goodbyes still come to a client that is closing.
func (s *Script[T]) group(d command.Doer, need replicas.Need) *group[T] {
	a, ok := d.(command.Attacher)
	if !ok {
		return nil
	}
	c, err := a.Attach(s, s.make)
	if err != nil {
		return nil
	}
	return c.(*groups[T]).group(s, kind{d, need})
}

func newGroups[T any]() io.Closer {
	g := &groups[T]{of: map[kind]*group[T]{}}
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	return g
}

func (all *groups[T]) group(s *Script[T], k kind) *group[T] {
	all.mu.Lock()
	defer all.mu.Unlock()
	switch {
	case all.closed || !owned.Comparable(k.d):
		return nil
	case all.first != nil && all.first.kind == k:
		return all.first
	}
	g := all.of[k]
	if g == nil {
		if len(all.of) == maxGroups {
			clear(all.of) // who is in one stays there
		}
		g = &group[T]{all: all, s: s, kind: k}
		all.of[k] = g
	}
	if all.first == nil {
		all.first = g
	}
	return g
}

// start runs f on a goroutine that Close waits for. It reports false when the
// client is closed.
func (all *groups[T]) start(f func()) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	if !all.closed {
		all.calls.Go(f)
	}
	return !all.closed
}

// Close waits for what is under way, for a second before it ends it: there may
// be goodbyes among it. The client calls it.
func (all *groups[T]) Close() error {
	all.mu.Lock()
	all.closed = true
	all.mu.Unlock()
	end := func() { all.cancel(errClosed) }
	timer := time.AfterFunc(closeTimeout, end)
	all.calls.Wait()
	timer.Stop()
	end()
	return nil
}
