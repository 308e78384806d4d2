package session

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"time"
)

const (
	bigWrite  = 64 << 10  // more than this is written in the background
	keepWrite = 256 << 10 // larger write buffers are kept while bursts last
	maxWrites = 8         // that one caller makes for others
	loneBatch = 32        // commands: a batch of so many is written without waiting for others
	partWrite = 256 << 10 // the most that is written at once: progress, for the stall clock
)

var errBadCount = errors.New("the transport returned an impossible count")

// smallWrite is how many unanswered bytes every transport has room for: up to
// it a write does not block. The smallest default of a socket's buffers is twice
// this; tests with narrower windows set it.
var smallWrite = 8 << 10

func yield() { runtime.Gosched() }

// past is a deadline that has passed: it interrupts a read or a write.
var past = time.Unix(1, 0)

// waiter is a caller that waits for room in flight.
type waiter struct {
	n, size int
	ready   chan struct{}
	granted bool
}

// admit reserves room for n commands of size bytes, waiting in order for it.
// It returns with mu held, or with an error and without.
func (c *Conn) admit(ctx context.Context, n, size int) error {
	if ctx.Err() != nil {
		return Ended(ctx)
	}
	c.mu.Lock()
	for c.looking {
		c.changed.Wait()
	}
	if !c.writing { // else the writer has looked
		c.clock.use()
	}
	c.listen()
	if c.err != nil {
		err := c.err
		c.mu.Unlock()
		return err
	}
	if len(c.waiters) == 0 && c.fits(n, size) {
		c.nflight += n
		c.nbytes += size
		return nil
	}
	w := &waiter{n: n, size: size, ready: make(chan struct{})}
	c.waiters = append(c.waiters, w)
	c.mu.Unlock()
	select {
	case <-w.ready:
		c.mu.Lock()
		err := c.err
		if err == nil && ctx.Err() != nil {
			err = Ended(ctx)
			c.release(n, size)
		}
		if err != nil {
			c.mu.Unlock()
		}
		return err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.granted {
		c.release(n, size)
	} else {
		for i, o := range c.waiters {
			if o == w {
				c.waiters = append(c.waiters[:i], c.waiters[i+1:]...)
				break
			}
		}
		c.grant() // those behind may be smaller
	}
	return Ended(ctx)
}

// listen lets in what has arrived on an idle connection before a command is
// written to it: the peer may have closed it, and what it sent unasked must not
// become the reply of the next command. It asks the transport only after a pause
// without commands. It is called with mu held, which it may give up for a moment:
// what others wrote meanwhile could be taken for what the bytes answer.
func (c *Conn) listen() {
	if !c.clock.unsure || c.nflight > 0 || c.leading || c.err != nil {
		return
	}
	c.clock.unsure = false
	if c.bare == nil || !c.bare.Arrived() {
		return
	}
	c.leading, c.looking = true, true
	c.watch.leader = nil
	c.mu.Unlock()
	c.peek(peekFor)
	c.mu.Lock()
	c.looking = false
	c.changed.Broadcast()
}

// fits reports whether n commands of size bytes may join. What is larger than
// the bounds may go alone.
func (c *Conn) fits(n, size int) bool {
	return c.nflight == 0 || (c.nflight+n <= c.cfg.MaxInFlight && c.nbytes+size <= c.cfg.MaxBytes)
}

// release gives room back and lets waiters in.
func (c *Conn) release(n, size int) {
	if c.err != nil {
		return
	}
	c.nflight -= n
	c.nbytes -= size
	c.grant()
}

func (c *Conn) grant() {
	for len(c.waiters) > 0 {
		w := c.waiters[0]
		if !c.fits(w.n, w.size) {
			return
		}
		c.waiters = c.waiters[1:]
		c.nflight += w.n
		c.nbytes += w.size
		w.granted = true
		close(w.ready)
	}
}

// enqueue adds k, whose bytes are the last of wbuf. It is called with mu held.
// size is what was reserved for it, which now becomes what it is.
func (c *Conn) enqueue(k *call, size int, block time.Duration) {
	k.end = c.taken.Load() + int64(len(c.wbuf))
	c.nbytes += int(k.end-k.start) - size
	c.counters.sent += int64(k.want)
	k.deadline = c.clock.deadline(c, block)
	if c.oldest == 0 {
		c.oldest = max(k.deadline, c.grace)
	}
	c.queued = append(c.queued, k)
}

// write hands wbuf to the transport, for itself and for all who add to it
// meanwhile. It is called with mu held and returns with it.
func (c *Conn) write(ctx context.Context, k *call) {
	c.writing = true
	c.watch.writer, c.watch.late = ctx.Done(), 0
	for i := 0; len(c.wbuf) > 0 && c.err == nil; i++ {
		if len(c.wbuf) > bigWrite || i >= maxWrites || (i > 0 && k.state.Load() == done) || c.mayBlock() {
			// A write that may block must not keep this caller from reading,
			// nor from its reply; nor should it write for others for ever.
			c.watch.writer = nil
			c.wg.Go(c.writeRest)
			return
		}
		if c.nflight > k.want && k.want < loneBatch { // others are in flight, and may add
			c.mu.Unlock()
			yield()
			c.mu.Lock()
			if len(c.wbuf) > bigWrite || c.mayBlock() {
				continue
			}
		}
		if c.watch.writer != nil && (c.nbytes > smallWrite || !c.resumes) {
			c.clock.hurry() // it may block: a tick lets the caller go
		}
		if !c.writeOnce() {
			c.wg.Go(c.writeRest)
			return
		}
	}
	c.writeEnd()
}

// writeRest is write without a caller: it runs until there is nothing left.
func (c *Conn) writeRest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.writer = nil
	for len(c.wbuf) > 0 && c.err == nil {
		c.writeOnce()
	}
	c.writeEnd()
}

