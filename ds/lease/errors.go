package lease

import (
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/hold"
)

// Sentinels, to be found with errors.Is.
var (
	// ErrHeld: somebody else holds the lease. The error is a *HeldError.
	ErrHeld = errors.New("lease: held")
	// ErrLost: the lease is not ours any more. The error is a *LostError.
	ErrLost = errors.New("lease: lost")
	// ErrFenced: the server refused a fenced write. The error is a *FencedError.
	ErrFenced = errors.New("lease: fenced")
	// ErrReentrant: the context belongs to the very lease that is asked for, so
	// waiting would never end.
	ErrReentrant = errors.New("lease: held by this very context")
)

// UnsafeServerError reports a server that may evict keys. See AllowEviction.
type UnsafeServerError = evict.UnsafeServerError

// HeldError reports that somebody else holds the lease.
type HeldError struct {
	Name  string        // of the lease
	Owner string        // who holds it, for people
	Token int64         // the holder's fencing token
	Since time.Time     // when it was granted, by the server's clock
	TTL   time.Duration // what was left of it then; negative: it has no end
	Meta  string        // what the holder says of itself, see Meta
	// Readers is how many hold it together, of which the one shown may stay
	// longest; 0 when one holds it alone.
	Readers int
	// Used is what the shares weigh, and Limit what they may weigh, where the
	// caller asked with Share and they are in its way.
	Used, Limit int64
	// Position is the caller's place in the queue, 1 is next; 0 when it does
	// not wait in it. Waiting is how many wait in it, the caller included.
	Position, Waiting int
	// Err is why waiting ended, the cause of the context; nil where nobody
	// waited.
	Err error
}

