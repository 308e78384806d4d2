package aside

import (
	"errors"
	"fmt"
	"time"
)

// The known states, for errors.Is.
var (
	// ErrNotFound is what a compute returns, wrapped or not, when there is
	// nothing under the key: the old value is dropped then, and Negative keeps
	// that there is none. Every *NotFoundError is one.
	ErrNotFound = errors.New("aside: not found")
	// ErrInvalidated is what every *InvalidatedError is.
	ErrInvalidated = errors.New("aside: fill lost")
)

// NotFoundError reports a key that has no value, because a compute has said so.
type NotFoundError struct {
	Key  string
	Left time.Duration // until the next compute may look again; 0: at once
}

// Error names the key.
func (e *NotFoundError) Error() string { return "aside: " + e.Key + ": not found" }

// Is reports whether target is ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// Explain says what happened and what to do.
func (e *NotFoundError) Explain() string {
	if e.Left <= 0 {
		return "The compute found nothing under " + e.Key + ". The next call computes again; Negative keeps the answer for a while."
	}
	return fmt.Sprintf("A compute has found nothing under %s, and that is kept for another %v. When something comes to be there, Invalidate the key.", e.Key, e.Left.Round(time.Millisecond))
}

// OptionError reports an argument that cannot be used. Nothing was sent.
type OptionError struct {
	Option string // such as "ttl"
	Reason string // what is wrong with it
}

// Error says what is wrong.
func (e *OptionError) Error() string { return "aside: " + e.Option + " " + e.Reason }

// Explain says what to do.
func (e *OptionError) Explain() string {
	return "The call was refused before anything was sent: " + e.Option + " " + e.Reason + "."
}

// InvalidatedError reports that no compute got through: each time somebody
// invalidated the key or a tag of it, or its lease was lost, before the result
// was stored. What was computed has been thrown away, because it may be older
// than the last invalidation.
type InvalidatedError struct {
	Key   string
	Tries int   // computes that were run
	Err   error // how the last one was lost
}

// Error names the key and how the last compute was lost.
func (e *InvalidatedError) Error() string {
	return fmt.Sprintf("aside: %s: lost the fill %d times, at last: %v", e.Key, e.Tries, e.Err)
}

// Unwrap returns how the last compute was lost.
func (e *InvalidatedError) Unwrap() error { return e.Err }

// Is reports whether target is ErrInvalidated.
func (e *InvalidatedError) Is(target error) bool { return target == ErrInvalidated }

// Explain says what happened and what to do.
func (e *InvalidatedError) Explain() string {
	return fmt.Sprintf("%d computes for %s in a row were overtaken by an invalidation, or lost their lease. Invalidate less often than a compute takes, "+
		"or cache smaller parts.", e.Tries, e.Key)
}

// LostError is the cause with which a compute's context ends when its fill is
// lost: what it computes will not be stored. The call itself computes anew.
type LostError struct {
	Key    string
	Reason string // "gone": invalidated or lapsed; "tag": a tag was invalidated; "expired": not renewed in time; "clock": the machine slept
	Err    error  // the last error of a renewal, or nil
}

// Error names the key and the reason.
func (e *LostError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("aside: %s: fill lost: %s", e.Key, e.Reason)
	}
	return fmt.Sprintf("aside: %s: fill lost: %s: %v", e.Key, e.Reason, e.Err)
}

// Unwrap returns the last error of a renewal.
func (e *LostError) Unwrap() error { return e.Err }

// StoreError reports a value that was computed but could not be stored: the
// server is out of memory, the connection broke. It may have been stored unless
// command.SafeToRetry clears the error. Calls get it with option Strict only, and
// with it the value.
type StoreError struct {
	Key string
	Err error // why it was not stored
}

// Error names the key and the reason.
func (e *StoreError) Error() string {
	return fmt.Sprintf("aside: %s: computed, but not stored: %v", e.Key, e.Err)
}

// Unwrap returns the reason.
func (e *StoreError) Unwrap() error { return e.Err }

// Explain says what happened and what to do.
func (e *StoreError) Explain() string {
	return fmt.Sprintf("The value of %s was computed, but the server did not take it: %v. The value returned with this error is good for this call. "+
		"The next call computes again. Without Strict there would be no error.", e.Key, e.Err)
}

// CodecError reports a value that could not be encoded, or a stored text that
// is no T.
type CodecError struct {
	Key string
	Op  string // "encode" or "decode"
	Err error  // what the codec said
}

// Error names the key and what the codec said.
func (e *CodecError) Error() string { return fmt.Sprintf("aside: %s: %s: %v", e.Key, e.Op, e.Err) }

// Unwrap returns what the codec said.
func (e *CodecError) Unwrap() error { return e.Err }

// Explain says what happened and what to do.
func (e *CodecError) Explain() string {
	if e.Op == "encode" {
		return "The computed value of " + e.Key + " cannot be encoded, so it was not stored: " + e.Err.Error() + "."
	}
	return "What is stored under " + e.Key + " does not decode into the type asked for: " + e.Err.Error() + ". Another program wrote it, or the type has changed; " +
		"use a new key for a new type, or invalidate the key."
}
