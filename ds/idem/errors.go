package idem

import (
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/ds/internal/evict"
)

// What an *Error can be, for errors.Is.
var (
	// ErrInProgress: another runner has the key, and the caller does not wait
	// for it, or no longer. fn was not run.
	ErrInProgress = errors.New("idem: in progress")
	// ErrKeyMismatch: the key was used with another Fingerprint. fn was not run.
	ErrKeyMismatch = errors.New("idem: same key, other arguments")
	// ErrIndeterminate: a runner died or was cut off between begin and end. What
	// it does may have happened, wholly, partly or not. fn was not run again. It
	// is what every caller gets until Forget, a caller with RerunOnCrash or
	// ResumeOnCrash, or the end of the retention.
	ErrIndeterminate = errors.New("idem: nobody knows whether it ran")
	// ErrFailed: the operation has an outcome, and it is a failure: an error
	// that was marked Final. The runner finds it too, beside its own error.
	ErrFailed = errors.New("idem: failed for good")
	// ErrFenced: this run is not the run of its key any more. Its lease lapsed
	// and others were told or let in, or the record was deleted. What it
	// returned is dropped. It is also the cause with which fn's context ends.
	ErrFenced = errors.New("idem: fenced")
	// ErrUnsettled: fn, or a checkpoint, ran to its end, and the server could not
	// be told, or did not say whether it was. The value that comes with it is
	// valid. Later callers get the result, or ErrIndeterminate.
	ErrUnsettled = errors.New("idem: ran, but it is not known whether that was recorded")
	// ErrResultTooLarge: it ran, and the result is over MaxResult and was not
	// stored. It does not run again while the record lasts. To the runner the
	// value is returned with the error.
	ErrResultTooLarge = errors.New("idem: result too large to store")
)

// UnsafeServerError reports a server that may evict records. Run returns it
// unless AllowEviction waives it; fn was not run.
type UnsafeServerError = evict.UnsafeServerError

// Error is what keeps a caller from a plain result. errors.Is tells which: it
// is one of the errors above.
type Error struct {
	Key string
	// State is "running" (ErrInProgress), "mismatch", "lost" (ErrIndeterminate),
	// "final" (ErrFailed), "fenced", "unsettled", or "unstored" (the result is
	// too large, which is ErrResultTooLarge, or its codec refuses it).
	State  string
	Runner string        // who runs or ran it, for people; "" when it is the caller
	Token  int64         // that run's fencing token, 0 when it does not matter
	Since  time.Time     // when that run began, by the server's clock
	Lease  time.Duration // running: what was left of the runner's lease
	// Reason is, of a fenced run, the record's state or how the lease was lost
	// ("expired", "gone", "not owner", "failover", "clock"); of a failure its
	// text, because types do not travel.
	Reason string
	Size   int // of a result that is too large, in bytes, else 0
	Limit  int // what MaxResult was then
	// Err is why the waiting ended (nil when it was Wait), what fn returned, why
	// the result could not be encoded, or why the server could not be told.
	Err error
}

