package coord

import (
	"errors"
	"fmt"

	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/lease"
)

// Sentinels, to be found with errors.Is.
var (
	// ErrLost: what was held is not ours any more: a term, a membership, a
	// shard. The error is a *LostError.
	ErrLost = errors.New("coord: lost")
	// ErrNotLeader: somebody else leads. The error is a *NotLeaderError.
	ErrNotLeader = errors.New("coord: not the leader")
	// ErrUnhealthy: the function given to Healthy says that this process is not
	// fit to lead. The error wraps what it returned.
	ErrUnhealthy = errors.New("coord: unhealthy")
)

// MismatchError reports that the others were given another number: of parties of
// a barrier, of members that a latch waits for, or of shards.
type MismatchError struct {
	Kind   string // "barrier", "latch" or "shards"
	Name   string
	Ours   int
	Theirs int
}

// Error names the thing and both numbers.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("coord: %s %s: the others have it for %d, not for %d", e.Kind, e.Name, e.Theirs, e.Ours)
}

// Explain says what to do.
func (e *MismatchError) Explain() string {
	when := "when nobody waits at it"
	switch e.Kind {
	case "latch":
		when = "when its TTL has passed, or it was deleted"
	case "shards":
		when = "when all members have stopped"
	}
	return fmt.Sprintf("All who use the %s %q must give the same number. There it is %d, and here %d. It can change %s; a new name is free at once.",
		e.Kind, e.Name, e.Theirs, e.Ours, when)
}

// UnsafeServerError reports a server that may evict keys. See AllowEviction.
type UnsafeServerError = evict.UnsafeServerError

// LostError reports that something has ended for its holder. It is the cause of
// the end of a context: of a term, a membership, a shard.
type LostError struct {
	Kind  string // what is lost: "leadership", "membership", "shard", "arrival" (at a barrier)
	Name  string
	Token int64 // its fencing token, 0 where it has none
	// Reason is one of
	//
	//	expired    no renewal came through in time
	//	gone       the server does not know it: deleted, lapsed, flushed
	//	clock      the machine slept, or its wall clock was set forward
	//	closed     the client was closed
	//	resigned   Resign or Leave was called
	//	unhealthy  the function given to Healthy returned an error
	//	asked      StepDown was called, on whatever client
	//	moved      another member is to have the shard
	//	not owner  somebody else got it after it had lapsed or was deleted
	//	failover   another server answers than the one that granted it, and does
	//	           not know it
	//
	// or another one of lease.LostError, where that is the Err, such as taken
	// over.
	Reason string
	Err    error // what said so, or the last error of a renewal; or nil
}

// Reasons of a LostError that this package decides on.
const (
	reasonClosed    = "closed"
	reasonGone      = "gone"
	reasonResigned  = "resigned"
	reasonUnhealthy = "unhealthy"
	reasonAsked     = "asked"
)

// Error names what is lost, and the reason.
func (e *LostError) Error() string {
	s := fmt.Sprintf("coord: %s of %s lost: %s", e.Kind, e.Name, e.Reason)
	if e.Token != 0 {
		s = fmt.Sprintf("coord: %s of %s (token %d) lost: %s", e.Kind, e.Name, e.Token, e.Reason)
	}
	err := e.Err
	var below *lease.LostError
	if errors.As(err, &below) {
		err = below.Err // it says the same again, but for this
	}
	if err != nil {
		s += ": " + err.Error()
	}
	return s
}

// Unwrap returns ErrLost and what said so.
func (e *LostError) Unwrap() []error { return sentinel(ErrLost, e.Err) }

// Explain says what happened and what to do.
func (e *LostError) Explain() string {
	var why string
	switch e.Reason {
	case reasonResigned:
		return fmt.Sprintf("The %s of %q was given up by its holder. Work that needs it must end before.", e.Kind, e.Name)
	case reasonMoved:
		return fmt.Sprintf("Shard %q goes to another member, as members have come or gone. It begins there when the function has returned here.", e.Name)
	case reasonAsked:
		why = "somebody asked for it with StepDown."
	case reasonUnhealthy:
		why = "the health check of this process failed or was too slow. It campaigns again when it succeeds."
	case reasonClosed:
		why = "the client was closed, so nobody renews it. Give up what is held before closing the client."
	case reasonGone:
		why = "the server does not know it as ours any more: its key was deleted, flushed or evicted, the server restarted without its data, or it lapsed before a renewal arrived."
	case string(hold.Expired):
		why = "no renewal was confirmed in time: the server or the network was away, or this process was stopped or starved for longer than the TTL. A longer TTL bridges longer outages."
	case string(hold.Clock):
		why = "the wall clock ran ahead of the monotonic clock: the machine slept, or its clock was set forward."
	case string(hold.NotOwner):
		why = "the server says that somebody else has it, who got it after it had lapsed or was deleted."
	case string(hold.Failover):
		why = "another server answers than the one that granted it, and knows of another holder or none: a replica was promoted, or the server restarted without its data."
	default:
		why = e.Reason + "."
	}
	return fmt.Sprintf("The %s of %q is lost: %s Stop the work: somebody else may have it now. What was written with a fenced write is safe.", e.Kind, e.Name, why)
}

// sentinel is what an error unwraps to: a sentinel, and a cause if there is one.
func sentinel(s, err error) []error {
	if err == nil {
		return []error{s}
	}
	return []error{s, err}
}

// wrap adds what failed: the kind of thing and its name.
func wrap(kind, name string, err error) error {
	return fmt.Errorf("coord: %s %s: %w", kind, name, err)
}
