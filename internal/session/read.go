package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/redisx/redisx/resp3"
)

// largePart is how much of one reply must arrive to count as progress.
const largePart = 64 << 10

// spread is how many answers a leader hands out before it lets those whom it
// has woken run. Half of the processor's run queue (256) is free then, and the
// server has their next commands while the leader goes on; most likely their
// calls are still in the processor's cache, too, which nobody has measured. See
// docs/design/performance.md.
const spread = 100

// errNobody is the protocol error for a reply that no command is waiting for.
var errNobody = &resp3.ProtocolError{Reason: "a reply that nobody asked for"}

// lead reads replies and hands them out until k is done, then hands the lead
// on. own is nil for a leader without a call.
func (c *Conn) lead(ctx context.Context, k *call) error {
	for {
		if err := c.drain(k); err != nil {
			return c.end(k, err)
		}
		if k.state.Load() == done {
			c.handOver()
			return nil
		}
		if ctx.Err() != nil {
			if k.sink != nil && k.sink.open {
				return c.end(k, Ended(ctx)) // nobody else can go on with it
			}
			return c.resign(ctx, k)
		}
		if err := c.fill(); err != nil {
			return c.end(k, err)
		}
	}
}

// stand is the leader of a connection that must see pushes at once: it leads
// until the connection dies.
func (c *Conn) stand() {
	for {
		err := c.drain(nil)
		if err == nil {
			err = c.fill()
		}
		if err != nil {
			c.end(nil, err)
			return
		}
	}
}

// end fails everything because reading failed, k with it.
func (c *Conn) end(k *call, err error) error {
	if errors.Is(err, io.EOF) && c.rd.Buffered() > 0 {
		err = io.ErrUnexpectedEOF
	}
	c.mu.Lock()
	c.die(err, "read")
	if k != nil {
		k.waiting = false
	}
	c.flush()
	c.mu.Unlock()
	if k != nil {
		if k.state.Load() == done {
			select {
			case <-k.ready: // flush signals every call, the leader's own too
			default:
			}
		}
	}
	return nil
}

// drain hands out every complete reply that has arrived. Only the leader calls
// it; own is not signalled when it is done.
func (c *Conn) drain(own *call) error {
	woken := 0 // commands, since their callers were let run
	for {
		if own != nil && own.sink != nil {
			if read, err := c.pour(own); err != nil {
				return err
			} else if read {
				break
			}
		}
		v, ok, err := c.rd.Poll()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		var k *call
		if v.Kind() == resp3.Push || c.cfg.Subscriber && pushed(v) {
			c.push(v)
			k = c.confirmed(v)
		} else if k = c.front(); k == nil || k.start >= c.begun || k.awaits != nil && !v.Kind().IsError() {
			return errNobody
		}
		c.begun = c.limit
		if c.observed {
			c.wire(false, c.rd.Frame(), k != nil && k.hidden)
		}
		if k == nil {
			continue
		}
		open := k.exec && k.got == k.want-1 && leavesOpen(v)
		pops := k.pops && !v.IsNull() && !v.Kind().IsError()
		complete, wanted := k.deliver(v, c.rd.Frame())
		if !complete {
			c.moved = true
			continue
		}
		c.head++
		c.handed++
		c.answered += k.want
		c.freed += int(k.end - k.start)
		switch {
		case !wanted:
			if pops {
				c.popped.Add(1)
			}
			c.counters.orphans.Add(-1)
			k.Release()
		case k != own:
			woken += k.want
			k.ready <- finished // k is its caller's from here on
		}
		if open {
			return errOpen
		}
		if woken >= spread {
			woken = 0
			c.breathe()
		}
	}
	// What is left is the part of one frame that has arrived.
	if have := c.rd.Buffered(); have-c.part >= largePart {
		c.part, c.moved = have, true
	} else if have < c.part {
		c.part = have
	}
	if (c.answered > 0 || c.moved) && (own == nil || own.state.Load() != done) {
		c.mu.Lock()
		c.settle()
		c.mu.Unlock()
	}
	return nil
}

// breathe lets the callers that have been answered run.
func (c *Conn) breathe() {
	c.mu.Lock()
	c.settle()
	c.mu.Unlock()
	yield()
}

