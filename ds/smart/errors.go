package smart

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx/resp3"
)

// Sentinels, to be found with errors.Is.
var (
	// ErrBudget: the condition was not met in time. The error is a *BudgetError.
	ErrBudget = errors.New("smart: out of budget")
	// ErrOverloaded: a bound of the client is reached. The error is an
	// *OverloadedError.
	ErrOverloaded = errors.New("smart: overloaded")
	// ErrWrongType: the key holds what the condition is not about. The error is a
	// *WrongTypeError.
	ErrWrongType = errors.New("smart: wrong type")
)

// BudgetError reports that a condition was not met within the budget. The
// context had not ended, so this is no context's error.
type BudgetError struct {
	Budget time.Duration
	Waited time.Duration
	Last   Result    // what was seen last
	Since  time.Time // when the newest of that was first seen, by the local clock; zero when nothing was
	Polled bool      // the server did not tell of changes of all keys: they were asked for
	Err    error     // why the last read failed, if it did; nil when the server answers
}

// Error names the keys and the time. It does not show values.
func (e *BudgetError) Error() string {
	s := fmt.Sprintf("smart: %s: not met within %v", e.keys(), e.Budget)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns ErrBudget and why the last read failed.
func (e *BudgetError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrBudget}
	}
	return []error{ErrBudget, e.Err}
}

func (e *BudgetError) keys() string {
	if n := len(e.Last.All); n > 1 {
		return fmt.Sprintf("%s and %d more", e.Last.All[0].Key, n-1)
	}
	return e.Last.Key
}

// Explain says what was seen and what to do. It does not show values.
func (e *BudgetError) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Waited %v for %s.", e.Waited.Round(time.Millisecond), e.keys())
	for _, s := range e.Last.All {
		fmt.Fprintf(&b, " %s: %s.", s.Key, s.explain())
	}
	if !e.Since.IsZero() {
		fmt.Fprintf(&b, " The newest of that was first seen at %s.", e.Since.UTC().Format("15:04:05.000"))
	}
	switch {
	case e.Err != nil:
		fmt.Fprintf(&b, " The last read failed (%v): see to the server or the network first.", e.Err)
	case e.Polled:
		b.WriteString(" The server does not tell this client of changes (RESP2, or a user without CLIENT TRACKING), so the key was asked for every 10 to 250 ms.")
	default:
		b.WriteString(" The server told of every change. Look at who should bring it about; a longer budget only helps if that was under way.")
	}
	return b.String()
}

func (s Seen) explain() string {
	switch {
	case !s.Known:
		return "was never read"
	case s.Met:
		return "met"
	case !s.Exists:
		return "does not exist"
	case s.LastID != "":
		return "a stream whose last ID is " + s.LastID
	case s.Len > 0:
		return fmt.Sprintf("a list of %d", s.Len)
	}
	return "exists, not as waited for"
}

// OverloadedError reports that a wait was refused, or ended, because the client
// waits for too much.
type OverloadedError struct {
	Waiters  int // conditions that the client waits for
	Max      int // MaxWaiters, 0 when Bytes is the reason
	Bytes    int // what the values of the keys would take
	MaxBytes int
}

// Error names the bound.
func (e *OverloadedError) Error() string {
	if e.Max > 0 {
		return fmt.Sprintf("smart: %d conditions are waited for, of at most %d", e.Waiters, e.Max)
	}
	return fmt.Sprintf("smart: the values of the keys that are waited for would take %d bytes, of at most %d", e.Bytes, e.MaxBytes)
}

// Unwrap returns ErrOverloaded.
func (e *OverloadedError) Unwrap() error { return ErrOverloaded }

// Explain says what to do.
func (e *OverloadedError) Explain() string {
	if e.Max > 0 {
		return fmt.Sprintf("This client waits for %d conditions already. Refuse work earlier, share waits, or raise MaxWaiters above %d.", e.Waiters, e.Max)
	}
	return fmt.Sprintf("Keys are read whole. Wait for a small key beside the large value, or with Exists. All values together are bounded to %d bytes.", e.MaxBytes)
}

// WrongTypeError reports that a key holds what its condition is not about.
type WrongTypeError struct {
	Key  string
	Want string // in words, such as "a list"
	Err  error  // what the server said
}

// Error names the key.
func (e *WrongTypeError) Error() string {
	return fmt.Sprintf("smart: %s does not hold %s", e.Key, e.Want)
}

// Unwrap returns ErrWrongType and what the server said.
func (e *WrongTypeError) Unwrap() []error { return []error{ErrWrongType, e.Err} }

// Explain says what to do.
func (e *WrongTypeError) Explain() string {
	return fmt.Sprintf("%q holds something else than %s. Key is for strings, ListLen for lists, StreamAfter for streams; Exists and Absent are for all types. If two programs use the key, give one of them another.", e.Key, e.Want)
}

// explained returns err as users get it.
func (s *source) explained(err error) error {
	var said resp3.ServerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said) && said.Code() == "WRONGTYPE":
		return &WrongTypeError{Key: s.id.key, Want: s.id.kind.wants(), Err: err}
	}
	return fmt.Errorf("smart: %s: %w", s.id.key, err)
}
