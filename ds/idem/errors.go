package idem

import (
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/ds/internal/evict"
)

// The known states, for errors.Is.
var (
	// ErrInProgress is what every *InProgressError is.
	ErrInProgress = errors.New("idem: in progress")
	// ErrKeyMismatch is what every *MismatchError is.
	ErrKeyMismatch = errors.New("idem: same key, other arguments")
	// ErrIndeterminate is what every *IndeterminateError is.
	ErrIndeterminate = errors.New("idem: nobody knows whether it ran")
	// ErrFenced is what every *FencedError is.
	ErrFenced = errors.New("idem: fenced")
	// ErrUnsettled is what every *UnsettledError is.
	ErrUnsettled = errors.New("idem: ran, but it is not known whether that was recorded")
	// ErrNoResult is what every *ResultError is.
	ErrNoResult = errors.New("idem: ran, but its result is not stored")
	// ErrResultTooLarge is what a *ResultError is when size was the reason.
	ErrResultTooLarge = errors.New("idem: result too large to store")
)

// UnsafeServerError reports a server that may evict records. Run returns it
// unless AllowEviction waives it; fn was not run.
type UnsafeServerError = evict.UnsafeServerError

// InProgressError reports that another runner has the key: at once with NoWait,
// or when the caller's context ended before the runner did. fn was not run.
type InProgressError struct {
	Key    string
	Runner string        // who runs it
	Since  time.Time     // when it began, by the server's clock
	Lease  time.Duration // what was left of the runner's lease
	Err    error         // why the waiting ended: the context's cause; nil with NoWait
}

// Error says who runs what since when, and why the waiting ended.
func (e *InProgressError) Error() string {
	s := fmt.Sprintf("idem: %s is run by %s since %s", e.Key, e.Runner, e.Since.UTC().Format(time.RFC3339Nano))
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is reports whether target is ErrInProgress.
func (e *InProgressError) Is(target error) bool { return target == ErrInProgress }

// Unwrap returns why the waiting ended.
func (e *InProgressError) Unwrap() error { return e.Err }

// Explain says what happened and what to do.
func (e *InProgressError) Explain() string {
	return fmt.Sprintf("%s is running %s. Nothing was run a second time. Call again to wait for its result; "+
		"if the runner has died, its lease ends in %v at most and the next caller is told.", e.Runner, e.Key, e.Lease)
}

// MismatchError reports a key that was used with other arguments before. fn was
// not run.
type MismatchError struct {
	Key   string
	Since time.Time // when the run with the other arguments began, by the server's clock
}

// Error names the key.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("idem: %s was used with other arguments at %s", e.Key, e.Since.UTC().Format(time.RFC3339Nano))
}

// Is reports whether target is ErrKeyMismatch.
func (e *MismatchError) Is(target error) bool { return target == ErrKeyMismatch }

// Explain says what happened and what to do.
func (e *MismatchError) Explain() string {
	return fmt.Sprintf("The key %s stands for a run with other arguments, so its result is not the answer to this call, and this call was not run. "+
		"Use a new key for a new operation; repeat a call with the arguments it had.", e.Key)
}

// IndeterminateError reports that a runner died or was cut off between begin
// and end: what it does may have happened, wholly, partly or not. fn was not
// run again. It is what every caller gets until Forget, a caller with
// OnCrash(Rerun), or the end of the retention.
type IndeterminateError struct {
	Key    string
	Runner string    // who ran it
	Since  time.Time // when it began, by the server's clock
	Token  int64     // the run's fencing token
}

// Error says who began and did not end.
func (e *IndeterminateError) Error() string {
	return fmt.Sprintf("idem: %s was begun by %s at %s and never ended: it may have run", e.Key, e.Runner, e.Since.UTC().Format(time.RFC3339Nano))
}

// Is reports whether target is ErrIndeterminate.
func (e *IndeterminateError) Is(target error) bool { return target == ErrIndeterminate }

// Explain says what happened and what to do.
func (e *IndeterminateError) Explain() string {
	return fmt.Sprintf("%s began %s and stopped renewing its lease before it reported an end, so nobody knows whether it ran. "+
		"Find out from the system it acts on. If it did not run, or may run twice, idem.Forget frees the key; "+
		"operations that may always run twice take OnCrash(Rerun).", e.Runner, e.Key)
}

// FencedError reports a run that is not the run of its key any more: its lease
// lapsed and others were told or let in, or the record was deleted. What it
// returned is dropped. It is also the cause with which fn's context ends.
type FencedError struct {
	Key    string
	Token  int64  // the run's fencing token
	Reason string // the record's state, or how the lease was lost: "expired", "gone", "clock"
	Err    error  // what fn returned, or the last error of renewing; nil if nothing
}

