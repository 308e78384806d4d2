package queue

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redisx/redisx/resp3"
)

// ErrStaleDelivery is what errors.Is finds in every *StaleError.
var ErrStaleDelivery = errors.New("queue: stale delivery")

var (
	errSettling = errors.New("another call is settling it")
	errSettled  = errors.New("it has been settled otherwise")
	errEnded    = errors.New("queue: the consumer has ended")
)

// The reasons why a delivery is not ours any more.
const (
	reasonTaken = "taken" // the server says that another delivery of the job has begun
	reasonGone  = "gone"  // the server says that the job, the delivery or the group is gone
)

// StaleError reports a delivery that is not ours, or that we cannot trust to be
// ours any more. It is what Ack, Retry and Dead return after the server refused
// them, and the cause with which the job's context ends.
type StaleError struct {
	Queue   string // the queue's name
	ID      string // the job's id
	Attempt int    // the number of the delivery that is stale
	// Reason is "taken" (another delivery of the job has begun), "gone" (the
	// server knows no such delivery), "expired" (no heartbeat came through in
	// time) or "clock" (the machine has slept).
	Reason string
	// Err is the last error of a heartbeat, or nil.
	Err error
}

// Error says which delivery is stale, and why.
func (e *StaleError) Error() string {
	s := fmt.Sprintf("queue: %s: delivery %d of job %s is stale: %s", e.Queue, e.Attempt, e.ID, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is reports whether target is ErrStaleDelivery.
func (e *StaleError) Is(target error) bool { return target == ErrStaleDelivery }

// Unwrap returns the last error of a heartbeat, or nil.
func (e *StaleError) Unwrap() error { return e.Err }

// Explain says what to do.
func (e *StaleError) Explain() string {
	switch e.Reason {
	case reasonTaken:
		return "The delivery passed its visibility without a heartbeat and another consumer has the job now, or it was given back to be retried. " +
			"What this one did may happen twice: make the handler idempotent, and let it stop when its context ends."
	case reasonGone:
		return "The job was settled by a later delivery, or its stream or group was deleted."
	}
	return "No heartbeat reached the server within the visibility: the process was paused, the machine slept, or the server was away. " +
		"Others may get the job from now on. Stop working on it; a longer Visibility survives longer pauses."
}

// MismatchError reports a queue that exists in another form than this program
// expects.
type MismatchError struct {
	Queue string // the queue's name
	Field string // "group" or "schema"
	Want  string // what this program expects
	Got   string // what the queue has
}

// Error says what differs.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("queue: %s has %s %s, not %s", e.Queue, e.Field, e.Got, e.Want)
}

// Explain says what to do.
func (e *MismatchError) Explain() string {
	if e.Field == "group" {
		return "A queue is worked on by one group: a job that is done leaves the queue, also for others. " +
			"Use Group(\"" + e.Got + "\"), or a queue for each group."
	}
	return "Another version of this library made the queue. Let one version empty it, or use another name."
}

// undecodableError is why a payload went to the dead letters.
type undecodableError struct{ err error }

// Error says that it could not be decoded, and why.
func (e *undecodableError) Error() string { return "undecodable payload: " + e.err.Error() }

// Unwrap returns what the codec said.
func (e *undecodableError) Unwrap() error { return e.err }

// schemaOf returns the schema that a script found instead of ours.
func schemaOf(err error) (string, bool) {
	var e resp3.ServerError
	if !errors.As(err, &e) || e.Code() != "SCHEMA" {
		return "", false
	}
	return strings.TrimPrefix(string(e), "SCHEMA "), true
}
