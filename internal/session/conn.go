package session

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/observe"
	"github.com/redisx/redisx/resp3"
)

// ErrClosed is the cause of errors after Close.
var ErrClosed = errors.New("connection closed")

// ErrStalled is the cause when the server left a command unanswered for longer
// than the timeout.
var ErrStalled error = stalledError{}

type stalledError struct{}

func (stalledError) Error() string { return "no reply within the timeout" }
func (stalledError) Timeout() bool { return true }

// Config tunes a Conn. Zero fields take the defaults.
type Config struct {
	Node        string        // the address, for errors
	MaxInFlight int           // commands; default 8192
	MaxBytes    int           // bytes of commands; default 8 MiB
	Timeout     time.Duration // of the stall clock; default 5 s
	Limits      resp3.Limits
	// OnPush is given every push frame, in place, by the goroutine that reads.
	// It must not block. Nil: pushes are counted and dropped.
	OnPush func(resp3.View)
	// OnClose is told, once, why the connection died. It is called with the
	// connection locked: it must not block, nor call the Conn.
	OnClose func(error)
	// Observers, Group, Role and ID say who is told of the connection, where it
	// is counted, and as what; all may be zero.
	Observers *observe.Set
	Group     *Group
	Role      string
	ID        int64
	// Standing keeps a reader on the connection while it is idle, for
	// connections whose pushes must be seen at once.
	Standing bool
	// Subscriber lets Subscribe be used: arrays that are pushes in RESP2 go to
	// OnPush as well. No other command but PING may be sent then.
	Subscriber bool
	// PushWaits says that OnPush may wait, for a slow consumer. While it does,
	// the connection is not taken for dead; the waiting must end before Close.
	PushWaits bool
}

func (c Config) withDefaults() Config {
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = 8192
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 8 << 20
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	return c
}

// Conn is one connection. It may be used by many goroutines at once.
type Conn struct {
	nc    net.Conn
	cfg   Config
	rd    *resp3.Reader // the leader's
	bare  arrivals      // tells whether something has arrived
	resp3 bool          // set by the handshake, before the Conn is used

	resumes bool // an interrupted write can go on

	observed bool // somebody is shown the bytes

	calls     sync.Pool
	spareCall atomic.Pointer[call]
	taken     atomic.Int64 // bytes of the stream that a writer has taken
	pushes    atomic.Int64
	id        int64        // the server's number of the connection; set by the handshake
	popped    atomic.Int64 // see Unclaimed
	heard     atomic.Int64 // of a Subscriber: when it read last, in ns since 1970
	held      atomic.Int64 // with PushWaits: odd while OnPush runs, and counting

	mu       sync.Mutex
	changed  sync.Cond // writing, leading or looking became false
	wbuf     []byte    // encoded, not yet taken by a writer
	spare    []byte
	burst    bool    // a large write buffer was filled since the last tick
	wrote    int64   // bytes of the stream that the transport took
	queued   []*call // not yet claimed by the leader, in stream order
	nflight  int     // commands admitted and not answered
	nbytes   int     // their size
	waiters  []*waiter
	writing  bool
	leading  bool
	looking  bool  // somebody leads to find out what has arrived: nobody may write before
	greeting bool  // the handshake is under way
	poked    bool  // the read deadline is in the past
	ahead    int   // calls claimed by the leader and not settled
	oldest   int64 // deadline of the oldest unanswered call, 0: none
	grace    int64 // no call is overdue before: something large makes progress
	err      error // why the connection is dead
	errPhase string
	watch    watch
	clock    clock
	counters counters
	hidden   []span // parts of the stream that observers must not see

	news      sync.Mutex // held while observers are told of the connection's state
	announced bool       // guarded by mu: they know of it

	// Owned by the leader.
	inflight []*call
	head     int
	handed   int   // calls answered and not yet settled
	answered int   // their commands
	freed    int   // their size
	moved    bool  // part of a batch, or of a large reply, has arrived
	part     int   // bytes of a large reply that progress was noted for
	limit    int64 // taken, when the last bytes had arrived
	begun    int64 // taken, when the first bytes of the next frame had arrived

	wg sync.WaitGroup // background writers and ticks
}

// New returns a Conn over nc, which it owns from now on.
func New(nc net.Conn, cfg Config) *Conn {
	c := &Conn{nc: nc, cfg: cfg.withDefaults(), rd: resp3.NewReader(nc, cfg.Limits), observed: cfg.Observers.Wires()}
	c.changed.L = &c.mu
	c.bare, c.resumes = arrivalsOf(nc), resumes(nc)
	c.cfg.Group.join(c)
	c.mu.Lock()
	c.watch.poke = c.poke
	c.clock.start(c)
	if c.cfg.Standing {
		c.leading = true
		c.wg.Go(c.stand)
	}
	c.mu.Unlock()
	return c
}

