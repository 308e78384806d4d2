package pool

import (
	"context"
	"errors"
	"fmt"
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
		reply, err := n.doBlocking(ctx, c, r)
		again := err != nil && try < keepIdle && n.passOn(ctx, c, err)
		n.release(ctx, c)
		if !again {
			return reply, err
		}
	}
}

func (n *Node) doBlocking(ctx context.Context, c *session.Conn, r *command.Request) (command.Reply, error) {
	if r.Block() < 0 {
		n.hold(c)
		defer n.unhold(c)
	}
	return c.Do(ctx, r)
}

// batchPrivate runs a batch that may block on a connection of its own.
func (n *Node) batchPrivate(ctx context.Context, rs []command.Request, got func(int, resp3.View, error)) error {
	c, err := n.take(ctx)
	if err != nil {
		return n.none(rs, got, err)
	}
	n.hold(c)
	clean := false
	defer func() {
		n.unhold(c)
		n.give(c, clean)
	}()
	err = c.DoBatch(ctx, rs, got)
	clean = c.Pending() == 0
	return err
}

// Take returns a connection that nobody else uses until Give.
func (n *Node) Take(ctx context.Context) (*session.Conn, error) {
	c, err := n.take(ctx)
	if err != nil {
		return nil, n.unsent("", err)
	}
	n.hold(c) // what its user runs on it may block without end
	return c, nil
}

// Give takes back what Take returned. A clean connection, in the state in which
// it was taken and with nothing in flight, is kept for others.
func (n *Node) Give(c *session.Conn, clean bool) {
	n.unhold(c)
	n.give(c, clean && c.Pending() == 0)
}

// Name returns the node's address, for errors.
func (n *Node) Name() string { return n.cfg.Session.Node }

// take returns a private connection: an idle one, or a new one within the
// bound on their number.
func (n *Node) take(ctx context.Context) (*session.Conn, error) {
	if err := n.enter(ctx); err != nil {
		return nil, err
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
	c, err := n.dialPrivate(ctx, n.cfg.Session, true)
	if err != nil {
		<-n.room
	}
	return c, err
}

// enter waits for room for one more private connection. Those who wait are
// served in order.
func (n *Node) enter(ctx context.Context) error {
	select {
	case n.room <- struct{}{}:
		return nil
	default:
	}
	waiting := n.waiting.Add(1)
	defer n.waiting.Add(-1)
	select {
	case n.room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &ExhaustedError{Max: cap(n.room), Waiting: int(waiting), Err: session.Ended(ctx)}
	case <-n.ctx.Done():
		return ErrClosed
	}
}

// ExhaustedError reports that all private connections of a node were in use,
// by blocking commands and sessions, until the context of a caller ended.
// Nothing was sent.
type ExhaustedError struct {
	Max     int   // the bound on their number, Config.MaxPrivate
	Waiting int   // how many callers waited when this one joined, itself included
	Err     error // why it waits no longer: the context's error
}

// Error names the bound and the queue.
func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("all %d private connections are in use (MaxPrivate), %d callers wait: %v", e.Max, e.Waiting, e.Err)
}

// Unwrap returns the context's error.
func (e *ExhaustedError) Unwrap() error { return e.Err }

// PrivateStats says how the private connections of a node are used. The last
// three count since the start.
type PrivateStats struct {
	Max     int // the bound
	InUse   int // by callers, or being drained
	Idle    int // kept for the next caller
	Waiting int // callers that wait for room
	// Blocking commands whose callers left before the reply: ended with CLIENT
	// UNBLOCK, their connections kept; or with their connections.
	Unblocked, CutOff int64
	// Lost counts those of Unblocked whose reply held something all the same:
	// the server had popped an element that nobody was left to take.
	Lost int64
}

// PrivateStats returns the numbers of now.
func (n *Node) PrivateStats() PrivateStats {
	n.mu.Lock()
	idle := len(n.idle)
	n.mu.Unlock()
	return PrivateStats{
		Max: cap(n.room), InUse: len(n.room), Idle: idle, Waiting: int(n.waiting.Load()),
		Unblocked: n.unblocked.Load(), CutOff: n.cutOff.Load(), Lost: n.lost.Load(),
	}
}

// Dial opens one more connection with a configuration of its own. The Node
// closes it at the latest in Close; before that its user calls Drop. It waits
// for the shared connection first, whose backoff spares a node that is down,
// and backs off by itself where only further connections are refused.
//
// While it lives it is kept authenticated, so it must not be in MULTI.
func (n *Node) Dial(ctx context.Context, cfg session.Config) (*session.Conn, error) {
	return n.dialPrivate(ctx, cfg, false)
}

func (n *Node) dialPrivate(ctx context.Context, cfg session.Config, own bool) (*session.Conn, error) {
	if err := n.live(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(n.ctx, func() { cancel(ErrClosed) })
	defer stop()
	if err := n.await(ctx); err != nil {
		return nil, err
	}
	c, err := n.open(ctx, cfg, own)
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
		if err := session.Sleep(ctx, n.cfg.OfflineWait); err != nil {
			return err
		}
		return errBackoff
	}
	return session.Sleep(ctx, pause)
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
	if clean {
		n.keep(c)
		return
	}
	n.drop(c)
}
