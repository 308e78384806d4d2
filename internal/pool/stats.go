package pool

import (
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/telemetry"
)

// Stats is what a Node has done so far and what it holds.
type Stats struct {
	Dials        int64 // that have ended
	DialFailures int64
	Reconnects   int64 // of the shared connection
	PassedOn     int64 // commands whose connection was dead before they were sent
	Private      int   // connections in a caller's hands, or kept by Dial's callers
	Idle         int   // connections kept for reuse
	MaxPrivate   int
}

// State is whether a Node can take commands.
type State struct {
	Up    bool
	Since time.Time
	Err   error // while it is down: why, as far as is known
}

// tally is what a Node counts.
type tally struct {
	dials    atomic.Int64
	failures atomic.Int64
	shared   atomic.Int64 // dials of the shared connection that succeeded
	passedOn atomic.Int64
}

// Stats returns a snapshot.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	private, idle := len(n.private), len(n.idle)
	n.mu.Unlock()
	return Stats{
		Dials: n.tally.dials.Load(), DialFailures: n.tally.failures.Load(),
		Reconnects: max(n.tally.shared.Load()-1, 0), PassedOn: n.tally.passedOn.Load(),
		Private: private, Idle: idle, MaxPrivate: n.cfg.MaxPrivate,
	}
}

// State returns whether the shared connection is up, and since when.
func (n *Node) State() State {
	if c := n.shared.Load(); c != nil {
		err := c.Err()
		return State{Up: err == nil, Since: c.Since(), Err: err}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s := State{Since: n.down, Err: n.lastErr}
	if n.closed {
		s.Err = ErrClosed
	} else if s.Err == nil {
		s.Err = n.cause
	}
	return s
}

// dialling numbers a connection and tells that it is dialled. What it returns
// is called with how that ended.
func (n *Node) dialling(cfg *session.Config) func(*session.Conn, error) {
	start := time.Now()
	if cfg.Group != nil {
		cfg.ID = cfg.Group.NextID()
	}
	event := telemetry.Conn{ID: cfg.ID, Role: cfg.Role, Node: cfg.Node, State: telemetry.Dialing, At: start}
	cfg.Observers.Conn(event)
	return func(c *session.Conn, err error) {
		n.tally.dials.Add(1)
		took := time.Since(start)
		if err == nil {
			c.Announce(took)
			return
		}
		n.tally.failures.Add(1)
		event.State, event.At, event.Took, event.Err = telemetry.DialFailed, time.Now(), took, err
		cfg.Observers.Conn(event)
	}
}

// OfflineWait returns how long commands wait for a connection.
func (n *Node) OfflineWait() time.Duration { return n.cfg.OfflineWait }
