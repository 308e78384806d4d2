package pool

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
)

// doPrivate runs a command that may block on a connection of its own, so that
// nobody waits behind it.
func (n *Node) doPrivate(ctx context.Context, r *command.Request) (command.Reply, error) {
	c, err := n.take(ctx)
	if err != nil {
		return command.Reply{}, n.unsent(r.Name(), err)
	}
	reply, err := c.Do(ctx, r)
	// What a caller abandoned still blocks its connection: that one is closed.
	n.give(c, c.Pending() == 0)
	return reply, err
}

// With calls fn with a connection that nobody else uses. The connection is
// kept for others only if fn returns nil and left nothing in flight.
func (n *Node) With(ctx context.Context, fn func(*session.Conn) error) error {
	c, err := n.take(ctx)
	if err != nil {
		return n.unsent("", err)
	}
	clean := false
	defer func() { n.give(c, clean) }()
	err = fn(c)
	clean = err == nil && c.Pending() == 0
	return err
}

// take returns a private connection: an idle one, or a new one within the
// bound on their number.
func (n *Node) take(ctx context.Context) (*session.Conn, error) {
	select {
	case n.room <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-n.ctx.Done():
		return nil, ErrClosed
	}
	for {
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			<-n.room
			return nil, ErrClosed
		}
		if len(n.idle) == 0 {
			n.mu.Unlock()
			break
		}
		c := n.idle[len(n.idle)-1]
		n.idle = n.idle[:len(n.idle)-1]
		n.private[c] = struct{}{}
		n.mu.Unlock()
		if c.Err() == nil {
			return c, nil
		}
		n.drop(c)
	}
	c, err := n.Dial(ctx, n.cfg.Session)
	if err != nil {
		<-n.room
	}
	return c, err
}

// Dial opens one more connection with a configuration of its own. The Node
// closes it at the latest in Close; before that its user calls Drop.
func (n *Node) Dial(ctx context.Context, cfg session.Config) (*session.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(n.ctx, func() { cancel(ErrClosed) })
	defer stop()
	c, err := n.open(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		c.Close()
		return nil, ErrClosed
	}
	n.private[c] = struct{}{}
	n.mu.Unlock()
	return c, nil
}

// Drop closes a connection that Dial returned.
func (n *Node) Drop(c *session.Conn) { n.drop(c) }

func (n *Node) drop(c *session.Conn) {
	c.Close()
	n.mu.Lock()
	delete(n.private, c)
	n.mu.Unlock()
}

// give takes a private connection back.
func (n *Node) give(c *session.Conn, clean bool) {
	defer func() { <-n.room }()
	if clean && c.Err() == nil {
		n.mu.Lock()
		if !n.closed && len(n.idle) < keepIdle {
			delete(n.private, c)
			n.idle = append(n.idle, c)
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
	}
	n.drop(c)
}
