package pool

import (
	"context"
	"errors"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

var errBackoff = errors.New("further connections were refused: waiting before the next try")

// doPrivate runs a command that may block on a connection of its own, so that
// nobody waits behind it.
func (n *Node) doPrivate(ctx context.Context, r *command.Request) (command.Reply, error) {
	for try := 0; ; try++ {
		c, err := n.take(ctx)
		if err != nil {
			return command.Reply{}, n.unsent(r.Name(), err)
		}
		reply, err := c.Do(ctx, r)
		again := err != nil && try < keepIdle && unsentByDeath(ctx, c, err)
		// What a caller abandoned still blocks its connection: that one is closed.
		n.give(c, c.Pending() == 0)
		if !again {
			return reply, err
		}
	}
}

// batchPrivate runs a batch that may block on a connection of its own.
func (n *Node) batchPrivate(ctx context.Context, rs []command.Request, got func(int, resp3.View, error)) error {
	c, err := n.take(ctx)
	if err != nil {
		return n.none(rs, got, err)
	}
	clean := false
	defer func() { n.give(c, clean) }()
	err = c.DoBatch(ctx, rs, got)
	clean = c.Pending() == 0
	return err
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
		return nil, session.Ended(ctx)
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
		if c.Usable() {
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
// closes it at the latest in Close; before that its user calls Drop. It waits
// for the shared connection first, whose backoff spares a node that is down,
// and backs off by itself where only further connections are refused.
func (n *Node) Dial(ctx context.Context, cfg session.Config) (*session.Conn, error) {
	if err := n.live(ctx); err != nil {
		return nil, err
	}
	if err := n.await(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(n.ctx, func() { cancel(ErrClosed) })
	defer stop()
	c, err := n.open(ctx, cfg)
	n.dialled(err)
	if err != nil {
		if ctx.Err() != nil {
			err = session.Ended(ctx)
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

// await waits for a private dial's turn, which only failures before it put off.
// Who would wait longer than OfflineWait takes no turn.
func (n *Node) await(ctx context.Context) error {
	n.mu.Lock()
	now := time.Now()
	pause := time.Duration(0)
	if n.refusals > 0 {
		at := n.turn
		if at.Before(now) {
			at = now
		}
		pause = at.Sub(now)
		if pause <= n.cfg.OfflineWait {
			n.turn = at.Add(backoffBase + backoff(n.refusals))
		}
	}
	n.mu.Unlock()
	if pause > n.cfg.OfflineWait {
		if err := sleep(ctx, n.cfg.OfflineWait); err != nil {
			return session.Ended(ctx)
		}
		return errBackoff
	}
	if err := sleep(ctx, pause); err != nil {
		return session.Ended(ctx)
	}
	return nil
}

// dialled notes how a private dial ended.
func (n *Node) dialled(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err == nil:
		n.refusals = 0
	case n.ctx.Err() == nil:
		if n.refusals++; n.refusals == 1 {
			n.turn = time.Now().Add(backoffBase)
		}
	}
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
