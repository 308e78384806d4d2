package redisx

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// ErrConflict is the cause when a transaction did not run because a watched key
// had changed: EXEC answered nil.
var ErrConflict = errors.New("a watched key has changed: the transaction did not run")

// ErrNotAtomic is the cause when the server refused MULTI but ran the commands
// after it, one by one. Each command's result tells of it as ever.
var ErrNotAtomic = errors.New("MULTI was refused: the commands ran one by one")

// AbortError reports a transaction of which nothing ran, because the server
// refused commands of it when they were queued (unknown, wrong number of
// arguments, no permission, out of memory): EXECABORT.
type AbortError struct {
	Reply ServerError // the reply to EXEC
	Errs  []error     // one *Error for each command that was refused, in order
}

// Error names the first command that was refused.
func (e *AbortError) Error() string {
	if len(e.Errs) == 0 {
		return "transaction aborted, nothing ran: " + e.Reply.Error()
	}
	return fmt.Sprintf("transaction aborted, nothing ran: %v", e.Errs[0])
}

// Unwrap returns the errors of the refused commands, then the reply to EXEC.
func (e *AbortError) Unwrap() []error {
	return append(append([]error(nil), e.Errs...), e.Reply)
}

// PartialError reports a transaction that ran, with commands in it that failed.
// The others have taken effect: Redis does not roll back.
type PartialError struct {
	Failed, Total int
	Err           error // of the first command that failed
}

// Error says how many failed, and why the first did.
func (e *PartialError) Error() string {
	return fmt.Sprintf("%d of %d commands of the transaction failed, the others ran: %v", e.Failed, e.Total, e.Err)
}

// Unwrap returns the error of the first command that failed.
func (e *PartialError) Unwrap() error { return e.Err }

// Tx collects commands and runs them as one transaction: MULTI … EXEC. No other
// client's command runs between them. It may be used by one goroutine at a
// time. Its results stay valid until Reset.
//
// Commands that block do not block in a transaction; they answer at once.
// Commands that bind a connection can only be queued in a Tx of a Session, and
// MULTI, EXEC, DISCARD, WATCH, UNWATCH, AUTH, HELLO, RESET and QUIT in none.
type Tx struct {
	PipelineCommands

	q      queue
	run    func(ctx context.Context, rs []command.Request, got func(int, resp3.View, error)) error
	check  func(*command.Request) error
	node   string
	client *Client
	always bool // EXEC says something even if nothing is queued
}

var (
	multiRequest = command.Multi().Request()
	execRequest  = command.Exec().Request()
)

// Tx returns an empty transaction. It is sent in one go on the connection that
// all callers share (docs/design/0008-transactions.md has the reasons).
func (c *Client) Tx() *Tx {
	t := &Tx{run: c.nodeBatch, check: shareable, node: c.node.Name(), client: c}
	t.init()
	return t
}

func (t *Tx) init() {
	t.PipelineCommands = PipelineCommands{q: &t.q}
	t.q.requests = append(t.q.requests, multiRequest)
}

func (t *Tx) queued() *queue { return &t.q }

// Len returns how many commands are queued.
func (t *Tx) Len() int {
	if t.q.executed && len(t.q.requests) > 1 {
		return len(t.q.requests) - 2
	}
	return len(t.q.requests) - 1
}

// Reset empties the transaction for the next use. Results of the last one are
// gone; memory is kept for 4096 commands and 1 MiB of replies.
func (t *Tx) Reset() {
	t.q.reset()
	t.q.requests = append(t.q.requests, multiRequest)
}

