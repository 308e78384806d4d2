package batch

import (
	"context"
	"runtime"
	"sync"

	"github.com/redisx/redisx/command"
)

// group is where callers meet.
type group[T any] struct {
	all *groups[T]
	s   *Script[T]
	kind

	mu      sync.Mutex
	flying  int        // calls on their way, or about to leave
	waiting *call[T]   // rows that wait for the next call, nil: none
	spare   []*call[T] // emptied, for their memory
}

// do brings a row on its way and waits for its answer. It reports false when
// ctx ended before.
func (g *group[T]) do(ctx context.Context, r *row[T], keys []string, args []command.Arg) bool {
	g.mu.Lock()
	if g.waiting == nil {
		g.waiting = g.empty()
	}
	g.waiting.add(r, keys, args)
	lead := g.flying < inFlight
	if lead {
		g.flying++
	}
	g.mu.Unlock()
	if lead {
		// Others who can run now may have rows, too.
		runtime.Gosched()
		if g.lead(ctx, r) {
			return true
		}
	}
	select {
	case <-r.done:
		return true
	case <-ctx.Done():
		return !g.leave(r)
	}
}

// lead sends what waits. It reports true if that was r alone, and is answered.
func (g *group[T]) lead(ctx context.Context, r *row[T]) bool {
	c := g.take()
	switch {
	case c == nil: // another call has taken r along
		return false
	case len(c.rows) == 1 && c.rows[0] == r:
		c.run(ctx, g.d, g.need)
		g.mu.Lock()
		g.recycle(c)
		more := g.waiting != nil
		if !more {
			g.flying--
		}
		g.mu.Unlock()
		if more {
			g.fly(nil)
		}
		return true
	}
	g.fly(c)
	return false
}

// fly sends c, and then what waits, until nothing does.
func (g *group[T]) fly(c *call[T]) {
	loop := func() {
		if c == nil {
			c = g.take()
		}
		for c != nil {
			g.send(c)
			// Who has its answer may come back with another row.
			runtime.Gosched()
			c = g.take()
		}
	}
	if !g.all.start(loop) {
		loop() // on a closed client: no call takes long
	}
}

// send runs a call for many and tells them.
func (g *group[T]) send(c *call[T]) {
	ctx, cancel := context.WithCancel(g.all.ctx)
	defer cancel()
	g.mu.Lock()
	c.cancel = cancel
	if c.here == 0 {
		cancel()
	}
	g.mu.Unlock()
	c.run(ctx, g.d, g.need)
	for _, r := range c.rows {
		r.done <- struct{}{} // has room
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.over != nil {
		close(c.over)
	}
	c.cancel, c.over = nil, nil
	g.recycle(c)
}

// take returns the rows that wait, as a call that is about to leave, or nil:
// then there is one call less on its way.
func (g *group[T]) take() *call[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.waiting
	if c == nil || len(c.rows) == 0 {
		g.flying--
		return nil
	}
	g.waiting = nil
	if len(c.rows) > maxRows {
		rest := g.empty()
		for i, r := range c.rows[maxRows:] {
			k, a := (maxRows+i)*g.s.keys, len(g.s.head)+(maxRows+i)*g.s.args
			rest.add(r, c.keys[k:k+g.s.keys], c.args[a:a+g.s.args])
		}
		clear(c.rows[maxRows:])
		c.rows, c.keys, c.args = c.rows[:maxRows], c.keys[:maxRows*g.s.keys], c.args[:len(g.s.head)+maxRows*g.s.args]
		g.waiting = rest
	}
	c.here = len(c.rows)
	for _, r := range c.rows {
		r.call = c
	}
	return c
}

// leave is for a caller who does not wait any longer. It reports false when the
// answer is there after all.
func (g *group[T]) leave(r *row[T]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-r.done:
		return false
	default:
	}
	if r.call == nil {
		g.waiting.remove(r)
		return true
	}
	if r.call.over == nil {
		r.call.over = make(chan struct{})
	}
	r.over = r.call.over
	r.call.here--
	if r.call.here == 0 && r.call.cancel != nil {
		r.call.cancel()
	}
	return true
}

// empty returns a call without rows. The caller holds mu.
func (g *group[T]) empty() *call[T] {
	if last := len(g.spare) - 1; last >= 0 {
		c := g.spare[last]
		g.spare = g.spare[:last]
		return c
	}
	return newCall(g.s)
}

// recycle keeps the memory of a call that is over. The caller holds mu.
func (g *group[T]) recycle(c *call[T]) {
	clear(c.rows)
	clear(c.keys)
	clear(c.args)
	c.rows, c.keys, c.args = c.rows[:0], c.keys[:0], c.args[:0]
	if len(g.spare) < 2*inFlight && cap(c.rows) <= 2*maxRows { // not what a crowd has left
		g.spare = append(g.spare, c)
	}
}
