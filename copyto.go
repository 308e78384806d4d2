package redisx

import (
	"context"
	"io"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
)

// CopyTo runs a command that is answered by a string, such as command.Get,
// GetRange or Dump, and writes the string to w as it arrives, so that a value of
// any size takes no more memory than the read buffer of a connection. It returns
// how many bytes it wrote, and Nil where the server has nothing.
//
//	n, err := client.CopyTo(ctx, file, command.Get("video:42"))
//
// The command runs on a private connection (Config.MaxPrivate), and w on the
// caller's goroutine: it may take its time, and ctx is looked at between its
// writes. Nothing is sent again. After an error some bytes may be written: n says
// how many. The Outcome of an error of w is Done.
func (c *Client) CopyTo(ctx context.Context, w io.Writer, cmd command.Sendable) (n int64, err error) {
	run := func(ctx context.Context, r *command.Request) (command.Reply, error) {
		var reply command.Reply
		n, reply, err = c.copyTo(ctx, w, r)
		return reply, err
	}
	r := cmd.Request()
	var reply command.Reply
	if c.observers.Commands() {
		reply, err = c.observed(ctx, r, run)
	} else {
		reply, err = run(ctx, &r)
	}
	if err != nil {
		return n, err
	}
	defer reply.Release()
	v := reply.View()
	if v.Kind() == 0 { // it is all written
		return n, nil
	}
	text, err := command.AsString(v)
	if err != nil {
		return 0, command.DecodeError(r.Spec(), err)
	}
	m, err := io.WriteString(w, text)
	if err != nil {
		err = session.CopyError(&r, c.node.Name(), err)
	}
	return int64(m), err
}

func (c *Client) copyTo(ctx context.Context, w io.Writer, r *command.Request) (int64, command.Reply, error) {
	if err := r.Err(); err != nil {
		return 0, command.Reply{}, command.BuildError(r, err)
	}
	if err := shareable(r); err != nil {
		return 0, command.Reply{}, err
	}
	conn, err := c.node.Take(ctx)
	if err != nil {
		return 0, command.Reply{}, err
	}
	defer c.node.Give(conn, true) // unless it is dead, or its caller left; w may panic
	c.touch(r)
	n, reply, err := conn.Pour(ctx, r, w)
	c.touch(r)
	if err != nil {
		c.route.Failed(err)
	}
	return n, reply, err
}
