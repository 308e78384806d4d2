package coord

import (
	"errors"
	"fmt"

	"github.com/redisx/redisx/ds/internal/hold"
)

// ErrGenerationGone: the generation of a barrier that was waited for will never
// pass. The error is a *BrokenError.
var ErrGenerationGone = errors.New("coord: the generation is broken")

// Reasons of a BrokenError.
const (
	reasonLeft   = "left"
	reasonLapsed = "lapsed"
)

// BrokenError reports that a generation of a barrier was broken: one of its
// parties stopped waiting, so that they will never be all there.
type BrokenError struct {
	Name       string // of the barrier
	Generation int64
	Party      string // by which party, our own included
	// Reason is one of
	//
	//	left    the party stopped waiting: its context ended
	//	lapsed  the server heard nothing of the party for a TTL: it has died
	//
	// Or the Party is our own, which the server does not count any more; the
	// others may learn of it later:
	//
	//	gone       its arrival was deleted or flushed
	//	not owner  somebody else arrived under its name
	//	failover   a server answers that was promoted or has restarted, and
	//	           knows nothing of it
	Reason string
}

// Error names the barrier, the generation, the party and the reason.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("coord: barrier %s: generation %d broken: %s %s", e.Name, e.Generation, e.Party, e.Reason)
}

// Unwrap returns ErrGenerationGone.
func (e *BrokenError) Unwrap() error { return ErrGenerationGone }

// Explain says what happened and what to do.
func (e *BrokenError) Explain() string {
	why := e.Reason
	switch e.Reason {
	case reasonLeft:
		why = "stopped waiting for the others because its context ended"
	case reasonLapsed:
		why = "was not heard of for a TTL: it has died, or was cut off"
	case string(hold.Gone):
		why = "is not known to the server any more: its keys were deleted or flushed"
	case string(hold.NotOwner):
		why = "has lost its place to another party of the same name: give each a Name of its own"
	case string(hold.Failover):
		why = "is not known to the server that answers now: a replica was promoted, or the server restarted without its data"
	}
	return fmt.Sprintf("In generation %d of barrier %q, %s %s. All parties of the generation are told so. Undo or repeat what this phase did, and call Await again: the next generation waits for all parties anew.",
		e.Generation, e.Name, e.Party, why)
}