// Node returns the address given in the Config.
func (c *Conn) Node() string { return c.cfg.Node }

// Err returns why the connection is dead, or nil while it is not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Pending returns how many commands are in flight, orphans of callers that
// left included.
func (c *Conn) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nflight
}

// RESP3 reports whether the server speaks RESP3 on this connection, so that it
// can push.
func (c *Conn) RESP3() bool { return c.resp3 }

// ID returns the number by which the server knows the connection (CLIENT ID),
// or 0 if it did not say.
func (c *Conn) ID() int64 { return c.id }

// Unclaimed returns how many blocking commands that write were answered with
// more than a null after their callers had left.
func (c *Conn) Unclaimed() int64 { return c.popped.Load() }

// Fail ends the connection because of err, as its peer would: calls in flight
// fail with their outcome. Unlike Close it does not wait.
func (c *Conn) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kill(err)
}

// Usable reports whether the connection can take a command: it is not dead,
// nor, as far as can be told without asking the server, closed by its peer.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.unsure = true
	c.listen()
	return c.err == nil
}

// Pushes returns how many push frames came without anybody to take them.
func (c *Conn) Pushes() int64 { return c.pushes.Load() }

// Do sends one request and waits for its reply. The caller releases the reply.
// An error reply is returned as an error.
func (c *Conn) Do(ctx context.Context, r *command.Request) (command.Reply, error) {
	return c.do(ctx, r, nil, nil)
}

// do is Do for a command that is answered by a reply, by pushes, or by a string
// that goes elsewhere. What is done before and after the wait is apart, so that
// thousands who wait here have little on their stacks.
func (c *Conn) do(ctx context.Context, r *command.Request, awaits *confirmations, to *sink) (command.Reply, error) {
	k, err := c.begin(ctx, r, awaits, to)
	if err != nil {
		return command.Reply{}, err
	}
	if err := c.run(ctx, k); err != nil {
		return command.Reply{}, c.error(r, "read", command.Maybe, err)
	}
	if k.err != nil || k.view.Kind().IsError() {
		return command.Reply{}, c.failed(ctx, r, k)
	}
	return command.NewReply(&k.view, k), nil
}

// begin queues r as a call. It returns with mu held, or with an error and
// without.
//
//go:noinline
func (c *Conn) begin(ctx context.Context, r *command.Request, awaits *confirmations, to *sink) (*call, error) {
	if err := r.Err(); err != nil {
		return nil, c.error(r, "build", command.NotSent, err)
	}
	size := r.Size()
	var encoded []byte
	if size > bigWrite { // too long to hold the mutex
		encoded = r.Append(make([]byte, 0, size))
	}
	if err := c.admit(ctx, 1, size); err != nil {
		return nil, c.error(r, "queue", command.NotSent, err)
	}
	k := c.newCall(1)
	k.awaits, k.sink = awaits, to
	k.pops = r.Block() != 0 && r.Spec().Has(command.Write)
	k.start = c.taken.Load() + int64(len(c.wbuf))
	if encoded == nil {
		c.wbuf = r.Append(c.wbuf)
	} else {
		c.add(encoded)
	}
	c.enqueue(k, size, r.Block())
	if c.observed && confidential(r) {
		c.hide(k)
	}
	return k, nil
}

// failed returns why a call has no reply, or what its error reply says.
//
//go:noinline
func (c *Conn) failed(ctx context.Context, r *command.Request, k *call) error {
	defer k.Release()
	if k.err != nil {
		k.blame(ctx)
		return c.error(r, k.phase, k.outcome, k.err)
	}
	return command.ReplyError(r.Spec(), c.cfg.Node, resp3.ServerError(string(k.view.Bytes())))
}

// add appends encoded commands to wbuf, which may keep the memory. It is called
// with mu held.
func (c *Conn) add(encoded []byte) {
	if len(c.wbuf) == 0 {
		c.wbuf = encoded
		return
	}
	c.wbuf = append(c.wbuf, encoded...)
}

// error describes a failure of r. A withdrawn request reports that it was never
// sent, whatever the caller believed.
//
//go:noinline
func (c *Conn) error(r *command.Request, phase string, o command.Outcome, err error) error {
	var w *withdrawnError
	if errors.As(err, &w) {
		phase, o, err = "queue", command.NotSent, w.err
	}
	e := &command.Error{Command: r.Name(), Node: c.cfg.Node, Phase: phase, Outcome: o, Err: err}
	if o != command.NotSent {
		e.Attempts = 1
	}
	return e
}

