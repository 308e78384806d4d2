package session

import (
	"context"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// DoBatch sends all requests in one go, in order, and calls got for each with
// its reply in place or its error. It returns the first error that is not a
// server's reply. A request that is wrong keeps the whole batch from being
// sent.
func (c *Conn) DoBatch(ctx context.Context, rs []command.Request, got func(i int, v resp3.View, err error)) error {
	if len(rs) == 0 {
		return nil
	}
	size := 0
	var block time.Duration
	for i := range rs {
		if err := rs[i].Err(); err != nil {
			err = fmt.Errorf("%s in the batch: %w", rs[i].Name(), err)
			return c.none(rs, got, "build", command.NotSent, err)
		}
		size += rs[i].Size()
		if b := rs[i].Block(); b < 0 || block < 0 {
			block = -1
		} else {
			block += b
		}
	}
	var encoded []byte
	if size > bigWrite { // too long to hold the mutex
		encoded = make([]byte, 0, size)
		for i := range rs {
			encoded = rs[i].Append(encoded)
		}
	}
	if err := c.admit(ctx, len(rs), size); err != nil {
		return c.none(rs, got, "queue", command.NotSent, err)
	}
	k := c.newCall(len(rs))
	k.exec = rs[len(rs)-1].Name() == "EXEC"
	k.start = c.taken.Load() + int64(len(c.wbuf))
	if encoded == nil {
		for i := range rs {
			c.wbuf = rs[i].Append(c.wbuf)
		}
	} else {
		c.add(encoded)
	}
	c.enqueue(k, size, block)
	if c.observed {
		for i := range rs {
			if confidential(&rs[i]) {
				c.hide(k)
				break
			}
		}
	}
	if err := c.run(ctx, k); err != nil {
		return c.none(rs, got, "read", command.Maybe, err)
	}
	if k.err != nil {
		k.blame(ctx)
	}
	return c.results(rs, k, got)
}

// none reports that no request of the batch was answered.
func (c *Conn) none(rs []command.Request, got func(int, resp3.View, error), phase string, o command.Outcome, err error) error {
	var first error
	for i := range rs {
		e := c.error(&rs[i], phase, o, err)
		if first == nil {
			first = e
		}
		got(i, resp3.View{}, e)
	}
	return first
}

// results gives out the replies of a batch and, where it was cut short, the
// outcome of each request that has none.
func (c *Conn) results(rs []command.Request, k *call, got func(int, resp3.View, error)) error {
	defer k.Release()
	if k.want == 1 {
		c.result(rs, 0, k.view, k.err, got)
		if k.err == nil {
			return nil
		}
	}
	for i := range k.replies.Len() {
		c.result(rs, i, k.replies.At(i), nil, got)
	}
	if k.err == nil {
		return nil
	}
	var first error
	var buf []byte
	at := k.start // not as it was queued: what was withdrawn before it moved it
	for i := range rs {
		buf = rs[i].Append(buf[:0])
		end := at + int64(len(buf))
		if i >= k.replies.Len() {
			o, phase := outcome(at, end, k.wrote), k.phase
			if o == command.NotSent {
				phase = "queue"
			}
			e := c.error(&rs[i], phase, o, k.err)
			if first == nil {
				first = e
			}
			got(i, resp3.View{}, e)
		}
		at = end
	}
	return first
}

func (c *Conn) result(rs []command.Request, i int, v resp3.View, err error, got func(int, resp3.View, error)) {
	if err != nil {
		return // reported with its outcome by results
	}
	if v.Kind().IsError() {
		got(i, v, command.ReplyError(rs[i].Spec(), c.cfg.Node, resp3.ServerError(string(v.Bytes()))))
		return
	}
	got(i, v, nil)
}
