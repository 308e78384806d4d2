package topology

import (
	"context"
	"errors"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// Policy bounds what is sent again. The fields must be set; negative counts are
// none.
type Policy struct {
	Reads    int           // attempts beyond the first of what may have run
	NotRun   int           // attempts beyond the first of what did not run
	Patience time.Duration // how long a refusal that passes is waited out
}

type (
	repeatableKey struct{}
	attemptsKey   struct{}
)

// CountAttempts makes the command or batch that is run with the context it
// returns note in n how often each request was sent, where it was more than
// once and in the end answered. An error has its own Attempts.
func CountAttempts(ctx context.Context, n []int) context.Context {
	return context.WithValue(ctx, attemptsKey{}, n)
}

// answered notes that request i was answered after the attempts before.
func answered(ctx context.Context, i int, before *past) {
	if n, ok := ctx.Value(attemptsKey{}).([]int); ok {
		n[i] = before.attempts + 1
	}
}

// Repeatable marks the commands that are run with the context it returns: those
// of the class state may be sent again when nobody knows whether they ran.
func Repeatable(ctx context.Context) context.Context {
	return context.WithValue(ctx, repeatableKey{}, true)
}

// past is what became of a command so far.
type past struct {
	attempts int // how often it was sent
	reads    int // how often it was sent again because nobody knew
	notRun   int // how often it was sent again because it had not run
	refused  time.Time
	maybe    bool // an attempt may have run
}

// judge reports whether a command that failed with e is sent again. ctx is the
// caller's.
func (p *Policy) judge(ctx context.Context, r *command.Request, e *command.Error, before *past, now time.Time) bool {
	if ctx.Err() != nil || bound(r) || final(e) {
		return false
	}
	switch e.Outcome {
	case command.Maybe:
		if r.Block() != 0 || before.reads >= p.Reads {
			return false
		}
		marked := r.Retry() == command.RetryState && ctx.Value(repeatableKey{}) != nil
		return r.Retry() == command.RetryRead || marked
	case command.Cut:
		return before.notRun < p.NotRun
	case command.Refused:
		waited := time.Duration(0)
		if !before.refused.IsZero() {
			waited = now.Sub(before.refused)
		}
		return passes(e) && before.notRun < p.NotRun && waited < p.Patience
	case command.NotSent:
		return false // the pool has looked for another connection
	}
	return false
}

// bound reports whether r is never sent again: administrative commands, and
// those of a session, whose connection is another one then.
func bound(r *command.Request) bool {
	return r.Retry() == command.RetryAdmin || r.Retry() == command.RetrySession
}

// final reports whether the cause of e forbids another attempt, whatever the
// outcome: time that is up, a client that is closed, a server that answers
// what is no answer.
func final(e *command.Error) bool {
	var protocol *resp3.ProtocolError
	return e.Timeout() || errors.Is(e.Err, context.Canceled) || errors.Is(e.Err, session.ErrClosed) || errors.As(e.Err, &protocol)
}

// passes reports whether the server refused for a reason that goes away.
func passes(e *command.Error) bool {
	var reply resp3.ServerError
	if !errors.As(e.Err, &reply) {
		return false
	}
	switch reply.Code() {
	case "LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN":
		return true
	}
	return false
}

// note adds the attempt that failed with e.
func (p *past) note(e *command.Error, now time.Time) {
	p.attempts += e.Attempts
	p.maybe = p.maybe || e.Outcome == command.Maybe
	switch {
	case e.Outcome == command.Maybe:
		p.reads++
	case e.Outcome == command.Refused && p.refused.IsZero():
		p.refused = now
		p.notRun++
	default:
		p.notRun++
	}
}

// close makes e, the error of the last attempt, tell of all of them.
func (p *past) close(e *command.Error) {
	e.Attempts += p.attempts
	if p.maybe && e.Outcome != command.Done {
		e.Outcome = command.Maybe
	}
}
