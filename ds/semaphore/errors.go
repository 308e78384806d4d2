package semaphore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redisx/redisx/ds/lease"
)

// Sentinels, to be found with errors.Is.
var (
	// ErrFull: the permit does not fit beside those that are out, or others wait
	// for theirs. The error is a *FullError.
	ErrFull = errors.New("semaphore: full")
	// ErrNeverFits: the permit weighs more than all permits may. The error is a
	// *lease.NeverFitsError.
	ErrNeverFits = lease.ErrNeverFits
	// ErrOverloaded is for functions to wrap that With runs: what the permit is
	// for has too much to do. See Overloaded.
	ErrOverloaded = errors.New("semaphore: overloaded")
)

// FullError reports that there was no room for a permit.
type FullError struct {
	Name    string // of the semaphore
	Weight  int    // of the permit that was asked for
	Limit   int    // what all permits may weigh
	Used    int    // what those weigh that are out
	Permits int    // how many are out
	// Position is the caller's place in the queue, 1 is next; 0 when it does
	// not wait in it. Waiting is how many wait in it, the caller included.
	Position, Waiting int
	// Err is why waiting ended, the cause of the context; nil where nobody
	// waited.
	Err error
}

func (s *Semaphore) full(weight int, held *lease.HeldError) *FullError {
	e := &FullError{
		Name: s.name, Weight: weight, Limit: int(held.Limit), Used: int(held.Used), Permits: held.Readers,
		Position: held.Position, Waiting: held.Waiting, Err: held.Err,
	}
	if e.Limit == 0 { // all is free, and promised to the queue
		e.Limit = s.limit
	}
	return e
}

// Error names the semaphore, what is in use and the place in the queue.
func (e *FullError) Error() string {
	s := fmt.Sprintf("semaphore: %s: %d of %d in use", e.Name, e.Used, e.Limit)
	if e.Weight > 1 {
		s += fmt.Sprintf(", no room for %d", e.Weight)
	}
	switch {
	case e.Position > 0:
		s += fmt.Sprintf("; place %d of %d in the queue", e.Position, e.Waiting)
	case e.Waiting > 0:
		s += fmt.Sprintf("; %d in the queue", e.Waiting)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns ErrFull and why waiting ended.
func (e *FullError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrFull}
	}
	return []error{ErrFull, e.Err}
}

// Explain says what is in the way and what to do.
func (e *FullError) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d permits of %q are out and take %d of %d; a permit of weight %d was asked for.", e.Permits, e.Name, e.Used, e.Limit, e.Weight)
	switch {
	case e.Position > 0:
		fmt.Fprintf(&b, " The caller was number %d of %d in the queue.", e.Position, e.Waiting)
	case e.Waiting > 0:
		fmt.Fprintf(&b, " %d wait in the queue, and nobody overtakes them.", e.Waiting)
	}
	b.WriteString(" Permits come back when they are released, and those of holders that have died within one TTL. Acquire waits as long as its context lasts; TryAcquire does not wait. Inspect tells who holds them.")
	return b.String()
}
