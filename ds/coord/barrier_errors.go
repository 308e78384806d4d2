package coord

import (
	"errors"
	"fmt"
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
	//	gone    the server knows nothing of our arrival: it was deleted or
	//	        flushed, or another party has our name. The others may learn of
	//	        it later.
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
	case reasonGone:
		why = "is not known to the server any more: its keys were deleted or flushed, or another party has the same name"
	}
	return fmt.Sprintf("In generation %d of barrier %q, %s %s. All parties of the generation are told so. Undo or repeat what this phase did, and call Await again: the next generation waits for all parties anew.",
		e.Generation, e.Name, e.Party, why)
}

// PartiesError reports that others already wait at a barrier, for another
// number of parties.
type PartiesError struct {
	Name    string // of the barrier
	Parties int    // ours
	Theirs  int
}

// Error names the barrier and both numbers.
func (e *PartiesError) Error() string {
	return fmt.Sprintf("coord: barrier %s: it waits for %d parties, not for %d", e.Name, e.Theirs, e.Parties)
}

// Explain says what to do.
func (e *PartiesError) Explain() string {
	return fmt.Sprintf("All parties of barrier %q must be made for the same number of parties. Those that wait now are for %d. The number can change when nobody waits.", e.Name, e.Theirs)
}