// Error says which key, who, and why.
func (e *Error) Error() string {
	var s string
	switch state(e.State) {
	case running:
		s = fmt.Sprintf("is run by %s since %s", e.Runner, stamp(e.Since))
	case mismatch:
		s = fmt.Sprintf("was used with other arguments at %s", stamp(e.Since))
	case lost:
		s = fmt.Sprintf("was begun by %s at %s and never ended: it may have run", e.Runner, stamp(e.Since))
	case final:
		return fmt.Sprintf("idem: %s: %s", e.Key, e.Reason)
	case fenced:
		s = fmt.Sprintf("run %d is fenced: %s", e.Token, e.Reason)
	case unsettled:
		s = "ran, but it is not known whether that was recorded"
	case unstored:
		s = "ran, but its result could not be encoded and was not stored"
		if e.Size > 0 {
			s = fmt.Sprintf("ran, but its result of %d bytes is over the limit of %d and was not stored", e.Size, e.Limit)
		}
	default:
		s = fmt.Sprintf("is in the unknown state %.20q", e.State)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return "idem: " + e.Key + " " + s
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// sentinels are what an Error is by its state.
var sentinels = map[state]error{
	running: ErrInProgress, mismatch: ErrKeyMismatch, lost: ErrIndeterminate, final: ErrFailed,
	fenced: ErrFenced, unsettled: ErrUnsettled,
}

// Unwrap returns what the error is, and Err.
func (e *Error) Unwrap() []error {
	var all []error
	if s := sentinels[state(e.State)]; s != nil {
		all = append(all, s)
	}
	if e.Size > 0 {
		all = append(all, ErrResultTooLarge)
	}
	if e.Err != nil {
		all = append(all, e.Err)
	}
	return all
}

// Explain says what happened and what to do.
func (e *Error) Explain() string {
	switch state(e.State) {
	case running:
		return fmt.Sprintf("%s is running %s. Nothing was run a second time. Call again to wait for its result; "+
			"if the runner has died, its lease ends in %v at most and the next caller is told.", e.Runner, e.Key, e.Lease)
	case mismatch:
		return fmt.Sprintf("The key %s stands for a run with other arguments, so its result is not the answer to this call, and this call was not run. "+
			"Use a new key for a new operation; repeat a call with the arguments it had.", e.Key)
	case lost:
		return fmt.Sprintf("%s began %s and stopped renewing its lease before it reported an end, so nobody knows whether it ran. "+
			"Find out from the system it acts on. If it did not run, or may run twice, idem.Forget frees the key. "+
			"Operations that may always run twice take RerunOnCrash; those that save what they have done with Checkpoint take ResumeOnCrash.", e.Runner, e.Key)
	case final:
		return fmt.Sprintf("%s ran and failed for good: %s. That outcome is stored; the operation does not run again under this key. "+
			"To try anew, use a new key, or idem.Forget.", e.Key, e.Reason)
	case fenced:
		return fmt.Sprintf("This run of %s lost its lease (%s): the process was paused, or could not reach the server, for longer than the lease. "+
			"Others may have been told that its outcome is unknown, or have run it again; its result was dropped. "+
			"A longer TTL tolerates longer pauses.", e.Key, e.Reason)
	case unsettled:
		return fmt.Sprintf("%s ran to its end, and the value returned with this error is its result, but the server could not be reached to record it. "+
			"Later callers get the result if the record arrived, and ErrIndeterminate otherwise; nothing runs twice unless it may.", e.Key)
	case unstored:
		return fmt.Sprintf("%s has run, once, and does not run again; only its result is missing. "+
			"Let fn store what is large elsewhere and return where it is, or raise MaxResult.", e.Key)
	}
	return fmt.Sprintf("The record of %s is in a state that this version does not know. Bring all processes to the same version.", e.Key)
}

// error makes an *Error of what begin or forget answered.
func (l reply) error(key string, err error) *Error {
	return &Error{Key: key, State: string(l.state), Runner: l.runner, Token: l.token, Since: l.since, Lease: l.left, Err: err}
}

// inProgress is the error of one who does not wait, or no longer.
func (l reply) inProgress(key string, cause error) *Error {
	l.state = running
	return l.error(key, cause)
}

// fenced returns the error of a run that is not the key's any more.
func (r *run) fenced(reason string, err error) *Error {
	return &Error{Key: r.key, State: string(fenced), Token: r.token, Reason: reason, Err: err}
}

// Final marks an error as the outcome of the operation: it is stored, and every
// later caller gets an *Error with its text, which is ErrFailed, instead of
// another run. Errors that are not marked free the key, and the next caller
// runs. Final of nil is nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

type finalError struct{ err error }

// Error returns what the wrapped error says.
func (e *finalError) Error() string { return e.err.Error() }

// Unwrap returns the wrapped error, and what it is now.
func (e *finalError) Unwrap() []error { return []error{ErrFailed, e.err} }