// Error says which run was fenced and why.
func (e *FencedError) Error() string {
	s := fmt.Sprintf("idem: run %d of %s is fenced: %s", e.Token, e.Key, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is reports whether target is ErrFenced.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// Unwrap returns what fn returned.
func (e *FencedError) Unwrap() error { return e.Err }

// Explain says what happened and what to do.
func (e *FencedError) Explain() string {
	return fmt.Sprintf("This run of %s lost its lease (%s): the process was paused, or could not reach the server, for longer than the lease. "+
		"Others may have been told that its outcome is unknown, or have run it again; its result was dropped. "+
		"A longer TTL tolerates longer pauses.", e.Key, e.Reason)
}

// UnsettledError reports that fn ran to its end, and the server could not be
// told, or did not say whether it was. The value that Run returns with it is
// fn's. Later callers get the result, or *IndeterminateError.
type UnsettledError struct {
	Key    string
	Result error // what fn returned
	Err    error // why the server could not be told
}

// Error says what is known.
func (e *UnsettledError) Error() string {
	s := fmt.Sprintf("idem: %s ran, but it is not known whether that was recorded: %v", e.Key, e.Err)
	if e.Result != nil {
		s += " (it returned: " + e.Result.Error() + ")"
	}
	return s
}

// Is reports whether target is ErrUnsettled.
func (e *UnsettledError) Is(target error) bool { return target == ErrUnsettled }

// Unwrap returns both errors.
func (e *UnsettledError) Unwrap() []error {
	if e.Result == nil {
		return []error{e.Err}
	}
	return []error{e.Result, e.Err}
}

// Explain says what happened and what to do.
func (e *UnsettledError) Explain() string {
	return fmt.Sprintf("%s ran to its end, and the value returned with this error is its result, but the server could not be reached to record it. "+
		"Later callers get the result if the record arrived, and ErrIndeterminate otherwise; nothing runs twice unless it may.", e.Key)
}

// ResultError reports that the operation ran once, and its result cannot be
// given to anyone but its runner: it was too large, or could not be encoded.
// It will not run again while the record lasts. To the runner the value is
// returned with the error.
type ResultError struct {
	Key   string
	Size  int   // in bytes, when too large; else 0
	Limit int   // what MaxResult was, when too large; else 0
	Err   error // why it could not be encoded, to its runner only
}

// Error says why there is no result.
func (e *ResultError) Error() string {
	switch {
	case e.Size > 0:
		return fmt.Sprintf("idem: %s ran, but its result of %d bytes is over the limit of %d and was not stored", e.Key, e.Size, e.Limit)
	case e.Err != nil:
		return fmt.Sprintf("idem: %s ran, but its result could not be encoded and was not stored: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("idem: %s ran, but its result could not be encoded and was not stored", e.Key)
}

// Is reports whether target is ErrNoResult, or ErrResultTooLarge where size was
// the reason.
func (e *ResultError) Is(target error) bool {
	return target == ErrNoResult || target == ErrResultTooLarge && e.Size > 0
}

// Unwrap returns why it could not be encoded.
func (e *ResultError) Unwrap() error { return e.Err }

// Explain says what happened and what to do.
func (e *ResultError) Explain() string {
	return fmt.Sprintf("%s has run, once, and does not run again; only its result is missing. "+
		"Let fn store what is large elsewhere and return where it is, or raise MaxResult.", e.Key)
}

// StoredError is a final error (see Final) as callers after its runner get it:
// its text, because types do not travel.
type StoredError struct {
	Key     string
	Message string    // what the runner's error said
	Runner  string    // who ran it
	Since   time.Time // when that run began, by the server's clock
}

// Error returns the runner's words, behind the key.
func (e *StoredError) Error() string { return fmt.Sprintf("idem: %s: %s", e.Key, e.Message) }

// Explain says what happened and what to do.
func (e *StoredError) Explain() string {
	return fmt.Sprintf("%s ran %s, which failed for good: %s. That outcome is stored; the operation does not run again under this key.", e.Runner, e.Key, e.Message)
}

// Final marks an error as the outcome of the operation: it is stored, and every
// later caller gets it as *StoredError instead of another run. Errors that are
// not marked free the key, and the next caller runs. Final of nil is nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

type finalError struct{ err error }

// Error returns what the wrapped error says.
func (e *finalError) Error() string { return e.err.Error() }

// Unwrap returns the wrapped error.
func (e *finalError) Unwrap() error { return e.err }