// errOpen ends a connection on which the server would go on queueing what it is
// sent: servers before 7.0 do, when they refuse EXEC itself.
var errOpen = errors.New("the server refused EXEC and did not end the transaction")

func leavesOpen(v resp3.View) bool {
	return v.Kind().IsError() && !bytes.HasPrefix(v.Bytes(), []byte("EXECABORT")) &&
		!bytes.Contains(v.Bytes(), []byte("without MULTI"))
}

// front returns the oldest unanswered call whose bytes a writer has taken.
func (c *Conn) front() *call {
	if c.head < len(c.inflight) {
		return c.inflight[c.head]
	}
	c.mu.Lock()
	c.claim()
	c.mu.Unlock()
	if len(c.inflight) == 0 {
		return nil
	}
	return c.inflight[0]
}

// claim moves the calls whose bytes are taken from queued to inflight, which
// is used up. It is called with mu held.
func (c *Conn) claim() {
	taken := c.taken.Load()
	n := len(c.queued)
	for n > 0 && c.queued[n-1].start >= taken {
		n--
	}
	c.ahead += n
	old := c.inflight[:0]
	c.head = 0
	if n == len(c.queued) {
		c.inflight, c.queued = c.queued, old
		return
	}
	c.inflight = append(old, c.queued[:n]...)
	c.queued = append(c.queued[:0], c.queued[n:]...)
}

// settle accounts for the answered commands. It is called with mu held.
func (c *Conn) settle() {
	if c.answered > 0 {
		c.release(c.answered, c.freed)
		c.answered, c.freed = 0, 0
		if c.nflight == 0 {
			c.clock.arm() // it notes that the connection idles
		}
	}
	c.ahead -= c.handed
	c.handed = 0
	c.counters.buffer = c.rd.Memory()
	switch {
	case c.head < len(c.inflight):
		c.oldest = max(c.inflight[c.head].deadline, c.grace)
	case len(c.queued) > 0:
		c.oldest = max(c.queued[0].deadline, c.grace)
	default:
		c.oldest = 0
	}
	if c.moved {
		// A batch, or a large reply, is not stalled while it comes in, nor is
		// what waits behind it. If nobody wants it any more, those behind it
		// are better off with another connection.
		c.moved = false
		if c.head == len(c.inflight) || c.inflight[c.head].state.Load() != gone {
			c.progress()
		}
	}
}

// read reads from the transport once. A frame that began to arrive before a
// command was written cannot be its reply, however late it ends.
func (c *Conn) read() error {
	before := c.rd.Buffered()
	if err := c.rd.Fill(); err != nil {
		return err
	}
	c.limit = c.taken.Load()
	c.counters.in.Add(int64(c.rd.Buffered() - before))
	if c.cfg.Subscriber {
		c.heard.Store(time.Now().UnixNano())
	}
	if before == 0 {
		c.begun, c.part = c.limit, 0
	}
	return nil
}

// fill reads from the transport once. An interruption of somebody who has left
// is not an error.
func (c *Conn) fill() error {
	err := c.read()
	if err == nil {
		return nil
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if c.poked {
		c.poked = false
		c.nc.SetReadDeadline(time.Time{})
	}
	return nil
}

// handOver gives the lead to the caller that came last of those waiting, or to
// nobody: whoever comes next takes it.
func (c *Conn) handOver() {
	c.mu.Lock()
	c.settle()
	c.watch.leader = nil
	var next *call
	for _, list := range [][]*call{c.queued, c.inflight[c.head:]} {
		for i := len(list) - 1; i >= 0 && next == nil; i-- {
			if list[i].waiting {
				next = list[i]
			}
		}
	}
	if c.err != nil {
		c.flush()
		next = nil
	} else if next == nil {
		c.leading = false
		if c.nflight > 0 {
			c.clock.hurry() // it reads for callers that left
		}
	} else {
		next.waiting = false
	}
	c.mu.Unlock()
	if next != nil {
		next.ready <- promoted
	}
}

func (c *Conn) push(v resp3.View) {
	c.counters.pushed.Add(1)
	if c.cfg.Observers.Pushes() {
		c.pushCame(v, len(c.rd.Frame()))
	}
	if c.cfg.OnPush == nil {
		c.pushes.Add(1)
		return
	}
	if c.cfg.PushWaits {
		c.held.Add(1)
		defer c.held.Add(1)
	}
	c.cfg.OnPush(v)
}
