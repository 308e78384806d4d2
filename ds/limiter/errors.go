package limiter

import (
	"errors"
	"fmt"
	"time"
)

// The known states, for errors.Is.
var (
	// ErrLimited is what every *LimitedError is.
	ErrLimited = errors.New("limiter: limited")
	// ErrNeverFits is what every *NeverFitsError is.
	ErrNeverFits = errors.New("limiter: cost is more than the burst")
	// ErrCost reports a cost that is negative, or 0 where that makes no sense.
	// Nothing was sent.
	ErrCost = errors.New("limiter: impossible cost")
	// ErrNotReserved reports the end of a reservation that the server does not
	// know: it has lapsed, or was settled before.
	ErrNotReserved = errors.New("reservation lapsed or settled before")
)

// LimitedError reports a call that was not admitted. Decision.Err makes it; a
// denial is an answer, so Allow itself never returns it.
type LimitedError struct {
	Key        string        // of the rule that denied, as the caller gave it
	Rule       string        // its name in a Group, "" of a Limiter
	Rate       Rate          // the rule that denied
	RetryAfter time.Duration // until the call would fit, if nobody else calls
	// Cause is why the server could not decide, if OnError has denied.
	Cause error
}

// Error says which key was limited, by what, and for how long.
func (e *LimitedError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("limiter: %s refused without the server: %v", e.Key, e.Cause)
	}
	rule := ""
	if e.Rule != "" {
		rule = "rule " + e.Rule + " "
	}
	return fmt.Sprintf("limiter: %s limited to %s%v: fits in %v", e.Key, rule, e.Rate, e.RetryAfter)
}

// Is reports whether target is ErrLimited.
func (e *LimitedError) Is(target error) bool { return target == ErrLimited }

// Unwrap returns the Cause.
func (e *LimitedError) Unwrap() error { return e.Cause }

// Explain says what happened and what to do.
func (e *LimitedError) Explain() string {
	if e.Cause != nil {
		return fmt.Sprintf("The server could not decide about %s (%v), and OnError says to refuse then. Call again in %v, "+
			"or choose Open or Local.", e.Key, e.Cause, e.RetryAfter)
	}
	rule := ""
	if e.Rule != "" {
		rule = "By the rule " + e.Rule + " "
	}
	return fmt.Sprintf("%s%s has used up its burst of %d calls, which refills at %d in %v. Wait %v and call again; "+
		"calling earlier is denied, but does not lengthen the wait.", rule, e.Key, e.Rate.burst(), e.Rate.Count, e.Rate.Per, e.RetryAfter)
}

// NeverFitsError reports a cost that no wait makes fit. Nothing was sent.
type NeverFitsError struct {
	Key  string // as given to AllowN
	Rule string // its name in a Group, "" of a Limiter
	Cost int    // what was asked for, in calls
	Rate Rate   // the rule whose burst it exceeds
}

// Error says what was asked for and what would fit.
func (e *NeverFitsError) Error() string {
	return fmt.Sprintf("limiter: %s: cost %d never fits a burst of %d", e.Key, e.Cost, e.Rate.burst())
}

// Is reports whether target is ErrNeverFits.
func (e *NeverFitsError) Is(target error) bool { return target == ErrNeverFits }

// Explain says what happened and what to do.
func (e *NeverFitsError) Explain() string {
	return fmt.Sprintf("A call of cost %d is more than a full bucket holds (%d), so waiting cannot help. "+
		"Split the call, or raise the burst to at least %d.", e.Cost, e.Rate.burst(), e.Cost)
}

// RateError reports a rule that cannot be used. Nothing was sent.
type RateError struct {
	Rate   string // as given
	Reason string // what is wrong with it
}

// Error says what is wrong with the rule.
func (e *RateError) Error() string { return fmt.Sprintf("limiter: rate %q: %s", e.Rate, e.Reason) }

// Explain says what happened and what to do.
func (e *RateError) Explain() string {
	return fmt.Sprintf("The rate %q cannot be used: %s. Write a count, a slash and a period, such as \"100/m\", \"5/500ms\" or "+
		"\"50/s burst 100\", and check it early with limiter.ParseRate.", e.Rate, e.Reason)
}