func (c *Conn) writeEnd() {
	c.writing = false
	c.watch.writer = nil
	if c.err != nil {
		c.changed.Broadcast()
	}
}

// writeOnce takes wbuf and writes it. It reports false when it was interrupted
// because the writer's context ended: the rest is back in wbuf. A failed write
// ends the connection.
func (c *Conn) writeOnce() bool {
	b := c.wbuf
	c.wbuf, c.spare = c.spare[:0], nil
	end := c.taken.Add(int64(len(b)))
	start := end - int64(len(b))
	var hidden []span
	if c.observed {
		hidden = c.hiddenIn(start, end)
	}
	c.mu.Unlock()
	n, err := c.hand(b)
	if c.observed {
		c.wireOut(start, b[:n], hidden)
	}
	c.mu.Lock()
	c.wrote += int64(n % partWrite)
	if err == nil {
		c.forgive()
		if c.keeps(b) {
			c.spare = b[:0]
		}
		return true
	}
	late := errors.Is(err, os.ErrDeadlineExceeded)
	if c.err == nil && late && c.resumes {
		c.nc.SetWriteDeadline(time.Time{})
		// The calls of the rest stay taken: some of their bytes may be out.
		rest := append([]byte(nil), b[n:]...)
		c.taken.Add(-int64(len(rest)))
		c.wbuf = append(rest, c.wbuf...)
		return false
	}
	if late {
		err = errInterrupted
	} else if c.greeting && !c.leading && c.err == nil {
		err = c.lastWords(err)
	}
	c.die(err, "write")
	if !c.leading {
		c.leading = true
		c.writing = false
		c.flush()
		c.writing = true
	}
	return true
}

// keeps reports whether the memory of b, which was written, is used again.
func (c *Conn) keeps(b []byte) bool {
	if len(b) > keepWrite {
		c.burst = true
	}
	return cap(b) <= 2*c.cfg.MaxBytes
}

// shrink gives back the memory of a burst of writes that is over. A tick calls
// it, with mu held.
func (c *Conn) shrink() {
	if !c.burst {
		if cap(c.spare) > keepWrite {
			c.spare = nil
		}
		if cap(c.wbuf) > keepWrite && len(c.wbuf) == 0 {
			c.wbuf = nil
		}
	}
	c.burst = false
}

// hand gives b to the transport, in parts, so that a large write that moves on
// is not taken for a stall. It notes whole parts as written; the caller notes
// the rest.
func (c *Conn) hand(b []byte) (n int, err error) {
	for {
		p := b[n:min(len(b), n+partWrite)]
		m, err := c.nc.Write(p)
		if m < 0 || m > len(p) {
			return n, errBadCount
		}
		if n += m; err == nil && m < len(p) {
			err = io.ErrShortWrite
		}
		if m == partWrite {
			c.mu.Lock()
			c.wrote += partWrite
			c.progress()
			c.mu.Unlock()
		}
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// progress puts off the stall clock. It is called with mu held.
func (c *Conn) progress() {
	c.grace = c.clock.deadline(c, 0)
	if c.oldest != 0 {
		c.oldest = max(c.oldest, c.grace)
	}
}

// withdraw takes k back if no writer has taken its bytes. It is called with mu
// held.
func (c *Conn) withdraw(k *call) bool {
	if c.err != nil || k.start < c.taken.Load() {
		return false
	}
	at := -1
	for i, q := range c.queued {
		if q == k {
			at = i
			break
		}
	}
	if at < 0 {
		return false
	}
	size := k.end - k.start
	off := k.start - c.taken.Load()
	c.wbuf = append(c.wbuf[:off], c.wbuf[off+size:]...)
	c.queued = append(c.queued[:at], c.queued[at+1:]...)
	for _, q := range c.queued[at:] {
		q.start -= size
		q.end -= size
	}
	n := k.want
	c.counters.sent -= int64(n)
	c.unhide(k)
	k.Release()
	if at == 0 && c.ahead == 0 {
		c.oldest = 0
		if len(c.queued) > 0 {
			c.oldest = max(c.queued[0].deadline, c.grace)
		}
	}
	c.release(n, int(size))
	return true
}
