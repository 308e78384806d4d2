package redisx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/tracking"
	"github.com/redisx/redisx/resp3"
)

// Nil is returned where the server has nothing: no such key, field or member.
var Nil = command.Nil

// Error reports a command that failed: which, where, how far it got, whether it
// may have run, and why.
type Error = command.Error

// ServerError is an error reply, in the server's words.
type ServerError = resp3.ServerError

// SafeToRetry reports whether err proves that the server did not run the
// command.
func SafeToRetry(err error) bool { return command.SafeToRetry(err) }

// Client runs commands on one server. It may be used by many goroutines at
// once; its zero value is not usable, Connect makes one.
type Client struct {
	Commands

	node *pool.Node
	hub  *tracking.Hub

	mu       sync.Mutex
	closed   bool
	attached map[any]io.Closer
	order    []io.Closer // in the order of making
}

// Connect opens a client of the server that url names (see ParseURL). It
// returns when the server has been greeted, or with the reason why not. ctx
// bounds only the connecting.
func Connect(ctx context.Context, url string) (*Client, error) {
	cfg, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	return ConnectConfig(ctx, cfg)
}

// ConnectConfig is Connect with a Config.
func ConnectConfig(ctx context.Context, cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	conn := session.Config{
		Node:        cfg.Addr,
		MaxInFlight: cfg.MaxInFlight,
		MaxBytes:    cfg.MaxBytes,
		Timeout:     cfg.Timeout,
		Limits:      cfg.Limits,
	}
	node := pool.New(pool.Config{
		Dial:        func(ctx context.Context) (net.Conn, error) { return cfg.Dialer.Dial(ctx, cfg.Network, cfg.Addr) },
		DialTimeout: cfg.DialTimeout,
		OfflineWait: cfg.OfflineWait,
		MaxPrivate:  cfg.MaxPrivate,
		Session:     conn,
		Hello: session.Hello{
			Username:   cfg.Username,
			Password:   string(cfg.Password),
			ClientName: cfg.ClientName,
			DB:         cfg.DB,
			RESP2:      cfg.RESP2,
		},
	})
	c := &Client{node: node, hub: tracking.New(node, conn), attached: map[any]io.Closer{}}
	c.Commands = Commands{d: c}
	if err := node.Open(ctx); err != nil {
		node.Close()
		return nil, err
	}
	return c, nil
}

// Do sends one request and returns the reply, which the caller releases; it
// makes the Client a command.Doer. Most users want the methods of Commands, or
// the function Do.
func (c *Client) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	if err := shareable(&r); err != nil {
		return command.Reply{}, err
	}
	return c.node.Do(ctx, &r)
}

// DoBatch sends several requests in one go; it makes the Client a
// command.Batcher. Most users want Pipeline.
func (c *Client) DoBatch(ctx context.Context, rs []command.Request, got func(i int, v resp3.View, err error)) error {
	for i := range rs {
		if err := shareable(&rs[i]); err != nil {
			for i := range rs { // one of them keeps all from being sent
				got(i, resp3.View{}, &Error{Command: rs[i].Name(), Node: "client", Phase: "build", Outcome: command.NotSent, Err: err})
			}
			return err
		}
	}
	return c.node.DoBatch(ctx, rs, got)
}

// errSession is why a shared connection refuses a command.
var errSession = errors.New("this command binds its connection: run it inside Client.WithSession")

// shareable refuses what would change the connection under other callers.
func shareable(r *command.Request) error {
	if s := r.Spec(); s != nil && (s.Retry == command.RetrySession || binds(s.Name, r)) {
		return &Error{Command: s.Name, Node: "client", Phase: "build", Outcome: command.NotSent, Err: errSession}
	}
	return nil
}

// binds reports whether a command that the table may lack changes its
// connection, or makes the server answer more or less than once.
func binds(name string, r *command.Request) bool {
	if (name == "CLIENT" || name == "HIMPORT") && r.Len() > 0 { // a subcommand that the table lacks
		name += " " + strings.ToUpper(r.Arg(0).Text())
	}
	switch name {
	case "MONITOR", "SYNC", "PSYNC", "REPLCONF", "CLIENT REPLY", "CLIENT NO-EVICT", "CLIENT NO-TOUCH",
		"ASKING", "READONLY", "READWRITE", "EXEC", "HIMPORT PREPARE":
		return true
	}
	return false
}

// Do runs a command value and returns its typed result.
func Do[T any](ctx context.Context, d command.Doer, c command.Cmd[T]) (T, error) {
	return command.Do(ctx, d, c)
}

// Cmd runs any command, also one that the table lacks: its name, for
// subcommands name and subcommand, then its arguments, which are strings,
// []byte, integers, floats or bools. Nothing is split or formatted: each
// argument arrives as it is.
func (c *Client) Cmd(ctx context.Context, name string, args ...any) (resp3.Value, error) {
	return command.Do(ctx, c, command.Untyped(name, args...))
}

// Watch tells of a change of key by push; it makes the Client a
// command.Watcher. All watches share one connection.
func (c *Client) Watch(ctx context.Context, key string) (command.Watch, error) {
	return c.hub.Watch(ctx, key)
}

// Attach returns what is stored under key, making it on first use; it makes the
// Client a command.Attacher. Close closes it.
func (c *Client) Attach(key any, make func() io.Closer) (io.Closer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("redisx: %w", pool.ErrClosed)
	}
	v, ok := c.attached[key]
	if !ok {
		v = make()
		c.attached[key] = v
		c.order = append(c.order, v)
	}
	return v, nil
}

// Close ends the client: first what primitives attached to it, last made first,
// then all connections. Commands in flight fail and say whether they may have
// run. It returns when nothing of the client runs any more, and may be called
// more than once.
func (c *Client) Close() error {
	c.mu.Lock()
	attached := c.order
	c.order, c.closed = nil, true
	c.mu.Unlock()
	var errs []error
	for i := len(attached) - 1; i >= 0; i-- {
		errs = append(errs, attached[i].Close())
	}
	errs = append(errs, c.node.Close())
	return errors.Join(errs...)
}
