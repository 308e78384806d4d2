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
	// Err is why waiting ended, the cause of the context; nil where nobody
	// waited.
	Err error
}

// Error names the lease, the holder and what is left.
func (e *HeldError) Error() string {
	s := fmt.Sprintf("lease: %s held by %s for another %v", e.Name, e.Owner, e.TTL.Round(time.Millisecond))
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns ErrHeld and why waiting ended.
func (e *HeldError) Unwrap() []error { return sentinel(ErrHeld, e.Err) }

// Explain says what to do.
func (e *HeldError) Explain() string {
	return fmt.Sprintf("%s has held %q since %s (token %d). If it is alive it renews, and the lease becomes free when it releases; if it has died, the lease becomes free in %v. "+
		"Acquire waits for that as long as its context lasts; TryAcquire does not wait.",
		e.Owner, e.Name, e.Since.UTC().Format(time.RFC3339Nano), e.Token, e.TTL.Round(time.Millisecond))
}

// Reasons of a LostError.
const (
	reasonExpired  = string(hold.Expired)
	reasonGone     = string(hold.Gone)
	reasonClock    = string(hold.Clock)
	reasonReleased = string(hold.Released)
	reasonClosed   = "closed"
)

// LostError reports that a lease has ended for its holder. It is the cause of
// the end of the lease's context.
type LostError struct {
	Name  string
	Token int64
	// Reason is one of
	//
	//	expired   no renewal came through in time
	//	gone      the server says that it is not ours: deleted, lapsed, flushed
	//	clock     the machine slept, or its wall clock was set forward
	//	released  Release was called
	//	closed    the client was closed
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
		why = "the server does not know it as ours any more: the key was deleted, flushed or evicted, the server restarted without its data, or the lease lapsed before a renewal arrived."
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
	return fmt.Sprintf("lease: %s: write with token %d refused: %s holds the lease with token %d", e.Name, e.Token, e.Holder, e.HolderToken)
}

// Unwrap returns ErrFenced.
func (e *FencedError) Unwrap() error { return ErrFenced }

// Explain says what to do.
func (e *FencedError) Explain() string {
	return fmt.Sprintf("Lease %q had lapsed or was released before this write reached the server, which therefore ran none of its commands. Stop the work, acquire again and read again what the work stood on.", e.Name)
}

func sentinel(s, err error) []error {
	if err == nil {
		return []error{s}
	}
	return []error{s, err}
}
