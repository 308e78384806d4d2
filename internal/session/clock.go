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
	hurryEvery = 10 * time.Millisecond // while somebody depends on the next tick
	idleEvery  = time.Second           // while there is nothing to do soon
	idleAfter  = 1000                  // ms without commands
	unsureFor  = 10                    // ms without commands
	pingAfter  = 10                    // idle checks without commands
	pingWithin = 2 * time.Second
	peekFor    = time.Millisecond     // how long an idle check reads
	orphansFor = 5 * time.Millisecond // how long a tick reads for callers that left
	lateAfter  = 500                  // ms: a tick this late says that we did not run
)

// busyEvery returns how often the clock ticks while commands are on their way.
// A tick costs far more than its code: a timer that is due soon makes every
// wait of the scheduler set the hardware's timer, which at 10 ms took a tenth
// of a lone caller's CPU.
func busyEvery(timeout time.Duration) time.Duration {
	return min(max(timeout/10, hurryEvery), 500*time.Millisecond)
}

// clock is the connection's one timer, and its notion of time.
type clock struct {
	timer   *time.Timer
	born    time.Time
	busy    time.Duration // between ticks while commands are on their way
	now     int64         // ms since born, when last looked
	used    int64         // ms since born, when a writer last came
	due     int64         // ms since born, of the next tick
	armed   bool          // ticking more often than idleEvery
	hurried bool          // ticking every hurryEvery
	idle    int           // idle checks without commands in flight
	unsure  bool          // the peer may have closed, or sent something, unseen
	stopped bool
}

func (k *clock) start(c *Conn) {
	k.born = time.Now()
	k.busy = busyEvery(c.cfg.Timeout)
	k.due = idleEvery.Milliseconds()
	k.timer = time.AfterFunc(idleEvery, c.tick)
}

func (k *clock) stop() {
	k.stopped = true
	k.timer.Stop()
}

func (k *clock) look() { k.now = time.Since(k.born).Milliseconds() }

// use notes that a command is about to be written.
func (k *clock) use() {
	k.look()
	if k.now-k.used >= unsureFor {
		k.unsure = true
	}
	k.used = k.now
}

// arm makes a clock tick that idles.
func (k *clock) arm() {
	if k.armed || k.stopped {
		return
	}
	k.armed, k.idle = true, 0
	k.look()
	k.set(k.busy)
}

// hurry makes the next tick come soon: somebody depends on it.
func (k *clock) hurry() {
	if k.hurried || k.stopped {
		return
	}
	k.armed, k.hurried, k.idle = true, true, 0
	k.look()
	k.set(hurryEvery)
}

func (k *clock) set(d time.Duration) {
	k.due = k.now + d.Milliseconds()
	k.timer.Reset(d)
}

// deadline returns when a command that starts now, and that the server may hold
// back for block, is overdue. It wakes a clock that idles.
func (k *clock) deadline(c *Conn, block time.Duration) int64 {
	k.arm()
	if block < 0 {
		return math.MaxInt64
	}
	return k.now + (c.cfg.Timeout + block).Milliseconds() + 1
}

// next sets the timer for the next tick: not later than the moment at which
// something may be overdue.
func (k *clock) next(oldest int64) {
	if k.stopped {
		return
	}
	k.look()
	every := idleEvery
	switch {
	case k.hurried:
		every = hurryEvery
	case k.armed:
		every = k.busy
	}
	if left := oldest - k.now; oldest != 0 && left < every.Milliseconds() {
		every = max(time.Duration(left+1)*time.Millisecond, time.Millisecond)
	}
	k.set(every)
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
	k.look()
	if late := k.now - k.due; late > lateAfter && c.oldest != 0 {
		// This process was stopped or starved: replies may lie unread.
		c.oldest = max(c.oldest, k.now+min(late, c.cfg.Timeout.Milliseconds()))
	}
	if c.oldest != 0 && c.waits() {
		c.progress()
	}
	if c.oldest != 0 && k.now > c.oldest {
		c.kill(ErrStalled)
		c.mu.Unlock()
		return
	}
	if c.writing && isDone(c.watch.writer) {
		c.interrupt()
	}
	c.shrink()
	peek, ping := c.chores()
	if peek > 0 {
		c.leading = true
		c.watch.leader = nil
	}
	c.mu.Unlock()
	if peek > 0 {
		c.peek(peek)
	}
	if ping {
		c.ping()
	}
	c.mu.Lock()
	k.next(c.oldest)
	c.mu.Unlock()
}

// chores decides what a tick does: how long it reads, and whether it asks the
// server for a sign of life. It is called with mu held.
func (c *Conn) chores() (peek time.Duration, ping bool) {
	k := &c.clock
	k.hurried = false
	switch {
	case c.nflight > 0:
		k.idle = 0
		k.hurried = !c.leading || (c.writing && c.watch.writer != nil)
		if !c.leading { // these are commands whose callers have left
			return orphansFor, false
		}
		// With nothing overdue soon there is nothing to do until the next
		// command, or until nobody leads: a blocked connection costs nothing.
		k.armed = k.hurried || c.oldest-k.now <= 2*idleEvery.Milliseconds()
	case k.armed:
		if k.now-k.used >= idleAfter {
			k.armed = false
			if !c.leading && !c.writing {
				c.rd.Release() // an idle connection keeps no buffers of a busy one
				c.wbuf, c.spare = nil, nil
			}
		}
	default:
		k.idle++
		c.watch.forget()
		ping = k.idle%pingAfter == 0
		if !c.leading {
			peek = peekFor
		}
	}
	return peek, ping
}

// kill ends the connection on behalf of nobody. It is called with mu held.
func (c *Conn) kill(err error) {
	c.die(err, "read")
	if !c.leading {
		c.leading = true
		c.flush()
	}
}

// peek leads for a moment: it takes what has arrived for callers that left,
// and finds out about connections that the server closed or spoils.
func (c *Conn) peek(d time.Duration) {
	c.nc.SetReadDeadline(time.Now().Add(d))
	err := c.drain(nil)
	for err == nil {
		if err = c.read(); err == nil {
			err = c.drain(nil)
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.end(nil, err)
		return
	}
	c.nc.SetReadDeadline(time.Time{})
	c.handOver()
}

var pingRequest = command.Ping().Request()

// ping asks an idle server for a sign of life, and ends the connection of one
// that gives none.
func (c *Conn) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), pingWithin)
	defer cancel()
	held := c.held.Load()
	r := pingRequest
	reply, err := c.Do(ctx, &r)
	if err == nil {
		reply.Release()
		return
	}
	if ctx.Err() == nil {
		return // an error reply is a sign of life
	}
	if c.waits() || c.held.Load() != held {
		return // the answer may lie behind what a slow consumer holds up
	}
	c.mu.Lock()
	c.kill(ErrStalled)
	c.mu.Unlock()
}

// watch interrupts the leader and the writer when their contexts end.
type watch struct {
	leader, writer <-chan struct{} // Done of the caller that leads, writes
	late           int             // ticks that found the writer's context ended
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
