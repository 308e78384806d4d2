package redisx

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// Session is a connection of one caller's own, for commands that bind their
// connection: SELECT, WATCH, MULTI, CLIENT TRACKING and their like. It may be
// used by one goroutine at a time, and only inside WithSession.
type Session struct {
	Commands

	conn  *session.Conn
	bound bool // a command changed the connection's state
}

// WithSession calls fn with a Session. The connection is closed afterwards if a
// command that binds it was sent or fn failed, else kept for the next caller.
func (c *Client) WithSession(ctx context.Context, fn func(ctx context.Context, s *Session) error) error {
	var result error
	err := c.node.With(ctx, func(conn *session.Conn) error {
		s := &Session{conn: conn}
		s.Commands = Commands{d: s}
		result = fn(ctx, s)
		if s.bound {
			return errSession // the pool must not keep it
		}
		return result
	})
	if err == errSession {
		return result
	}
	return err
}

// Do sends one request on the session's connection; it makes the Session a
// command.Doer.
func (s *Session) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	s.note(&r)
	return s.conn.Do(ctx, &r)
}

// DoBatch sends several requests in one go; it makes the Session a
// command.Batcher.
func (s *Session) DoBatch(ctx context.Context, rs []command.Request, got func(i int, v resp3.View, err error)) error {
	for i := range rs {
		s.note(&rs[i])
	}
	return s.conn.DoBatch(ctx, rs, got)
}

// Cmd is Client.Cmd on the session's connection.
func (s *Session) Cmd(ctx context.Context, name string, args ...any) (resp3.Value, error) {
	return command.Do(ctx, s, command.Untyped(name, args...))
}

// Pipeline returns an empty pipeline that runs on the session's connection.
func (s *Session) Pipeline() *Pipeline { return newPipeline(s) }

func (s *Session) note(r *command.Request) {
	if spec := r.Spec(); spec == nil || spec.Retry == command.RetrySession {
		s.bound = true
	}
}
