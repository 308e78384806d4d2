package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

const (
	backoffBase = 50 * time.Millisecond
	backoffMax  = 5 * time.Second
	healthy     = 10 * time.Second // a connection this old resets the backoff
	authPause   = time.Second      // more before the next try with refused credentials
	keepIdle    = 8                // private connections kept for reuse
)

// ErrClosed is the cause of errors after Close.
var ErrClosed = errors.New("client closed")

// Config says how to reach a node. Zero fields take the defaults.
type Config struct {
	// Dial opens a stream to the node.
	Dial        func(ctx context.Context) (net.Conn, error)
	DialTimeout time.Duration // credentials, dial and handshake; default 5 s
	OfflineWait time.Duration // how long commands wait for a connection; default 1 s
	MaxPrivate  int           // private connections; default 1024
	Session     session.Config
	Hello       session.Hello
	// Credentials, if not nil, takes the place of those in Hello. It is asked at
	// most once a second for dials and at once for Reauthenticate, must obey its
	// context, and calls of it may overlap.
	Credentials func(ctx context.Context) (Credentials, error)
}

// Node is the pool of one node. It may be used by many goroutines at once.
type Node struct {
	cfg    Config
	shared atomic.Pointer[session.Conn]
	room   chan struct{} // one token per private connection
	keeper *keeper       // nil without Config.Credentials

	tally      tally
	generation atomic.Int64 // see Generation

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the dialler

	mu       sync.Mutex
	closed   bool
	up       chan struct{} // closed when the dialler is through, nil if none runs
	lastErr  error         // of the last dial
	failures int           // in a row
	down     time.Time     // since when there is no shared connection
	cause    error         // why the last one died
	next     time.Time     // when the next dial may start
	since    time.Time     // when shared was opened
	idle     []*session.Conn
	private  map[*session.Conn]struct{}
	refusals int                        // private dials that failed in a row
	turn     time.Time                  // when the next private dial may start, after failures
	blocked  map[*session.Conn]struct{} // by commands that may block without end
	watched  bool                       // for their sake

	waiting                 atomic.Int64 // callers that wait for a private connection
	unblocked, cutOff, lost atomic.Int64 // see PrivateStats
}

// New returns a Node that has no connection yet.
func New(cfg Config) *Node {
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = 5 * time.Second
	}
	if cfg.OfflineWait <= 0 {
		cfg.OfflineWait = time.Second
	}
	if cfg.MaxPrivate <= 0 {
		cfg.MaxPrivate = 1024
	}
	n := &Node{cfg: cfg, private: map[*session.Conn]struct{}{}, blocked: map[*session.Conn]struct{}{}, room: make(chan struct{}, cfg.MaxPrivate)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.down = time.Now()
	if cfg.Credentials != nil {
		n.keeper = newKeeper(n)
	}
	return n
}

// Do runs r on the shared connection, or on a private one if it may block.
func (n *Node) Do(ctx context.Context, r *command.Request) (command.Reply, error) {
	c := n.shared.Load()
	if c == nil || r.Block() != 0 {
		return n.doElsewhere(ctx, r)
	}
	reply, err := c.Do(ctx, r)
	if err == nil {
		return reply, nil
	}
	return n.doInstead(ctx, r, c, err)
}

// doInstead is the rest of Do after c failed with err.
//
//go:noinline
func (n *Node) doInstead(ctx context.Context, r *command.Request, c *session.Conn, err error) (command.Reply, error) {
	if !n.passOn(ctx, c, err) {
		return command.Reply{}, err
	}
	n.retire(c)
	return n.doElsewhere(ctx, r)
}

// doElsewhere is Do without a shared connection at hand. It is apart so that
// callers who wait in Do have no more on their stacks than they need.
//
//go:noinline
func (n *Node) doElsewhere(ctx context.Context, r *command.Request) (command.Reply, error) {
	if r.Block() != 0 {
		return n.doPrivate(ctx, r)
	}
	var deadline time.Time
	for {
		c, err := n.conn(ctx, &deadline)
		if err != nil {
			return command.Reply{}, n.unsent(r.Name(), err)
		}
		reply, err := c.Do(ctx, r)
		if err == nil || !n.passOn(ctx, c, err) {
			return reply, err
		}
		n.retire(c)
	}
}

