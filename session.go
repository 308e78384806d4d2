package redisx

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// ExhaustedError reports that all private connections (Config.MaxPrivate) were
// in use until the context of a caller ended, who waited in order for one. It
// is the cause in an *Error that says not sent.
type ExhaustedError = pool.ExhaustedError

// Session is a connection of one caller's own, for commands that bind their
// connection: SELECT, WATCH, CLIENT TRACKING and their like. It may be used by
// one goroutine at a time, and only inside WithSession: afterwards its commands
// fail with ErrSessionOver and are not sent. Two goroutines that use it at once
// get their own replies, but share what they SELECT and WATCH.
//
// Subscriptions, MONITOR and CLIENT REPLY are refused here too: their replies
// cannot be matched with commands.
type Session struct {
	Commands

	client *Client
	conn   *session.Conn

	mu       sync.Mutex
	over     bool
	active   int  // calls under way
	bound    bool // a command changed the connection's state for good
	watching bool // keys are, or may be, watched
}

// WithSession calls fn with a Session and returns what fn returns. ctx bounds
// the wait for a connection as well; of Config.MaxPrivate connections all may
// be in use (see ExhaustedError).
//
// The connection is kept for the next caller if it is as it was: only ordinary
// commands ran on it, and all were answered. Watched keys are forgotten with
// UNWATCH. Otherwise, and if fn panics, it is closed: to RESET a connection and
// greet the server anew takes as many round trips as to dial, and leaves more to
// doubt.
func (c *Client) WithSession(ctx context.Context, fn func(ctx context.Context, s *Session) error) error {
	conn, err := c.node.Take(ctx)
	if err != nil {
		return err
	}
	s := &Session{client: c, conn: conn}
	s.Commands = Commands{d: s}
	returned := false
	defer func() { c.node.Give(conn, s.end() && returned) }()
	err = fn(ctx, s)
	s.unwatch(ctx)
	returned = true
	return err
}

// Do sends one request on the session's connection; it makes the Session a
// command.Doer.
func (s *Session) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	if s.client.observers.Commands() {
		return s.client.observed(ctx, r, s.do)
	}
	return s.do(ctx, &r)
}

func (s *Session) do(ctx context.Context, r *command.Request) (command.Reply, error) {
	if err := private(r); err != nil {
		return command.Reply{}, err
	}
	if !s.enter(r) {
		return command.Reply{}, refuse(r, ErrSessionOver)
	}
	s.client.touch(r)
	reply, err := s.conn.Do(ctx, r)
	s.client.touch(r)
	s.leave(err == nil && fullName(r) == "UNWATCH")
	if err != nil {
		s.client.route.Failed(err)
	}
	return reply, err
}

// DoBatch sends several requests in one go; it makes the Session a
// command.Batcher.
func (s *Session) DoBatch(ctx context.Context, rs []command.Request, got func(i int, v resp3.View, err error)) error {
	return s.client.direct(ctx, rs, got, s.doBatch)
}

func (s *Session) doBatch(ctx context.Context, rs []command.Request, got gotten) error {
	for i := range rs {
		if err := private(&rs[i]); err != nil {
			return refuseAll(rs, got, errors.Unwrap(err))
		}
	}
	if !s.enterAll(rs) {
		return refuseAll(rs, got, ErrSessionOver)
	}
	defer s.leave(false)
	return s.client.touchBatch(ctx, rs, got, s.conn.DoBatch)
}

// refuseAll refuses a batch: what is wrong with one request keeps all from
// being sent.
func refuseAll(rs []command.Request, got func(int, resp3.View, error), err error) error {
	for i := range rs {
		got(i, resp3.View{}, refuse(&rs[i], err))
	}
	return refuse(&rs[0], err)
}

// Cmd is Client.Cmd on the session's connection.
func (s *Session) Cmd(ctx context.Context, name string, args ...any) (resp3.Value, error) {
	return command.Do(ctx, s, command.Untyped(name, args...))
}

// Pipeline returns an empty pipeline that runs on the session's connection.
func (s *Session) Pipeline() *Pipeline { return newPipeline(s) }

// Watch makes the next transaction of the session fail with ErrConflict if any
// of the keys changes before it: WATCH. EXEC forgets the keys, whatever it
// answers.
func (s *Session) Watch(ctx context.Context, keys ...string) error {
	_, err := command.Do(ctx, s, command.WatchKeys(keys...))
	return err
}

// Tx returns an empty transaction that runs on the session's connection, and
// only if no key that Watch named has changed.
func (s *Session) Tx() *Tx {
	t := &Tx{run: s.transact, check: private, node: s.conn.Node(), client: s.client, always: true}
	t.init()
	return t
}

// transact runs MULTI, commands and EXEC. The two leave nothing behind; EXEC
// forgets the watched keys.
func (s *Session) transact(ctx context.Context, rs []command.Request, got func(int, resp3.View, error)) error {
	if !s.enterAll(rs[1 : len(rs)-1]) {
		return refuseAll(rs, got, ErrSessionOver)
	}
	answered := false
	err := s.client.touchBatch(ctx, rs, func(i int, v resp3.View, err error) {
		answered = i == len(rs)-1 && v.Kind() != 0
		got(i, v, err)
	}, s.conn.DoBatch)
	s.leave(answered)
	return err
}

func (s *Session) enter(r *command.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.active++
	s.note(r)
	return true
}

func (s *Session) enterAll(rs []command.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.active++
	for i := range rs {
		s.note(&rs[i])
	}
	return true
}

// leave ends a call. forgot says that the server has forgotten the watched
// keys.
func (s *Session) leave(forgot bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if forgot {
		s.watching = false
	}
}

// note remembers what a command does to the connection. It is called with mu
// held.
func (s *Session) note(r *command.Request) {
	spec := r.Spec()
	if spec == nil {
		return
	}
	switch name := fullName(r); {
	case name == "WATCH":
		s.watching = true
	case name == "UNWATCH" || settled(name):
	case spec.Retry == command.RetrySession || binds(name):
		s.bound = true
	}
}

// unwatch forgets the watched keys, if that is all that keeps the connection
// from being used again.
func (s *Session) unwatch(ctx context.Context) {
	s.mu.Lock()
	needed := s.watching && !s.bound && s.active == 0
	s.mu.Unlock()
	if !needed || ctx.Err() != nil || s.conn.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	command.Do(ctx, s, command.Unwatch()) // without an answer the connection is closed
}

// end makes the session refuse further commands. It reports whether the
// connection is as it was.
func (s *Session) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return s.active == 0 && !s.bound && !s.watching
}
