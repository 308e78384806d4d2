package session

import (
	"context"
	"errors"
	"math"
	"os"
	"time"

	"github.com/redisx/redisx/command"
)

const (
	tickEvery  = 10 * time.Millisecond // while commands are in flight
	idleEvery  = time.Second           // while none are
	idleAfter  = 100                   // ticks without commands
	pingAfter  = 10                    // idle checks without commands
	pingWithin = 2 * time.Second
	peekFor    = time.Millisecond // how long a tick reads
)

// clock is the connection's one timer. Its time has the resolution of a tick,
// so stamping a call costs no system call.
type clock struct {
	timer   *time.Timer
	born    time.Time
	now     int64 // ms since born, at the last tick
	armed   bool  // ticking every tickEvery
	idle    int   // ticks, or idle checks, without commands in flight
	stopped bool
}

func (k *clock) start(c *Conn) {
	k.born = time.Now()
	k.timer = time.AfterFunc(idleEvery, c.tick)
}

func (k *clock) stop() {
	k.stopped = true
	k.timer.Stop()
}

// deadline returns when a command that starts now, and that the server may hold
// back for block, is overdue. It wakes a clock that idles.
func (k *clock) deadline(c *Conn, block time.Duration) int64 {
	if !k.armed && !k.stopped {
		k.armed, k.idle = true, 0
		k.now = time.Since(k.born).Milliseconds()
		k.timer.Reset(tickEvery)
	}
	if block < 0 {
		return math.MaxInt64
	}
	return k.now + (c.cfg.Timeout + block).Milliseconds() + 1
}

// tick is run by the timer.
func (c *Conn) tick() {
	c.mu.Lock()
	k := &c.clock
	if k.stopped {
		c.mu.Unlock()
		return
	}
	c.wg.Add(1)
	defer c.wg.Done()
	k.now = time.Since(k.born).Milliseconds()
	if c.oldest != 0 && k.now > c.oldest {
		c.die(ErrStalled, "read")
		if !c.leading {
			c.leading = true
			c.flush()
		}
		c.mu.Unlock()
		return
	}
	if c.writing && isDone(c.watch.writer) {
		c.nc.SetWriteDeadline(past)
	}
	peek, ping := false, false
	switch {
	case c.nflight > 0:
		k.idle = 0
		// With nobody leading these are commands whose callers have left.
		peek = !c.leading
	case k.armed:
		if k.idle++; k.idle > idleAfter {
			k.armed, k.idle = false, 0
			c.watch.forget()
		}
	default:
		k.idle++
		peek = !c.leading
		ping = k.idle%pingAfter == 0
	}
	if peek {
		c.leading = true
		c.watch.leader = nil
	}
	c.mu.Unlock()
	if peek {
		c.peek()
	}
	if ping {
		c.ping()
	}
	c.mu.Lock()
	if !k.stopped {
		if k.armed {
			k.timer.Reset(tickEvery)
		} else {
			k.timer.Reset(idleEvery)
		}
	}
	c.mu.Unlock()
}

// peek leads for a moment: it takes what has arrived for callers that left,
// and finds out about connections that the server closed or spoils.
func (c *Conn) peek() {
	c.nc.SetReadDeadline(time.Now().Add(peekFor))
	err := c.drain(nil)
	if err == nil {
		if err = c.rd.Fill(); err == nil {
			c.limit = c.taken.Load()
			err = c.drain(nil)
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
	}
	if err != nil {
		c.end(nil, err)
		return
	}
	c.nc.SetReadDeadline(time.Time{})
	c.handOver()
}

var pingRequest = command.NewRequest(command.NewSpec(command.Spec{Name: "PING", Arity: -1}))

// ping asks an idle server for a sign of life, and ends the connection of one
// that gives none.
func (c *Conn) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), pingWithin)
	defer cancel()
	r := pingRequest
	reply, err := c.Do(ctx, &r)
	if err == nil {
		reply.Release()
		return
	}
	if ctx.Err() == nil {
		return // an error reply is a sign of life
	}
	c.mu.Lock()
	c.die(ErrStalled, "read")
	if !c.leading {
		c.leading = true
		c.flush()
	}
	c.mu.Unlock()
}

// watch interrupts the leader and the writer when their contexts end.
type watch struct {
	leader, writer <-chan struct{} // Done of the caller that leads, writes
	poke           func()

	// The context that has poke registered. It stays registered after its
	// caller is gone, so that a caller that comes again with the same context
	// costs nothing; channels are compared, as contexts need not be comparable.
	seen   <-chan struct{}
	cancel func() bool
}

// lead notes whose context the leader obeys. It is called with mu held.
func (w *watch) lead(c *Conn, ctx context.Context) {
	w.leader = ctx.Done()
	if w.leader == nil || w.leader == w.seen || c.err != nil {
		return
	}
	w.forget()
	w.seen = w.leader
	w.cancel = context.AfterFunc(ctx, w.poke)
}

// forget drops the registered context.
func (w *watch) forget() {
	if w.cancel != nil {
		w.cancel()
	}
	w.seen, w.cancel = nil, nil
}

func (w *watch) stop() { w.forget() }

// poke interrupts the leader if its context has ended.
func (c *Conn) poke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.leading && isDone(c.watch.leader) {
		c.poked = true
		c.nc.SetReadDeadline(past)
	}
}

func isDone(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