// Exec runs the transaction. It returns nil if all commands ran and none
// failed, else a *Error of which
//
//   - errors.Is(err, ErrConflict): a key watched by the Session had changed.
//     Nothing ran.
//   - errors.As(err, **AbortError): the server refused commands when they were
//     queued. Nothing ran. Each refused command's Result has its own error.
//   - errors.As(err, **PartialError): the transaction ran, but some of its
//     commands failed. Each one's Result tells.
//   - errors.Is(err, ErrNotAtomic): the server refused MULTI and ran the
//     commands one by one. A client asks once, before its first transaction,
//     whether MULTI is allowed, so this takes a change of permissions in
//     between.
//   - SafeToRetry(err): the connection or the context ended before all of EXEC
//     was written. Nothing ran, and each command says so.
//   - otherwise nobody knows: EXEC was handed over and no answer came. All
//     commands may have run, or none. It is never sent again.
//
// An empty Tx of a Client does nothing; one of a Session is sent all the same,
// as it tells whether the watched keys are what they were.
func (t *Tx) Exec(ctx context.Context) error {
	q := &t.q
	if q.executed {
		return errExecuted
	}
	q.executed = true
	if len(q.requests) == 1 && !t.always {
		return nil
	}
	q.requests = append(q.requests, execRequest)
	for i := range q.requests[1 : len(q.requests)-1] {
		r := &q.requests[i+1]
		r.SetBlock(0)
		err := transactable(r)
		if err == nil {
			err = t.check(r)
		}
		if err != nil {
			return t.unsent(fmt.Errorf("%s in the transaction: %w", r.Name(), errors.Unwrap(err)), "build", command.NotSent)
		}
	}
	if err := t.client.transacts(ctx); err != nil {
		return t.unsent(err.Err, err.Phase, err.Outcome)
	}
	var a answers
	err := t.client.direct(ctx, q.requests, func(i int, v resp3.View, err error) { t.got(&a, i, v, err) }, t.run)
	return t.judge(&a, err)
}

// answers are the replies to MULTI and EXEC, and what was seen between.
type answers struct {
	multi, exec error
	alone       bool // a command was answered, where it should have been queued
}

// got takes the answer to request i.
func (t *Tx) got(a *answers, i int, v resp3.View, err error) {
	q := &t.q
	switch {
	case i == 0:
		a.multi = err
		q.replies.Add(resp3.View{})
	case i < len(q.requests)-1:
		if err != nil {
			q.fail(i, err)
			v = resp3.View{}
		} else if v.Kind() == resp3.SimpleString && string(v.Bytes()) == "QUEUED" {
			v = resp3.View{}
		} else {
			a.alone = true
		}
		q.replies.Add(v)
	case err != nil || a.multi != nil || a.alone:
		a.exec = err
	default:
		a.exec = t.results(v)
	}
}

// results takes the reply of a transaction that was not refused.
func (t *Tx) results(v resp3.View) error {
	q := &t.q
	if v.IsNull() {
		return t.error("EXEC", "reply", command.Refused, ErrConflict)
	}
	want := len(q.requests) - 2 - len(q.errs)
	if v.Kind() != resp3.Array || v.Len() != want {
		return t.error("EXEC", "decode", command.Done, fmt.Errorf("reply of kind %s and length %d to %d commands", v.Kind(), v.Len(), want))
	}
	q.replies.Reset(keepReplies)
	q.replies.Add(resp3.View{}) // MULTI
	elems := v.Cursor()
	for i := 1; i < len(q.requests)-1; i++ {
		var reply resp3.View
		if q.errs[i] == nil {
			reply, _ = elems.Next()
		}
		if reply.Kind().IsError() {
			// Done, whatever its code says: the transaction it was part of ran.
			q.fail(i, t.error(q.requests[i].Name(), "reply", command.Done, resp3.ServerError(string(reply.Bytes()))))
			reply = resp3.View{}
		}
		q.replies.Add(reply)
	}
	return nil
}

// judge says how the transaction ended, and gives each command its part of that.
func (t *Tx) judge(a *answers, err error) error {
	var exec, multi *Error
	errors.As(a.exec, &exec)
	errors.As(a.multi, &multi)
	var refused ServerError
	switch {
	case a.alone, multi != nil && multi.Phase == "reply":
		return t.judgeAlone(multi)
	case a.exec == nil && err != nil: // not told of any command
		t.all("read", command.Maybe, err)
		return t.error("EXEC", "read", command.Maybe, err)
	case a.exec == nil:
		return t.judgeRun()
	case exec == nil:
		return a.exec
	case errors.As(exec.Err, &refused):
		return t.judgeRefused(exec, refused)
	case exec.Outcome == command.NotSent || exec.Outcome == command.Cut:
		o := command.Cut
		if multi != nil && multi.Outcome == command.NotSent {
			o = command.NotSent
		}
		return t.unsent(exec.Err, exec.Phase, o)
	}
	t.all(exec.Phase, exec.Outcome, exec.Err)
	return exec
}