// DoBatch runs a batch on the shared connection, or on a private one if a
// request of it may block.
func (n *Node) DoBatch(ctx context.Context, rs []command.Request, got func(int, resp3.View, error)) error {
	for i := range rs {
		if rs[i].Block() != 0 {
			return n.batchPrivate(ctx, rs, got)
		}
	}
	var deadline time.Time
	for {
		c, err := n.conn(ctx, &deadline)
		if err != nil {
			return n.none(rs, got, err)
		}
		again := false
		err = c.DoBatch(ctx, rs, func(i int, v resp3.View, err error) {
			if i == 0 && err != nil {
				again = n.passOn(ctx, c, err) // then nothing of the batch was sent
			}
			if !again {
				got(i, v, err)
			}
		})
		if !again {
			return err
		}
		n.retire(c)
	}
}

// none reports that no request of the batch was sent.
func (n *Node) none(rs []command.Request, got func(int, resp3.View, error), err error) error {
	for i := range rs {
		got(i, resp3.View{}, n.unsent(rs[i].Name(), err))
	}
	return n.unsent("", err)
}

// passOn reports whether err only says that c was dead before anything was
// sent: then the command goes to the next connection. That is part of finding
// it one, and no retry: no server has seen a byte of it.
func (n *Node) passOn(ctx context.Context, c *session.Conn, err error) bool {
	var e *command.Error
	if !errors.As(err, &e) || e.Outcome != command.NotSent || e.Phase == "build" || ctx.Err() != nil || c.Err() == nil {
		return false
	}
	n.tally.passedOn.Add(1)
	return true
}

// retire takes a dead connection out of use and waits for its end elsewhere.
func (n *Node) retire(c *session.Conn) {
	since, err := c.Since(), c.Err()
	n.mu.Lock()
	if !n.shared.CompareAndSwap(c, nil) {
		n.mu.Unlock()
		return
	}
	n.down, n.cause = since, err
	closed := n.closed
	if !closed {
		n.wg.Go(func() { c.Close() })
	}
	n.mu.Unlock()
	if closed {
		c.Close()
	}
}

func (n *Node) unsent(name string, err error) error {
	return &command.Error{Command: name, Node: n.cfg.Session.Node, Phase: "dial", Outcome: command.NotSent, Err: err}
}

// Open waits until the shared connection is up.
func (n *Node) Open(ctx context.Context) error {
	c, err := n.wait(ctx, time.Time{})
	if err != nil {
		return n.unsent("HELLO", err)
	}
	return c.Err()
}

// conn returns the shared connection, waiting for it within bounds. The
// deadline is set when a call waits for the first time.
func (n *Node) conn(ctx context.Context, deadline *time.Time) (*session.Conn, error) {
	if c := n.shared.Load(); c != nil {
		return c, nil
	}
	if deadline.IsZero() {
		*deadline = time.Now().Add(n.cfg.OfflineWait)
	}
	return n.wait(ctx, *deadline)
}

// live is conn, but waits for a connection that is not known to be dead.
func (n *Node) live(ctx context.Context) error {
	var deadline time.Time
	for {
		c, err := n.conn(ctx, &deadline)
		if err != nil || c.Usable() {
			return err
		}
		n.retire(c)
	}
}

// wait waits for the shared connection until the deadline; a zero deadline
// means the end of the first attempt.
func (n *Node) wait(ctx context.Context, deadline time.Time) (*session.Conn, error) {
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	for {
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			return nil, ErrClosed
		}
		if c := n.shared.Load(); c != nil {
			n.mu.Unlock()
			return c, nil
		}
		if n.up == nil {
			n.up = make(chan struct{})
			n.wg.Go(n.dial)
		}
		up := n.up
		n.mu.Unlock()
		select {
		case <-up:
		case <-ctx.Done():
			return nil, n.because(session.Ended(ctx))
		case <-expired:
			return nil, n.because(nil)
		}
		if c := n.shared.Load(); c != nil {
			return c, nil
		}
		if deadline.IsZero() || !time.Now().Before(deadline) || n.refused() {
			return nil, n.because(nil)
		}
	}
}

