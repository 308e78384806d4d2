package smart

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

// Sentinels, to be found with errors.Is.
var (
	// ErrBudget: the condition was not met in time. The error is a *BudgetError.
	ErrBudget = errors.New("smart: out of budget")
	// ErrOverloaded: a bound of the client is reached, on conditions or on bytes,
	// and this wait is refused or ended. The text has the numbers.
	ErrOverloaded = errors.New("smart: overloaded")
)

// BudgetError reports that a condition was not met within the budget. The
// context had not ended, so this is no context's error.
type BudgetError struct {
	Budget time.Duration
	Waited time.Duration
	Last   Result    // what was seen last
	Since  time.Time // when the newest of that was first seen, by the local clock; zero when nothing was
	Rung   string    // how changes were learnt of, of that key of which it is slowest: "push", "events" or "poll"
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
	case e.Rung == string(wait.Poll):
		b.WriteString(" The server does not tell this client of changes (RESP2, or a user without CLIENT TRACKING, and no keyspace events of all that matters), so the key was asked for every 10 to 250 ms.")
	case e.Rung == string(wait.Events):
		b.WriteString(" The server publishes changes (keyspace events), and the key was asked for every 2.5 to 5 s besides. Look at who should bring it about; a longer budget only helps if that was under way.")
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

// overloaded reports that a wait was refused, or ended, because the client waits
// for too much.
type overloaded struct {
	waiters  int // conditions that the client waits for
	max      int // MaxWaiters, 0 when bytes is the reason
	bytes    int // what the values of the keys would take
	maxBytes int
}

func (e *overloaded) Error() string {
	if e.max > 0 {
		return fmt.Sprintf("smart: %d conditions are waited for, of at most %d", e.waiters, e.max)
	}
	return fmt.Sprintf("smart: the values of the keys that are waited for would take %d bytes, of at most %d", e.bytes, e.maxBytes)
}

func (e *overloaded) Unwrap() error { return ErrOverloaded }

// Explain says what to do.
func (e *overloaded) Explain() string {
	if e.max > 0 {
		return fmt.Sprintf("This client waits for %d conditions already. Refuse work earlier, share waits, or raise MaxWaiters above %d.", e.waiters, e.max)
	}
	return fmt.Sprintf("Keys are read whole. Wait for a small key beside the large value, or with Exists. All values together are bounded to %d bytes.", e.maxBytes)
}

// wrongType reports that a key holds what its condition is not about.
type wrongType struct {
	key  string
	want string // in words, such as "a list"
	err  error  // what the server said
}

func (e *wrongType) Error() string {
	return fmt.Sprintf("smart: %s does not hold %s: %v", e.key, e.want, e.err)
}

func (e *wrongType) Unwrap() error { return e.err }

// Explain says what to do.
func (e *wrongType) Explain() string {
	return fmt.Sprintf("%q holds something else than %s. Key is for strings, ListLen for lists, StreamAfter for streams; Exists and Absent are for all types. If two programs use the key, give one of them another.", e.key, e.want)
}

// explained returns err as users get it.
func (s *source) explained(err error) error {
	var said resp3.ServerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said) && said.Code() == "WRONGTYPE":
		return &wrongType{key: s.id.key, want: s.id.kind.wants(), err: err}
	}
	return fmt.Errorf("smart: %s: %w", s.id.key, err)
}
