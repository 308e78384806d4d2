package session

import (
	"context"
	"errors"
	"io"

	"github.com/redisx/redisx/command"
)

// errSink ends a connection in the middle of a string that nobody takes.
var errSink = errors.New("the reply's writer failed")

// sink is where the string goes that answers a call.
type sink struct {
	w    io.Writer
	open bool  // the string has begun to arrive
	n    int64 // bytes written
	err  error // of w
}

// Pour sends one request, of a connection that nobody else uses, and writes the
// string that answers it to w, piece by piece as it arrives, on the caller's
// goroutine. While w waits, the connection is not taken for dead; Close waits
// for w. A reply that did not come in pieces, as it is no plain string, or
// because another goroutine, which checked the connection, has read it, is
// returned for the caller to judge, to write and to release.
//
// Once a piece is written, a context that ends, a lost connection and an error
// of w (Outcome Done) end the connection: the rest of the string cannot be
// skipped in bounded time. So does a panic of w.
func (c *Conn) Pour(ctx context.Context, r *command.Request, w io.Writer) (int64, command.Reply, error) {
	s := &sink{w: w}
	returned := false
	defer func() {
		if !returned { // w has left, by a panic or for good, and nobody leads
			c.end(nil, errSink)
		}
	}()
	reply, err := c.do(ctx, r, nil, s)
	returned = true
	if s.err != nil {
		err = CopyError(r, c.cfg.Node, s.err)
	}
	return s.n, reply, err
}

// CopyError is the error of r, whose reply came, because of err, of the writer
// that it went to.
func CopyError(r *command.Request, node string, err error) error {
	return &command.Error{Command: r.Name(), Node: node, Phase: "copy", Outcome: command.Done, Attempts: 1, Err: err}
}

func (s *sink) write(b []byte) {
	n, err := s.w.Write(b)
	s.n += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	s.err = err
}

// give lets s take its time.
func (c *Conn) give(s *sink, b []byte) {
	c.held.Add(1)
	defer c.held.Add(1)
	s.write(b)
}

// pour writes what has arrived of the string that answers k, the leader's own
// call. It reports whether there is nothing more to do before the next read.
func (c *Conn) pour(k *call) (read bool, err error) {
	if k.state.Load() != pending || c.front() != k {
		return false, nil
	}
	if !k.sink.open {
		_, ok, more := c.rd.Begin()
		if !ok {
			return more, nil
		}
		if k.start >= c.begun {
			return false, errNobody
		}
		k.sink.open = true
	}
	b, last, err := c.rd.Piece()
	if err != nil {
		return false, err
	}
	if len(b) > 0 {
		c.moved = true
		if c.observed {
			c.wire(false, b, k.hidden)
		}
		c.give(k.sink, b)
		if k.sink.err != nil {
			return false, errSink
		}
	}
	if !last {
		return true, nil
	}
	c.begun = c.limit
	c.head++
	c.handed++
	c.answered += k.want
	c.freed += int(k.end - k.start)
	k.got = k.want
	k.state.Store(done)
	return false, nil
}
