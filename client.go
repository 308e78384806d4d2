package redisx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/keyspace"
	"github.com/redisx/redisx/internal/observe"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/pubsub"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/topology"
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
// command: its Outcome is NotSent, Cut or Refused. It is false for nil, and for
// what is no *Error.
func SafeToRetry(err error) bool { return command.SafeToRetry(err) }

// Client runs commands on one server. It may be used by many goroutines at
// once; its zero value is not usable, Connect makes one.
type Client struct {
	Commands

	node      *pool.Node
	route     *topology.Standalone
	conns     *session.Group
	observers *observe.Set

	hub    *tracking.Hub // of Watch
	cache  *tracking.Hub // of Cached; the same, but with prefixes
	pubsub *pubsub.Hub
	events *keyspace.Hub // of WatchEvents

	multiWorks atomic.Bool // a transaction has run

	mu       sync.Mutex
	closed   bool
	attached map[any]io.Closer
	order    []io.Closer // in the order of making
}

// Connect opens a client of the server that url names (see ParseURL). It
// returns when the server has been greeted, or with the reason why not, after
// one attempt. ctx bounds only the connecting, beside Config.DialTimeout.
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
	observers, err := cfg.observers()
	if err != nil {
		return nil, fmt.Errorf("redisx: Config.Observers: %w", err)
	}
	dialer := cfg.dialer()
	conn := session.Config{
		Observers:   observers,
		Group:       &session.Group{},
		Role:        "private",
		Node:        cfg.Addr,
		MaxInFlight: cfg.MaxInFlight,
		MaxBytes:    cfg.MaxBytes,
		Timeout:     cfg.Timeout,
		Limits:      cfg.Limits,
	}
	node := pool.New(pool.Config{
		Dial:        func(ctx context.Context) (net.Conn, error) { return dialer.Dial(ctx, cfg.Network, cfg.Addr) },
		DialTimeout: cfg.DialTimeout,
		OfflineWait: cfg.OfflineWait,
		MaxPrivate:  cfg.MaxPrivate,
		Session:     conn,
		Credentials: cfg.provider(),
		Hello: session.Hello{
			Username:   cfg.Username,
			Password:   string(cfg.Password),
			ClientName: cfg.ClientName,
			DB:         cfg.DB,
			RESP2:      cfg.RESP2,
		},
	})
	retry := cfg.Retry.withDefaults()
	c := &Client{node: node, conns: conn.Group, observers: observers, attached: map[any]io.Closer{}}
	c.route = topology.NewStandalone(node, topology.Config{
		Policy:    topology.Policy{Reads: retry.Reads, NotRun: retry.NotRun, Patience: node.OfflineWait()},
		Burst:     max(retry.Burst, 0),
		Traffic:   func() int64 { return conn.Group.Counts().Commands },
		Observers: observers,
	})
	c.openTracking(node, conn, cfg.Cache)
	c.pubsub = pubsub.New(node, conn)
	c.events = keyspace.New(c, c.pubsub, cfg.DB)
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
	if c.observers.Commands() {
		return c.doObserved(ctx, &r)
	}
	return c.do(ctx, &r)
}

// run runs a command of Commands. A Client is called directly, not as a Doer:
// then the request need not be copied, and whoever waits has less on its stack.
func run[T any](ctx context.Context, d command.Doer, cmd *command.Cmd[T]) (T, error) {
	c, ok := d.(*Client)
	if !ok || c.observers.Commands() || cmd.RequestRef().Err() != nil {
		return cmd.Do(ctx, d)
	}
	return cmd.Finish(c.do(ctx, cmd.RequestRef()))
}

// doObserved is do, apart so that a caller who waits in do has no more on its
// stack than it needs.
//
//go:noinline
func (c *Client) doObserved(ctx context.Context, r *command.Request) (command.Reply, error) {
	return c.observed(ctx, *r, c.do)
}

func (c *Client) do(ctx context.Context, r *command.Request) (command.Reply, error) {
	if err := shareable(r); err != nil {
		return command.Reply{}, err
	}
	c.touch(r)
	reply, err := c.route.Do(ctx, r)
	c.touch(r)
	return reply, err
}

// DoBatch sends several requests in one go; it makes the Client a
// command.Batcher. Most users want Pipeline.
func (c *Client) DoBatch(ctx context.Context, rs []command.Request, got func(i int, v resp3.View, err error)) error {
	if c.observers.Commands() {
		return c.observedBatch(ctx, rs, got, c.doBatch)
	}
	return c.doBatch(ctx, rs, got)
}

func (c *Client) doBatch(ctx context.Context, rs []command.Request, got gotten) error {
	for i := range rs {
		if i > 0 && waits(&rs[i]) {
			continue
		}
		if err := shareable(&rs[i]); err != nil {
			return refuseAll(rs, got, errors.Unwrap(err))
		}
	}
	return c.touchBatch(ctx, rs, got, c.route.DoBatch)
}

// Do runs a command value on d, which is a Client, a Session or what wraps one,
// and returns its typed result: Nil where the server has nothing, else an error
// that is an *Error.
func Do[T any](ctx context.Context, d command.Doer, c command.Cmd[T]) (T, error) {
	return command.Do(ctx, d, c)
}

// Cmd runs any command, also one that the table lacks. name is one word; a
// subcommand is the first argument: Cmd(ctx, "OBJECT", "ENCODING", key).
// Arguments are strings, []byte, integers, floats or bools. Nothing is split or
// formatted: each argument arrives as it is. A command that the table lacks counts
// as one that must not be repeated.
func (c *Client) Cmd(ctx context.Context, name string, args ...any) (resp3.Value, error) {
	return command.Do(ctx, c, command.Untyped(name, args...))
}

// Watch tells of a change of key by push; it makes the Client a
// command.Watcher. All watches share one connection.
func (c *Client) Watch(ctx context.Context, key string) (command.Watch, error) {
	return c.hub.Watch(ctx, key)
}

// Track runs a read with one key on the connection of the watches, and tells of
// the key's next change; it makes the Client a command.Tracker.
func (c *Client) Track(ctx context.Context, r command.Request) (command.Reply, command.Watch, error) {
	if !c.observers.Commands() {
		return c.hub.Track(ctx, &r)
	}
	var watch command.Watch
	reply, err := c.observed(ctx, r, func(ctx context.Context, r *command.Request) (command.Reply, error) {
		reply, w, err := c.hub.Track(ctx, r)
		watch = w
		return reply, err
	})
	return reply, watch, err
}

var errPushes = errors.New("redisx: the server pushes changes, or was not asked yet: use Watch")

// WatchEvents tells of a change of key by keyspace events, where the server does
// not push; it makes the Client a command.EventWatcher. It shares the connection
// of Subscribe.
func (c *Client) WatchEvents(ctx context.Context, key, classes string) (command.Watch, error) {
	if !c.hub.NoPush() {
		return nil, errPushes
	}
	return c.events.Watch(ctx, key, classes)
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
	c.closeTracking()
	errs = append(errs, c.events.Close(), c.pubsub.Close(), c.node.Close())
	return errors.Join(errs...)
}
