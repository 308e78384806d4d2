package coalesce

import (
	"errors"
	"fmt"
)

// The known states, for errors.Is.
var (
	// ErrAbandoned is the cause with which a compute's context ends when the
	// last caller has left. No caller ever gets it.
	ErrAbandoned = errors.New("coalesce: every caller has left")
	// ErrClosed ends the calls of a Group that was closed, also with the client
	// that it hangs on.
	ErrClosed = errors.New("coalesce: group closed")
	// ErrReentrant is for a compute that asks for its own key, with its own
	// context: it would wait for itself.
	ErrReentrant = errors.New("coalesce: asked for by its own compute")
	// ErrForgotten is what every *ForgottenError is.
	ErrForgotten = errors.New("coalesce: fill lost")
)

// PanicError reports a compute that panicked or ended its goroutine. Every
// caller that waited for it gets the same one.
type PanicError struct {
	Value any    // what was given to panic; nil when it was runtime.Goexit
	Stack []byte // the stack of the compute, as debug.Stack formats it
}

// Error gives the panic's value and the stack.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return fmt.Sprintf("coalesce: compute ended its goroutine\n\n%s", e.Stack)
	}
	return fmt.Sprintf("coalesce: compute panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the panic's value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Explain says what happened and what to do.
func (e *PanicError) Explain() string {
	if e.Value == nil {
		return "The compute ended its goroutine (runtime.Goexit, or a test's FailNow) instead of returning. Nothing was stored, and the next call computes anew. " +
			"The stack shows where."
	}
	return "The compute panicked. Nothing was stored, every caller that waited for it has this error, and the next call computes anew. The stack shows where."
}

// OverloadError reports a call that found its Group full. Nothing was run.
type OverloadError struct {
	Limit int // the Group's
}

// Error gives the limit.
func (e *OverloadError) Error() string {
	return fmt.Sprintf("coalesce: %d callers or computes already, which is the limit", e.Limit)
}

// Explain says what happened and what to do.
func (e *OverloadError) Explain() string {
	return fmt.Sprintf("This process already has %d callers that wait, or computes that run. Computes that ignore their context stay counted until they return. "+
		"Shed load, make the computes faster, or raise Group.Limit.", e.Limit)
}

// OptionError reports an argument that cannot be used. Nothing was sent.
type OptionError struct {
	Option string // such as "ttl"
	Reason string // what is wrong with it
}

// Error says what is wrong.
func (e *OptionError) Error() string { return "coalesce: " + e.Option + " " + e.Reason }

// Explain says what to do.
func (e *OptionError) Explain() string {
	return "The call was refused before anything was sent: " + e.Option + " " + e.Reason + "."
}

// ForgottenError reports that no compute got through: each time somebody
// called Forget, or its lease was lost, before the result was stored. What was
// computed has been thrown away, because it may be older than the last Forget.
type ForgottenError struct {
	Key   string
	Tries int   // computes that were run
	Err   error // how the last one was lost
}

// Error names the key and how the last compute was lost.
func (e *ForgottenError) Error() string {
	return fmt.Sprintf("coalesce: %s: lost the fill %d times, at last: %v", e.Key, e.Tries, e.Err)
}

// Unwrap returns how the last compute was lost.
func (e *ForgottenError) Unwrap() error { return e.Err }

// Is reports whether target is ErrForgotten.
func (e *ForgottenError) Is(target error) bool { return target == ErrForgotten }

// Explain says what happened and what to do.
func (e *ForgottenError) Explain() string {
	return fmt.Sprintf("%d computes for %s in a row were overtaken by Forget, or lost their lease. Forget less often than a compute takes, "+
		"or share smaller parts.", e.Tries, e.Key)
}

// LostError is the cause with which a compute's context ends when its fill is
// lost: what it computes will not be stored. The call itself computes anew.
type LostError struct {
	Key    string
	Reason string // "gone": forgotten or lapsed; "expired": not renewed in time; "clock": the machine slept
	Err    error  // the last error of a renewal, or nil
}

// Error names the key and the reason.
func (e *LostError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("coalesce: %s: fill lost: %s", e.Key, e.Reason)
	}
	return fmt.Sprintf("coalesce: %s: fill lost: %s: %v", e.Key, e.Reason, e.Err)
}

// Unwrap returns the last error of a renewal.
func (e *LostError) Unwrap() error { return e.Err }

// StoreError reports a value that was computed but could not be stored: the
// server is out of memory, the connection broke. It may have been stored unless
// command.SafeToRetry clears the error.
//
// A caller that was there when the fill began gets the value beside the error,
// and may use it; others get the zero value (Computed tells).
type StoreError struct {
	Key      string
	Computed bool  // the value came with the error
	Err      error // why it was not stored
}

// Error names the key and the reason.
func (e *StoreError) Error() string {
	return fmt.Sprintf("coalesce: %s: computed, but not stored: %v", e.Key, e.Err)
}

// Unwrap returns the reason.
func (e *StoreError) Unwrap() error { return e.Err }

// Explain says what happened and what to do.
func (e *StoreError) Explain() string {
	return fmt.Sprintf("The value of %s was computed, but the server did not take it: %v. If Computed is true the value returned with this error is good for this call. "+
		"The next call computes again.", e.Key, e.Err)
}

// CodecError reports a value that could not be encoded, or a stored text that
// is no T.
type CodecError struct {
	Key string
	Op  string // "encode" or "decode"
	Err error  // what the codec said
}

// Error names the key and what the codec said.
func (e *CodecError) Error() string { return fmt.Sprintf("coalesce: %s: %s: %v", e.Key, e.Op, e.Err) }

// Unwrap returns what the codec said.
func (e *CodecError) Unwrap() error { return e.Err }

// Explain says what happened and what to do.
func (e *CodecError) Explain() string {
	if e.Op == "encode" {
		return "The computed value of " + e.Key + " cannot be encoded, so it was not stored: " + e.Err.Error() + "."
	}
	return "What is stored under " + e.Key + " does not decode into the type asked for: " + e.Err.Error() + ". Another program wrote it, or the type has changed; " +
		"use a new name for a new type, or Forget it."
}
