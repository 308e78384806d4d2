package pool

import (
	"context"
	"errors"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

const (
	drainWithin = 250 * time.Millisecond // for a command whose caller left to end
	watchEvery  = 5 * time.Second        // the node, while commands block without end
	answerIn    = 4 * time.Second        // what the node is given for each sign of life
)

var ping = command.Ping().Request()

// release takes a private connection back whose caller is through with it. If
// the caller left a command that still blocks the server, another goroutine
// ends it, and the connection is given back then.
func (n *Node) release(ctx context.Context, c *session.Conn) {
	if c.Pending() == 0 {
		n.give(c, true)
		return
	}
	if ctx.Err() == nil || c.Err() != nil || !n.detach(func() { n.unblock(c) }) {
		n.give(c, false)
	}
}

// detach runs f on a goroutine that Close waits for, or reports false.
func (n *Node) detach(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.wg.Go(f)
	return true
}

// unblock ends the command that blocks c, and gives c back: clean, if the
// reply of the command has come. The reply may hold an element that the server
// popped before it was told; nobody is left to take it.
func (n *Node) unblock(c *session.Conn) {
	ctx, cancel := context.WithTimeout(n.ctx, drainWithin)
	defer cancel()
	before := c.Unclaimed()
	clean := n.drained(ctx, c)
	n.lost.Add(c.Unclaimed() - before)
	if clean {
		n.unblocked.Add(1)
	} else {
		n.cutOff.Add(1)
	}
	n.give(c, clean)
}

func (n *Node) drained(ctx context.Context, c *session.Conn) bool {
	shared := n.shared.Load()
	if c.ID() == 0 || shared == nil || shared.Since().After(c.Since()) {
		return false // the newer one may lead to another server, where the number is somebody else's
	}
	r := command.ClientUnblock(c.ID()).Request()
	reply, err := shared.Do(ctx, &r)
	if err != nil { // no permission, or no server
		return false
	}
	reply.Release()
	// Replies come in order: once this one is here, the other was read.
	if reply, err = c.Do(ctx, &ping); err != nil {
		return false
	}
	reply.Release()
	return c.Pending() == 0
}

// hold notes that c may block without end: then the node is watched, as no
// reply may ever be overdue.
func (n *Node) hold(c *session.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[c] = struct{}{}
	if !n.watched && !n.closed {
		n.watched = true
		n.wg.Go(n.watch)
	}
}

func (n *Node) unhold(c *session.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.blocked, c)
}

// watch ends the commands that block without end when the node gives no sign
// of life any more, which a peer that is frozen or cut off never says itself.
func (n *Node) watch() {
	for session.Sleep(n.ctx, watchEvery) == nil && n.anyBlocked() {
		if n.alive() {
			continue
		}
		n.mu.Lock()
		var held []*session.Conn
		for c := range n.blocked {
			held = append(held, c)
		}
		n.mu.Unlock()
		for _, c := range held {
			c.Fail(session.ErrStalled)
		}
	}
}

func (n *Node) anyBlocked() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watched = len(n.blocked) > 0
	return n.watched
}

// alive reports whether the node says anything: on the shared connection, or, as
// that may be what is broken, on a new one.
func (n *Node) alive() bool {
	ctx, cancel := context.WithTimeout(n.ctx, answerIn)
	defer cancel()
	r := ping
	reply, err := n.Do(ctx, &r)
	if err == nil {
		reply.Release()
	}
	if said(err) {
		return true
	}
	ctx, cancel = context.WithTimeout(n.ctx, answerIn)
	defer cancel()
	c, err := n.open(ctx, n.cfg.Session, true)
	if err == nil {
		c.Close()
	}
	return said(err) || n.ctx.Err() != nil
}

// said reports whether the server answered, be it with an error.
func said(err error) bool {
	var e resp3.ServerError
	return err == nil || errors.As(err, &e)
}
