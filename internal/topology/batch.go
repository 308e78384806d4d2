package topology

import (
	"context"
	"errors"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// DoBatch runs a batch; see command.Batcher. What of it is sent again is the
// failed tail.
func (s *Standalone) DoBatch(ctx context.Context, rs []command.Request, got func(i int, v resp3.View, err error)) error {
	b := batch{s: s, ctx: ctx, rs: rs, got: got}
	err := s.node.DoBatch(ctx, rs, b.result)
	if b.held == nil {
		return err
	}
	for len(b.held) > 0 && b.again() {
		s.node.DoBatch(ctx, rs[b.from:], b.result) // its errors come by result
	}
	b.flush()
	return b.err
}

// batch is a batch on its way.
type batch struct {
	s   *Standalone
	ctx context.Context
	rs  []command.Request
	got func(int, resp3.View, error)

	from   int              // where this attempt begins
	before []past           // of each request, once one of them failed
	held   []*command.Error // of the failed tail so far, not delivered
	tail   int              // the index of the first of them
	stuck  bool             // a failure was delivered: what comes after it is not sent again
	err    error            // the first delivered that is no reply
}

// result takes the answer to request i of this attempt.
func (b *batch) result(i int, v resp3.View, err error) {
	i += b.from
	if err == nil {
		if len(b.held) > 0 {
			b.flush()
		}
		if b.before != nil && b.before[i].attempts > 0 {
			answered(b.ctx, i, &b.before[i])
		}
		b.got(i, v, nil)
		return
	}
	var e *command.Error
	if !errors.As(err, &e) {
		b.stuck = true
		b.flush()
		b.got(i, v, err)
		return
	}
	if b.before == nil {
		b.before = make([]past, len(b.rs))
	}
	if b.holds(i, e) {
		if len(b.held) == 0 {
			b.tail = i
		}
		b.held = append(b.held, e)
		return
	}
	b.flush()
	b.deliver(i, v, e)
}

// holds reports whether e belongs to a tail that may be sent again. A request
// behind one that is sent again has not run if it was not sent.
func (b *batch) holds(i int, e *command.Error) bool {
	if b.stuck {
		return false
	}
	if e.Outcome == command.NotSent && len(b.held) > 0 {
		return !final(e) && b.ctx.Err() == nil && !bound(&b.rs[i])
	}
	return b.s.cfg.judge(b.ctx, &b.rs[i], e, &b.before[i], time.Now())
}

// again waits and makes the held requests the next attempt, or reports that they
// are not sent again.
func (b *batch) again() bool {
	r, e, before := &b.rs[b.tail], b.held[0], &b.before[b.tail]
	if !b.s.spend(b.ctx, r, e, before, len(b.held)) {
		return false
	}
	pause, now := before.pause(), time.Now()
	for n, e := range b.held {
		b.before[b.tail+n].note(e, now)
	}
	b.s.tell(b.ctx, r, e, before, len(b.held), pause)
	if ended := session.Sleep(b.ctx, pause); ended != nil {
		for _, e := range b.held {
			gone(e, ended)
		}
		return false
	}
	b.from, b.held = b.tail, b.held[:0]
	return true
}

// flush delivers what is held: it is no tail, or is not sent again.
func (b *batch) flush() {
	for n, e := range b.held {
		b.deliver(b.tail+n, resp3.View{}, e)
	}
	b.held = b.held[:0]
}

func (b *batch) deliver(i int, v resp3.View, e *command.Error) {
	b.before[i].close(e)
	b.s.Failed(e)
	if e.Outcome != command.Done {
		b.stuck = true
	}
	if b.err == nil && e.Phase != "reply" {
		b.err = e
	}
	b.got(i, v, e)
}