// Error names the lease, the holder, what is left and the place in the queue.
func (e *HeldError) Error() string {
	left := e.TTL.Round(time.Millisecond)
	var s string
	switch {
	case e.Token == 0:
		s = fmt.Sprintf("lease: %s promised to %s, the next in the queue, for another %v", e.Name, e.Owner, left)
	case e.Readers > 0:
		s = fmt.Sprintf("lease: %s held by %s and other readers, %d in all, for another %v", e.Name, e.Owner, e.Readers, left)
	default:
		s = fmt.Sprintf("lease: %s held by %s for another %v", e.Name, e.Owner, left)
	}
	if e.Waiting > 0 {
		s += "; " + e.queue()
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// queue tells the place in the queue.
func (e *HeldError) queue() string {
	if e.Position > 0 {
		return fmt.Sprintf("place %d of %d in the queue", e.Position, e.Waiting)
	}
	return fmt.Sprintf("%d in the queue", e.Waiting)
}

// Unwrap returns ErrHeld and why waiting ended.
func (e *HeldError) Unwrap() []error { return sentinel(ErrHeld, e.Err) }

// Explain says who is in the way and what to do.
func (e *HeldError) Explain() string {
	since, left := e.Since.UTC().Format(time.RFC3339Nano), e.TTL.Round(time.Millisecond)
	var s string
	switch {
	case e.Token == 0:
		s = fmt.Sprintf("Nobody holds %q; it is promised to %s, who has waited since %s and is next in the queue. If that one has died, its place lapses in %v.", e.Name, e.Owner, since, left)
	case e.Readers > 0:
		s = fmt.Sprintf("%d readers hold %q; the share of %s, taken at %s (token %d), lasts longest. The lease becomes free when the last of them releases; those who have died lapse within %v.", e.Readers, e.Name, e.Owner, since, e.Token, left)
	default:
		s = fmt.Sprintf("%s has held %q since %s (token %d). If it is alive it renews, and the lease becomes free when it releases; if it has died, the lease becomes free in %v.", e.Owner, e.Name, since, e.Token, left)
	}
	if e.Meta != "" {
		s += fmt.Sprintf(" It says of itself: %q.", e.Meta)
	}
	switch {
	case e.Position > 0:
		s += fmt.Sprintf(" The caller was number %d of %d in the queue.", e.Position, e.Waiting)
	case e.Waiting > 0:
		s += fmt.Sprintf(" %d wait in the queue.", e.Waiting)
	}
	return s + " Acquire waits as long as its context lasts; TryAcquire does not wait."
}

// Reasons of a LostError.
const (
	reasonExpired    = string(hold.Expired)
	reasonGone       = string(hold.Gone)
	reasonNotOwner   = string(hold.NotOwner)
	reasonFailover   = string(hold.Failover)
	reasonTakenOver  = string(hold.TakenOver)
	reasonHandedOver = string(hold.HandedOver)
	reasonClock      = string(hold.Clock)
	reasonReleased   = string(hold.Released)
	reasonClosed     = "closed"
)

// LostError reports that a lease has ended for its holder. It is the cause of
// the end of the lease's context.
type LostError struct {
	Name  string
	Token int64
	// Reason is one of
	//
	//	expired      no renewal came through in time
	//	gone         the server knows no holder: deleted, lapsed, flushed
	//	not owner    the server says that somebody else has it, who got it after
	//	             it had gone
	//	failover     gone or not owner, and another server says so than the one
	//	             that confirmed it last: a replica was promoted, or the
	//	             server restarted
	//	taken over   somebody took it by TakeOver
	//	handed over  it was given away by HandOver
	//	clock        the machine slept, or its wall clock was set forward
	//	released     Release was called
	//	closed       the client was closed
	Reason string
	Err    error // the last error of a renewal, or nil
}

// Error names the lease and the reason.
func (e *LostError) Error() string {
	s := fmt.Sprintf("lease: %s (token %d) lost: %s", e.Name, e.Token, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns ErrLost and the last error of a renewal.
func (e *LostError) Unwrap() []error { return sentinel(ErrLost, e.Err) }

// Explain says what happened and what to do.
func (e *LostError) Explain() string {
	var why string
	switch e.Reason {
	case reasonExpired:
		why = "no renewal was confirmed in time: the server or the network was away, or this process was stopped or starved for longer than the TTL. A longer TTL bridges longer outages."
	case reasonGone:
		why = "the server does not know it any more: the key was deleted, flushed or evicted, or the lease lapsed before a renewal arrived."
	case reasonNotOwner:
		why = "somebody else has it now: the key was deleted, flushed or evicted, or the lease lapsed before a renewal arrived, and then it was granted again."
	case reasonFailover:
		why = "another server answers than the one that confirmed it last, and does not know it as ours: a replica was promoted that did not have it, or the server restarted without its data. Replicas has grants and renewals confirmed by replicas."
	case reasonTakenOver:
		why = "somebody took it over by force. Inspect tells who."
	case reasonHandedOver:
		return fmt.Sprintf("Lease %q was handed over by its holder. Work that needs it must end before HandOver.", e.Name)
	case reasonClock:
		why = "the wall clock ran ahead of the monotonic clock: the machine slept, or its clock was set forward. The server's clock went on meanwhile."
	case reasonReleased:
		return fmt.Sprintf("Lease %q was released by its holder. Work that needs it must end before Release.", e.Name)
	case reasonClosed:
		return fmt.Sprintf("The client of lease %q was closed, so nobody renews it. Release leases before closing the client.", e.Name)
	}
	return fmt.Sprintf("Lease %q is lost: %s Stop the work and acquire again. Somebody else may hold it now; what was written with Do, or with token %d where the other side checks it, is safe.", e.Name, why, e.Token)
}

// FencedError reports a fenced write that the server refused. Nothing of it was
// written.
type FencedError struct {
	Name        string
	Token       int64  // ours
	Holder      string // who holds the lease now, "" when nobody does
	HolderToken int64  // 0 when nobody does
}

// Error names the lease and both tokens.
func (e *FencedError) Error() string {
	if e.Holder == "" && e.HolderToken == 0 {
		return fmt.Sprintf("lease: %s: write with token %d refused: nobody holds the lease", e.Name, e.Token)
	}
	if e.Holder == "" {
		return fmt.Sprintf("lease: %s: write with token %d refused: token %d was there first", e.Name, e.Token, e.HolderToken)
	}
	return fmt.Sprintf("lease: %s: write with token %d refused: %s holds the lease with token %d", e.Name, e.Token, e.Holder, e.HolderToken)
}

// Unwrap returns ErrFenced.
func (e *FencedError) Unwrap() error { return ErrFenced }

// Explain says what to do.
func (e *FencedError) Explain() string {
	return fmt.Sprintf("Lease %q was not ours any more when this write reached the server, which therefore ran none of its commands. Stop the work, acquire again and read again what the work stood on.", e.Name)
}

func sentinel(s, err error) []error {
	if err == nil {
		return []error{s}
	}
	return []error{s, err}
}