func (t *Tx) judgeRun() error {
	q := &t.q
	if len(q.errs) == 0 {
		return nil
	}
	var first error
	for i := 1; first == nil; i++ {
		first = q.errs[i]
	}
	return t.error("EXEC", "reply", command.Done, &PartialError{Failed: len(q.errs), Total: t.Len(), Err: first})
}

// judgeRefused ends a transaction that EXEC answered with an error: nothing ran.
func (t *Tx) judgeRefused(exec *Error, refused ServerError) error {
	q := &t.q
	abort := &AbortError{Reply: refused}
	for i := 1; i < len(q.requests)-1; i++ {
		var e *Error
		if errors.As(q.errs[i], &e) {
			e.Outcome = command.Refused
			abort.Errs = append(abort.Errs, e)
			continue
		}
		q.fail(i, t.error(q.requests[i].Name(), "reply", command.Refused, refused))
	}
	return t.error("EXEC", exec.Phase, command.Refused, abort)
}

// judgeAlone ends what never was a transaction: each command keeps its own
// answer.
func (t *Tx) judgeAlone(multi *Error) error {
	q := &t.q
	o := command.Refused
	for i := 1; i < len(q.requests)-1 && o != command.Maybe; i++ {
		var e *Error
		switch {
		case !errors.As(q.errs[i], &e):
			o = command.Done
		case e.Outcome == command.Maybe || e.Outcome == command.Done:
			o = e.Outcome
		}
	}
	var cause error = ErrNotAtomic
	if multi != nil {
		cause = fmt.Errorf("%w: %w", ErrNotAtomic, multi.Err)
		if o == command.Refused {
			cause = multi.Err
		}
	}
	return t.error("MULTI", "reply", o, cause)
}

// unsent ends a transaction whose EXEC was not sent: nothing ran.
func (t *Tx) unsent(err error, phase string, o command.Outcome) error {
	t.all(phase, o, err)
	return t.error("EXEC", phase, o, err)
}

// all gives all commands the same end. Those that the server refused when they
// were queued keep their own.
func (t *Tx) all(phase string, o command.Outcome, err error) {
	q := &t.q
	for q.replies.Len() < len(q.requests)-1 {
		q.replies.Add(resp3.View{})
	}
	for i := 1; i < len(q.requests)-1; i++ {
		var refused *Error
		if errors.As(q.errs[i], &refused) && refused.Phase == "reply" {
			refused.Outcome = command.Refused
			continue
		}
		q.fail(i, t.error(q.requests[i].Name(), phase, o, err))
	}
}

func (t *Tx) error(name, phase string, o command.Outcome, err error) *Error {
	return &Error{Command: name, Node: t.node, Phase: phase, Outcome: o, Err: err}
}

// transacts makes sure, once, that the server takes MULTI and EXEC: a server
// that refuses MULTI (its name disabled, no permission) would run the commands
// that follow it one by one. It returns why the transaction must not be sent.
func (c *Client) transacts(ctx context.Context) *Error {
	if c.multiWorks.Load() {
		return nil
	}
	var failed *Error
	err := c.node.DoBatch(ctx, []command.Request{multiRequest, execRequest}, func(i int, v resp3.View, err error) {
		if failed != nil {
			return
		}
		if err == nil && i == 1 && (v.Kind() != resp3.Array || v.Len() != 0) {
			err = &Error{Command: "EXEC", Phase: "reply", Err: fmt.Errorf("reply of kind %s to an empty transaction", v.Kind())}
		}
		errors.As(err, &failed)
	})
	switch {
	case failed != nil && failed.Phase == "reply":
		failed.Outcome = command.Refused
		return failed
	case failed != nil:
		failed.Outcome = command.NotSent // of the transaction, whatever became of this one
		return failed
	case err != nil:
		return &Error{Command: "MULTI", Phase: "queue", Outcome: command.NotSent, Err: err}
	}
	c.multiWorks.Store(true)
	return nil
}