// refused reports whether the last dial failed for the user's credentials:
// waiting longer does not help the caller.
func (n *Node) refused() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.closed && credentials(n.lastErr)
}

// credentials reports whether err is the server's word on who asks, or that of
// the provider who should know.
func credentials(err error) bool {
	var e resp3.ServerError
	var p *providerError
	if errors.As(err, &p) {
		return true
	}
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() {
	case "NOAUTH", "WRONGPASS", "NOPERM":
		return true
	}
	return false
}

// because joins the reason why a caller gave up with what the last dial said,
// which must never be swallowed.
func (n *Node) because(err error) error {
	n.mu.Lock()
	last := n.lastErr
	n.mu.Unlock()
	switch {
	case last == nil && err == nil:
		return errors.New("no connection yet")
	case last == nil:
		return err
	case err == nil:
		return last
	}
	return fmt.Errorf("%w (last dial: %w)", err, last)
}

// dial makes one attempt, as soon as the backoff that earlier failures earned
// is over.
func (n *Node) dial() {
	n.mu.Lock()
	if !n.since.IsZero() && time.Since(n.since) > healthy {
		n.failures = 0
	}
	n.since = time.Time{} // a connection vouches for the server once
	pause := time.Duration(0)
	if n.failures > 0 {
		pause = time.Until(n.next)
	}
	n.mu.Unlock()

	var c *session.Conn
	err := session.Sleep(n.ctx, pause)
	if err == nil {
		cfg := n.cfg.Session
		cfg.Role = "shared"
		c, err = n.open(n.ctx, cfg, false)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	up := n.up
	n.up = nil
	defer close(up) // after shared is stored: who is woken looks there first
	n.failures++    // after a success too: forgotten once the connection proves healthy
	n.next = time.Now().Add(backoff(n.failures))
	if err != nil {
		if n.lastErr = err; credentials(err) {
			n.next = n.next.Add(authPause)
		}
		return
	}
	if n.closed {
		n.wg.Go(func() { c.Close() })
		return
	}
	n.lastErr, n.since = nil, time.Now()
	n.generation.Add(1)
	n.shared.Store(c)
	n.tally.shared.Add(1)
}

// open dials and greets. own says that the connection is for one caller alone.
func (n *Node) open(ctx context.Context, cfg session.Config, own bool) (c *session.Conn, err error) {
	ended := n.dialling(&cfg)
	defer func() { ended(c, err) }()
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DialTimeout)
	defer cancel()
	if n.keeper != nil {
		return n.keeper.open(ctx, cfg, own)
	}
	return n.greet(ctx, cfg, n.cfg.Hello)
}

func (n *Node) greet(ctx context.Context, cfg session.Config, h session.Hello) (*session.Conn, error) {
	nc, err := n.cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c, err := session.Open(ctx, nc, cfg, h)
	var e *command.Error
	if errors.As(err, &e) { // it becomes the cause of an error that says the rest
		err = fmt.Errorf("%s in the %s: %w", e.Command, e.Phase, e.Err)
	}
	return c, err
}

// backoff returns how long to wait before the next dial: full jitter up to an
// exponentially growing bound. The first try after a failure comes at once.
func backoff(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	bound := backoffBase << min(failures-2, 16)
	return rand.N(min(bound, backoffMax))
}

// Backoff returns how long to wait before the next try after failures in a row,
// for connections that Dial opened and that do not last.
func Backoff(failures int) time.Duration { return backoff(failures) }

// Close ends all connections and the dialler, and waits for them.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closed = true
	n.cancel()
	if n.keeper != nil {
		n.keeper.close()
	}
	all := n.idle
	for c := range n.private {
		all = append(all, c)
	}
	n.idle = nil
	n.mu.Unlock()
	if c := n.shared.Load(); c != nil {
		c.Close()
	}
	for _, c := range all {
		c.Close()
	}
	n.wg.Wait()
	return nil
}