// withdrawnError marks a call that was taken back before any byte of it was
// written.
type withdrawnError struct{ err error }

func (e *withdrawnError) Error() string { return e.err.Error() }

// run writes and reads until k is done, or returns why the caller left early.
// It is called with mu held and returns without it.
func (c *Conn) run(ctx context.Context, k *call) error {
	if !c.writing {
		c.write(ctx, k)
	}
	if !c.leading && k.state.Load() != done {
		c.leading = true
		if c.head == len(c.inflight) {
			c.claim() // while mu is held anyway
		}
		c.watch.lead(c, ctx)
		c.mu.Unlock()
		return c.lead(ctx, k)
	}
	k.waiting = true
	c.mu.Unlock()
	return c.follow(ctx, k)
}

// follow waits for the leader to answer k or to hand the lead on.
func (c *Conn) follow(ctx context.Context, k *call) error {
	var s signal
	if ctxDone := ctx.Done(); ctxDone == nil {
		s = <-k.ready
	} else {
		select {
		case s = <-k.ready:
		case <-ctxDone:
			return c.leave(ctx, k)
		}
	}
	if s == finished {
		return nil
	}
	c.mu.Lock()
	c.watch.lead(c, ctx)
	c.mu.Unlock()
	return c.lead(ctx, k)
}

// leave takes a follower out because its context ended. If the call was
// answered in the same moment, the answer wins.
func (c *Conn) leave(ctx context.Context, k *call) error {
	c.mu.Lock()
	if !k.waiting { // the lead was handed to k: pass it on
		c.mu.Unlock()
		if s := <-k.ready; s == finished { // the connection died meanwhile
			return nil
		}
		return c.resign(ctx, k)
	}
	k.waiting = false
	if c.withdraw(k) {
		c.mu.Unlock()
		return &withdrawnError{Ended(ctx)}
	}
	c.mu.Unlock()
	if k.abandon() {
		c.counters.orphans.Add(1)
		return Ended(ctx)
	}
	<-k.ready
	return nil
}

// resign gives up the lead because the leader's context ended.
func (c *Conn) resign(ctx context.Context, k *call) error {
	var err error
	if k.state.Load() != done {
		err = Ended(ctx)
		c.mu.Lock()
		if c.withdraw(k) {
			err = &withdrawnError{err}
		} else if k.abandon() {
			c.counters.orphans.Add(1)
		}
		c.mu.Unlock()
	}
	c.handOver()
	return err
}

// abandon leaves k to the leader, who throws its reply away. It reports false
// when k is done already.
func (k *call) abandon() bool {
	for {
		if k.state.CompareAndSwap(pending, gone) {
			return true
		}
		if k.state.Load() == done {
			return false
		}
		yield() // the leader is copying a reply: it takes microseconds
	}
}

// Close ends the connection. Calls in flight fail with ErrClosed and their
// outcome. It returns when nothing of the connection runs any more, and may be
// called more than once.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.die(ErrClosed, "queue")
	if !c.leading {
		c.leading = true
		c.flush()
	}
	for c.leading || c.writing {
		c.changed.Wait()
	}
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}

// die marks the connection dead and closes the transport, which wakes the
// leader and the writer. It is called with mu held; the first cause stays.
func (c *Conn) die(err error, phase string) {
	if c.err != nil {
		return
	}
	c.err, c.errPhase = err, phase
	c.clock.stop()
	c.watch.stop()
	c.nc.Close()
	c.counters.died = time.Now()
	if c.announced {
		c.wg.Go(c.tellDown) // not here: observers may ask for statistics
	}
	for _, w := range c.waiters {
		close(w.ready)
	}
	c.waiters = nil
	if c.cfg.OnClose != nil {
		c.cfg.OnClose(err)
	}
}

// flush fails every call of a dead connection and gives up the lead. It is
// called by the leader with mu held.
func (c *Conn) flush() {
	for c.writing { // its result decides what was handed over
		c.changed.Wait()
	}
	for _, list := range [][]*call{c.inflight[c.head:], c.queued} {
		for _, k := range list {
			k.waiting = false
			if k.fail(c.err, c.errPhase, c.wrote) {
				k.ready <- finished
			} else {
				k.Release()
			}
		}
	}
	c.inflight, c.head, c.queued = nil, 0, nil
	c.wbuf, c.spare, c.hidden = nil, nil, nil
	c.nflight, c.nbytes, c.ahead, c.oldest = 0, 0, 0, 0
	c.cfg.Group.leave(c)
	c.leading = false
	c.changed.Broadcast()
}
