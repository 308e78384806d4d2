package tracking

import (
	"context"
	"errors"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// leastApart is the time from one line to the next: whatever ends them, the node
// is not dialled more than 20 times a second.
const leastApart = 50 * time.Millisecond

var errLost = errors.New("tracking: the connection was lost")

// line is one tracking connection.
type line struct {
	conn       *session.Conn
	generation int64 // of the node's shared connection, when conn was dialled
	dead       bool  // guarded by Hub.mu
}

// attempt is one dial of a line.
type attempt struct {
	done chan struct{} // closed at its end
	line *line
	err  error
}

// connect returns the live line, waiting for one. A caller that leaves does
// not end the dial that others need.
func (h *Hub) connect(ctx context.Context) (*line, error) {
	h.mu.Lock()
	l, a, err := h.current()
	h.mu.Unlock()
	if l != nil || err != nil {
		return l, err
	}
	select {
	case <-a.done:
		return a.line, a.err
	case <-ctx.Done():
		return nil, session.Ended(ctx)
	}
}

// current returns the live line, or the attempt to get one, which it starts if
// there is none. It is called with mu held.
func (h *Hub) current() (*line, *attempt, error) {
	switch {
	case h.closed:
		return nil, nil, pool.ErrClosed
	case h.noPush && h.asked == h.node.Generation():
		return nil, nil, ErrNoPush
	}
	if l := h.line; l != nil {
		if l.generation == h.node.Generation() {
			return l, nil, nil
		}
		h.lost(l)
	}
	if h.dialing == nil {
		a := &attempt{done: make(chan struct{})}
		h.dialing = a
		if h.began.IsZero() {
			h.began = time.Now()
		}
		h.wg.Go(func() { h.dial(a) })
	}
	return nil, h.dialing, nil
}

// lost takes l out of use. It is called with mu held.
func (h *Hub) lost(l *line) {
	l.dead = true
	if h.line == l {
		h.line, h.spent = nil, l.conn
		h.changedAll()
	}
}

func (h *Hub) dial(a *attempt) {
	h.mu.Lock()
	spent, pause := h.spent, time.Until(h.next)
	h.spent = nil
	h.mu.Unlock()
	if spent != nil {
		h.node.Drop(spent)
	}
	var l *line
	err := session.Sleep(h.ctx, pause)
	begun := time.Now()
	if err == nil {
		l, err = h.open()
	}
	h.mu.Lock()
	h.dialing = nil
	switch {
	case h.ctx.Err() != nil:
		err = pool.ErrClosed
	case err == nil && l.dead:
		err = errLost
	case errors.Is(err, ErrNoPush):
		h.noPush = true
	case err == nil:
		h.noPush = false // the server is another one
	}
	if a.err = err; err == nil {
		a.line, h.line, h.met = l, l, true
	}
	if l != nil { // else the node makes the next dial wait
		h.spoilt++
		if err == nil || h.noPush {
			h.spoilt = 0
		}
		h.next = begun.Add(max(leastApart, pool.Backoff(h.spoilt)))
	}
	h.mu.Unlock()
	close(a.done)
	if l != nil && err != nil {
		h.node.Drop(l.conn)
	}
}

// open dials and asks the server to push. The line that comes with an error was
// opened, and is of no use.
func (h *Hub) open() (*line, error) {
	if err := h.node.Ready(h.ctx); err != nil {
		return nil, err
	}
	l := &line{generation: h.node.Generation()}
	h.mu.Lock()
	h.asked = l.generation
	h.mu.Unlock()
	cfg := h.conn
	cfg.Role, cfg.Standing = "tracking", true
	cfg.OnPush = h.push
	cfg.OnClose = func(error) {
		h.mu.Lock()
		h.lost(l)
		h.mu.Unlock()
	}
	c, err := h.node.Dial(h.ctx, cfg)
	if err != nil {
		return nil, err
	}
	l.conn = c
	return l, h.track(h.ctx, c)
}

// track asks the server to push changes: of keys that c reads, or of all that
// begin with the prefixes.
func (h *Hub) track(ctx context.Context, c *session.Conn) error {
	if !c.RESP3() {
		return ErrNoPush // the server would track, and keep it to itself
	}
	var opts []command.TrackingOption
	if len(h.cfg.Prefixes) > 0 {
		opts = append(opts, command.BCAST)
	}
	for _, p := range h.cfg.Prefixes {
		opts = append(opts, command.PREFIX(p))
	}
	r := command.ClientTrackingOn(opts...).Request()
	reply, err := c.Do(ctx, &r)
	if err == nil {
		reply.Release()
		return nil
	}
	var e resp3.ServerError
	if errors.As(err, &e) && (e.Code() == "ERR" || e.Code() == "NOPERM") {
		return ErrNoPush // for good, unlike LOADING and its like
	}
	return err
}
