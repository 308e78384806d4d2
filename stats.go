package redisx

import (
	"time"

	"github.com/redisx/redisx/command"
)

// Stats is what a client has done since Connect, and what it holds. All of it
// is counted where it happens at no cost, and summed when asked for: asking
// takes each connection's lock once.
type Stats struct {
	// Connections that are open: the shared one, those of blocking commands and
	// sessions (Private in use, or for tracking and subscriptions; Idle kept for
	// the next).
	Conns, Private, Idle int
	Dials                int64 // that have ended, well or not
	DialFailures         int64 // of them, those that made no connection
	Reconnects           int64 // of the shared connection
	PassedOn             int64 // commands that went to another connection before a byte of them was sent

	InFlight      int // commands not answered yet, those of callers who left among them
	InFlightBytes int // their size
	Orphans       int // commands and batches in flight whose callers have left
	Waiting       int // callers that wait for room in flight
	BufferBytes   int // memory of the connections' buffers

	PrivateWaiting int   // callers that wait for a private connection (Config.MaxPrivate)
	Unblocked      int64 // blocking commands of callers who left that were ended on the server
	Lost           int64 // of them, those whose reply held something: popped, and nobody was left to take it

	Commands int64 // sent, with every attempt, handshakes and pings
	BytesIn  int64
	BytesOut int64
	Pushes   int64 // push messages that came

	// Errors were given to callers, one for each command; not counted is what the
	// client itself refused.
	Errors  ErrorCounts
	Retries RetryCounts
	Panics  int64 // of observers
}

// ErrorCounts counts errors by outcome.
type ErrorCounts struct {
	NotSent, Cut, Refused, Maybe int64
	Failed                       int64 // the command ran, and its answer is an error
}

// RetryCounts counts commands that were sent again.
type RetryCounts struct {
	Maybe   int64 // reads, and what Repeatable marked, that may have run
	Cut     int64 // cut off, so not run
	Refused int64 // refused for a reason that passes
	Denied  int64 // not sent again, as the budget was empty
	// Budget is how many attempts beyond the first would be made now.
	Budget float64
}

// Stats returns a snapshot. It may be called at any time, also after Close and
// by observers, except a WireObserver or PushObserver.
func (c *Client) Stats() Stats {
	conns, node, route := c.conns.Counts(), c.node.Stats(), c.route.Stats()
	private := c.node.PrivateStats()
	return Stats{
		Conns: conns.Open, Private: node.Private, Idle: node.Idle,
		Dials: node.Dials, DialFailures: node.DialFailures, Reconnects: node.Reconnects, PassedOn: node.PassedOn,
		InFlight: conns.InFlight, InFlightBytes: conns.Bytes, Orphans: conns.Orphans, Waiting: conns.Waiting,
		BufferBytes:    conns.Buffers,
		PrivateWaiting: private.Waiting, Unblocked: private.Unblocked, Lost: private.Lost,
		Commands: conns.Commands, BytesIn: conns.BytesIn, BytesOut: conns.BytesOut, Pushes: conns.Pushes,
		Errors: ErrorCounts{
			NotSent: route.Errors[command.NotSent], Cut: route.Errors[command.Cut], Refused: route.Errors[command.Refused],
			Maybe: route.Errors[command.Maybe], Failed: route.Errors[command.Done],
		},
		Retries: RetryCounts{
			Maybe: route.Again[command.Maybe], Cut: route.Again[command.Cut], Refused: route.Again[command.Refused],
			Denied: route.Denied, Budget: route.Budget,
		},
		Panics: c.observers.Panicked(),
	}
}

// State is whether a client can run commands.
type State struct {
	Up    bool      // the shared connection is up, as far as is known
	Since time.Time // when that began
	Err   error     // while it is not up: why, as far as is known
}

// State returns whether the shared connection is up. It asks nobody: without
// commands, a connection that the server closed is noticed within 3 s, and one
// that was lost without a word within 13 s.
// Changes are told to a telemetry.ConnObserver.
func (c *Client) State() State {
	s := c.node.State()
	return State{Up: s.Up, Since: s.Since, Err: s.Err}
}
