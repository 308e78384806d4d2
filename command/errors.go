package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisx/redisx/resp3"
)

// Nil is returned where the server has nothing: no such key, field or member.
var Nil = errors.New("redisx: nil")

var errNoSpec = errors.New("command: request without a command")

// Outcome says what is known of a command that returned an error.
type Outcome uint8

// The outcomes. Maybe is the zero value: the careful guess.
const (
	// Maybe: all of the command was handed over and no reply came back (cut,
	// cancelled, timed out). The server may have run it, or may yet run it.
	Maybe Outcome = iota
	// NotSent: no byte of the command was handed to the transport.
	NotSent
	// Cut: the connection ended before the command's last byte was written.
	// Servers run only whole commands.
	Cut
	// Refused: the server said that it did not run the command (LOADING,
	// NOAUTH, OOM, MOVED and their like).
	Refused
	// Done: the server ran the command and the error is its answer, or the
	// answer could not be decoded.
	Done
)

// String returns the outcome in words.
func (o Outcome) String() string {
	switch o {
	case NotSent:
		return "not sent"
	case Cut:
		return "cut before its end, not run"
	case Refused:
		return "refused, not run"
	case Done:
		return "answered"
	}
	return "may have run"
}

// Error reports a command that failed: which, where, how far it got, and why.
// No argument of the command and no secret is put into it; a server's own text
// may quote what it is about.
type Error struct {
	Command string  // name only, such as "GET"; "" when no command is at fault
	Node    string  // address of the node, "" when none was chosen yet
	Phase   string  // "build", "dial", "queue", "write", "read", "reply", "decode", "copy"
	Outcome Outcome // whether the command may have run, in any attempt
	Err     error   // the cause: a resp3.ServerError, a context's error, an I/O error
	// Attempts is how often the command was sent: above 1 if the client sent it
	// again. 0 if never, and for phases "build" and "decode".
	Attempts int
}

// Error says all of it in one line.
func (e *Error) Error() string {
	again := ""
	if e.Attempts > 1 {
		again = fmt.Sprintf(" after %d attempts", e.Attempts)
	}
	if e.Phase == "reply" && e.Outcome != Maybe {
		return fmt.Sprintf("redisx: %s on %s%s: %v", e.Command, e.Node, again, e.Err)
	}
	return fmt.Sprintf("redisx: %s on %s%s: %s: %v (%s)", e.Command, e.Node, again, e.Phase, e.Err, e.Outcome)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the cause was a deadline.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.Is(e.Err, context.DeadlineExceeded) || (errors.As(e.Err, &t) && t.Timeout())
}

// SafeToRetry reports whether err proves that the server did not run the
// command, so that sending it again cannot run it twice.
func SafeToRetry(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Outcome == NotSent || e.Outcome == Cut || e.Outcome == Refused
}

// refusals are the codes with which a server says that a command did not run.
var refusals = map[string]bool{
	"MOVED": true, "ASK": true, "TRYAGAIN": true, "CLUSTERDOWN": true,
	"CROSSSLOT": true, "LOADING": true, "MASTERDOWN": true, "READONLY": true,
	"NOAUTH": true, "NOPERM": true, "OOM": true, "MISCONF": true,
	"NOREPLICAS": true, "BUSY": true, "NOSCRIPT": true, "EXECABORT": true,
}

// ReplyError returns the error for a command that the server answered with e.
func ReplyError(spec *Spec, node string, e resp3.ServerError) *Error {
	out := Done
	if code := e.Code(); refusals[code] {
		// A script can raise any text after it wrote, so only what the server
		// itself says before it runs a script proves anything.
		if !spec.Has(Scripting) || code == "NOSCRIPT" || code == "MOVED" || code == "ASK" {
			out = Refused
		}
	}
	return &Error{Command: spec.Name, Node: node, Phase: "reply", Outcome: out, Err: e, Attempts: 1}
}
