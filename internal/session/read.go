package session

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/redisx/redisx/resp3"
)

// largePart is how much of one reply must arrive to count as progress.
const largePart = 1 << 20

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
	for {
		v, ok, err := c.rd.Poll()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if v.Kind() == resp3.Push {
			c.push(v)
			c.begun = c.limit
			continue
		}
		k := c.front()
		if k == nil || k.start >= c.begun {
			return errNobody
		}
		c.begun = c.limit
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
			k.Release()
		case k != own:
			k.ready <- finished
		}
	}
	if (c.answered > 0 || c.moved) && (own == nil || own.state.Load() != done) {
		c.mu.Lock()
		c.settle()
		c.mu.Unlock()
	}
	return nil
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
	if before == 0 {
		c.begun, c.part = c.limit, 0
	}
	if have := c.rd.Buffered(); have-c.part >= largePart {
		c.part, c.moved = have, true
	} else if have < c.part {
		c.part = have
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
			c.clock.arm() // it reads for callers that left
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
	if c.cfg.OnPush == nil {
		c.pushes.Add(1)
		return
	}
	c.cfg.OnPush(v)
}
