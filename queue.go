package redisx

import (
	"errors"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// ErrNotExecuted is the result of a queued command that has not been executed,
// or that Reset has taken away.
var ErrNotExecuted = errors.New("redisx: the command has not been executed")

var errExecuted = errors.New("redisx: executed already: Reset it first")

// What Reset keeps for the next use.
const (
	keepRequests = 4096
	keepReplies  = 1 << 20
)

// Queuer is what commands are queued in: a Pipeline or a Tx.
type Queuer interface{ queued() *queue }

// queue holds commands until they are executed, and then what became of each.
type queue struct {
	requests []command.Request
	replies  session.Replies
	errs     map[int]error
	executed bool
	round    int // counts Resets
}

func (q *queue) queued() *queue { return q }

// fail notes what became of command i if it has no usable reply.
func (q *queue) fail(i int, err error) {
	if q.errs == nil {
		q.errs = map[int]error{}
	}
	q.errs[i] = err
}

func (q *queue) result(i, round int) (resp3.View, error) {
	if i < 0 || round != q.round || !q.executed || i >= q.replies.Len() {
		return resp3.View{}, ErrNotExecuted
	}
	if err := q.errs[i]; err != nil {
		return resp3.View{}, err
	}
	return q.replies.At(i), nil
}

func (q *queue) reset() {
	clear(q.requests) // their arguments are the caller's
	if q.requests = q.requests[:0]; cap(q.requests) > keepRequests {
		q.requests = nil
	}
	q.replies.Reset(keepReplies)
	q.errs, q.executed = nil, false
	q.round++
}

// Future is the result to come of one queued command.
type Future[T any] struct {
	q         *queue
	at, round int
	decode    command.Decoder[T]
}

// Queue adds a command value to a Pipeline or a Tx and returns its result to
// come. One that has been executed must be Reset first: the command is then not
// queued and its result is ErrNotExecuted.
func Queue[T any](q Queuer, c command.Cmd[T]) Future[T] { return enqueue(q.queued(), &c) }

// enqueue is Queue without copies of the command.
func enqueue[T any](q *queue, c *command.Cmd[T]) Future[T] {
	f := Future[T]{q: q, at: -1, round: q.round, decode: c.Decoder()}
	if !q.executed {
		f.at = len(q.requests)
		q.requests = c.AppendRequest(q.requests)
	}
	return f
}

// Result returns the command's result, or its error. It decodes the reply anew
// each time.
func (f Future[T]) Result() (T, error) {
	var zero T
	if f.q == nil {
		return zero, ErrNotExecuted
	}
	reply, err := f.q.result(f.at, f.round)
	if err != nil {
		return zero, err
	}
	v, err := f.decode(reply)
	if err != nil {
		return zero, command.DecodeError(f.q.requests[f.at].Spec(), err)
	}
	return v, nil
}
