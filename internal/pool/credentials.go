package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

const (
	askEvery   = time.Second // dials within it share one answer of the provider
	renewLeast = time.Second // between two renewals of credentials that lapse
	renewSlow  = 6           // doublings of renewLeast, at most
	renewWidth = 16          // connections that authenticate at once
)

var errNoProvider = errors.New("there is no credentials provider to ask")

// Credentials are what a connection authenticates with. Without a username and
// a password it does not.
type Credentials struct {
	Username, Password string
	Expires            time.Time // zero: never
}

// providerError reports that there were no credentials to dial with.
type providerError struct{ err error }

func (e *providerError) Error() string { return "credentials provider: " + e.err.Error() }
func (e *providerError) Unwrap() error { return e.err }

// keeper asks the provider for credentials and knows which connections have
// those of now.
//
// Answers are numbered. A round asks anew and makes every connection that has
// an older answer authenticate again, in line with its commands. Connections
// that are a caller's own are spared, as the caller may be between MULTI and
// EXEC, where the server would queue AUTH: they are closed when they are given
// back.
type keeper struct {
	node *Node

	mu       sync.Mutex
	closed   bool
	asked    int     // answers asked for
	last     *answer // the newest, perhaps still to come
	required *answer // of the last round: what connections must have, or newer
	conns    map[*session.Conn]*identity
	running  *round
	waiting  *round
	timer    *time.Timer
	renewal  time.Time // when the timer fires, zero: never
	lapsing  bool      // the provider's credentials have an end
	late     int       // renewals in a row that brought nothing to live on
}

// answer is what the provider said, once done is closed.
type answer struct {
	Credentials
	n    int
	at   time.Time // when it was asked for
	err  error
	done chan struct{}
}

// identity is whose credentials a connection has.
type identity struct {
	conn  *session.Conn
	user  string
	n     int  // of the answer
	own   bool // one caller's own
	waits bool // its reader may wait for a slow consumer
	mute  bool // it takes no AUTH: a subscriber under RESP2
	dead  bool
}

// round is one renewal of all connections.
type round struct {
	err  error
	done chan struct{}
}

func newKeeper(n *Node) *keeper {
	return &keeper{node: n, conns: map[*session.Conn]*identity{}}
}

// close ends asking. Answers and rounds under way end with the node's context.
func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

// open dials and authenticates. The connection that it returns has the
// credentials of the last round or newer ones.
func (k *keeper) open(ctx context.Context, cfg session.Config, own bool) (*session.Conn, error) {
	a, err := k.current(ctx)
	if err != nil {
		return nil, err
	}
	id := &identity{user: a.Username, n: a.n, own: own, waits: cfg.PushWaits}
	onClose := cfg.OnClose
	cfg.OnClose = func(err error) {
		k.forget(id)
		if onClose != nil {
			onClose(err)
		}
	}
	hello := k.node.cfg.Hello
	hello.Username, hello.Password = a.Username, a.Password
	c, err := k.node.greet(ctx, cfg, hello)
	if err != nil {
		return nil, err
	}
	id.mute = cfg.Subscriber && !c.RESP3()
	for newer := k.note(id, c); newer != nil; newer = k.note(id, c) {
		if err := c.Authenticate(ctx, newer.Username, newer.Password); err != nil {
			c.Close()
			return nil, err
		}
		id.n = newer.n
	}
	return c, nil
}

// note makes id known, or returns the answer that it must have first.
func (k *keeper) note(id *identity, c *session.Conn) *answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.required != nil && id.n < k.required.n {
		return k.required
	}
	if !id.dead {
		id.conn = c
		k.conns[c] = id
	}
	return nil
}

// forget is called with the connection locked.
func (k *keeper) forget(id *identity) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id.dead = true
	delete(k.conns, id.conn)
}

// fits reports whether c may be kept: its credentials are not older than the
// last round.
func (k *keeper) fits(c *session.Conn) bool {
	if k == nil {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	id := k.conns[c]
	return id != nil && (k.required == nil || id.n >= k.required.n)
}

// current returns what a connection that is dialled now authenticates with.
func (k *keeper) current(ctx context.Context) (*answer, error) {
	k.mu.Lock()
	a := k.last
	if a == nil || (a.there() && time.Since(a.at) >= askEvery) {
		if a = k.ask(); a == nil {
			k.mu.Unlock()
			return nil, ErrClosed
		}
	}
	k.mu.Unlock()
	return a, a.wait(ctx)
}

// ask puts the question to the provider, on a context of its own: who waits for
// the answer may leave without taking it from the others. It returns nil when
// the node is closed, and is called with mu held.
func (k *keeper) ask() *answer {
	if k.closed {
		return nil
	}
	k.asked++
	a := &answer{n: k.asked, at: time.Now(), done: make(chan struct{})}
	k.last = a
	k.node.wg.Go(func() {
		defer close(a.done)
		ctx, cancel := context.WithTimeout(k.node.ctx, k.node.cfg.DialTimeout)
		defer cancel()
		if a.Credentials, a.err = k.node.cfg.provide(ctx); a.err == nil {
			k.mu.Lock()
			k.plan(a.Expires)
			k.mu.Unlock()
		}
	})
	return a
}

// provide calls the provider, which is the user's code and may panic.
func (c *Config) provide(ctx context.Context) (_ Credentials, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return c.Credentials(ctx)
}

func (a *answer) there() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// wait waits for the answer and returns why there is none.
func (a *answer) wait(ctx context.Context) error {
	select {
	case <-a.done:
	case <-ctx.Done():
		return &providerError{session.Ended(ctx)}
	}
	if a.err != nil {
		return &providerError{a.err}
	}
	return nil
}

// plan sets the timer so that credentials are renewed before they end, unless
// it fires earlier anyway. It is called with mu held.
func (k *keeper) plan(expires time.Time) {
	if expires.IsZero() || k.closed {
		return
	}
	k.lapsing = true
	left := time.Until(expires)
	pause := left/4*3 + jitter(left*15/100) // 10 % and more are left to try again
	if pause < renewLeast {
		k.retry()
		return
	}
	k.late = 0
	k.wake(pause)
}

// retry plans a renewal for credentials that have ended, or are about to: a
// provider with a wrong clock, or none to give, is not asked in a hot loop.
func (k *keeper) retry() {
	least := renewLeast << min(k.late, renewSlow)
	k.late++
	k.wake(least + jitter(least/4))
}

func (k *keeper) wake(pause time.Duration) {
	at := time.Now().Add(pause)
	if !k.renewal.IsZero() && k.renewal.Before(at) {
		return
	}
	k.renewal = at
	if k.timer == nil {
		k.timer = time.AfterFunc(pause, k.renew)
		return
	}
	k.timer.Reset(pause)
}

func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// renew is run by the timer. Without connections there is nothing to renew: the
// next dial asks.
func (k *keeper) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.renewal = time.Time{}
	if len(k.conns) > 0 {
		k.start()
	}
}

// Reauthenticate asks the provider anew and returns when no connection has
// older credentials any more, or with the first refusal. Connections in a
// caller's hands are closed when they come back. Calls that come while a round
// is under way share the next one.
func (n *Node) Reauthenticate(ctx context.Context) error {
	k := n.keeper
	if k == nil {
		return errNoProvider
	}
	k.mu.Lock()
	r := k.start()
	k.mu.Unlock()
	if r == nil {
		return ErrClosed
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return session.Ended(ctx)
	}
}

// start starts a round, or joins the one that waits for its turn: the one under
// way may have asked before the caller knew of a reason to. It returns nil when
// the node is closed, and is called with mu held.
func (k *keeper) start() *round {
	if k.closed {
		return nil
	}
	if k.waiting != nil {
		return k.waiting
	}
	r := &round{done: make(chan struct{})}
	if k.running != nil {
		k.waiting = r
		return r
	}
	k.running = r
	k.node.wg.Go(k.rounds)
	return r
}

// rounds runs the rounds asked for, one after the other.
func (k *keeper) rounds() {
	for {
		k.mu.Lock()
		r := k.running
		k.mu.Unlock()
		r.err = k.round()
		close(r.done)
		k.mu.Lock()
		k.running, k.waiting = k.waiting, nil
		over := k.running == nil
		k.mu.Unlock()
		if over {
			return
		}
	}
}

func (k *keeper) round() error {
	k.mu.Lock()
	k.renewal = time.Time{} // what is planned is for the old credentials
	if k.timer != nil {
		k.timer.Stop()
	}
	a := k.ask()
	k.mu.Unlock()
	if a == nil {
		return ErrClosed
	}
	if err := a.wait(k.node.ctx); err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.lapsing && !k.closed {
			k.retry()
		}
		return err
	}
	k.mu.Lock()
	k.required = a
	var all []*session.Conn
	another := false
	for c, id := range k.conns {
		another = another || id.user != a.Username
		id.user = a.Username
		switch {
		case id.own || id.n >= a.n:
		case id.mute: // it comes back, and says that there was a gap
			k.node.wg.Go(func() { c.Close() })
		case id.waits: // as long as its consumer makes it
			k.node.wg.Go(func() { k.authenticate(k.node.ctx, c, a) })
		default:
			all = append(all, c)
		}
	}
	k.mu.Unlock()
	// After required is set: what becomes idle from here on is fit.
	idle := k.node.takeIdle()
	err := k.authenticateAll(append(all, idle...), a)
	if another {
		k.node.generation.Add(1)
	}
	for _, c := range idle {
		k.node.keep(c)
	}
	return err
}

// authenticateAll returns the first refusal.
func (k *keeper) authenticateAll(all []*session.Conn, a *answer) error {
	var wg sync.WaitGroup
	var once sync.Once
	var refusal error
	turns := make(chan struct{}, renewWidth)
	for _, c := range all {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			ctx, cancel := context.WithTimeout(k.node.ctx, k.node.cfg.DialTimeout)
			defer cancel()
			if err := k.authenticate(ctx, c, a); err != nil {
				once.Do(func() { refusal = err })
			}
		})
	}
	wg.Wait()
	return refusal
}

// authenticate makes c what a says, or closes it: with a reply other than OK,
// or none, nobody knows as whom its next command would run. It returns the
// server's refusal; what died otherwise has nothing left to renew.
func (k *keeper) authenticate(ctx context.Context, c *session.Conn, a *answer) error {
	err := c.Authenticate(ctx, a.Username, a.Password)
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		if id := k.conns[c]; id != nil {
			id.n = max(id.n, a.n)
		}
		return nil
	}
	k.node.retire(c)
	c.Close()
	var refused resp3.ServerError
	if !errors.As(err, &refused) {
		return nil
	}
	return err
}

// takeIdle takes the idle connections out of the callers' reach.
func (n *Node) takeIdle() []*session.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	idle := n.idle
	n.idle = nil
	for _, c := range idle {
		n.private[c] = struct{}{}
	}
	return idle
}

// keep makes c, which is in nobody's hands, idle. What is dead or has old
// credentials, or is one too many, is closed.
func (n *Node) keep(c *session.Conn) {
	if c.Err() == nil {
		n.mu.Lock()
		if !n.closed && len(n.idle) < keepIdle && n.keeper.fits(c) {
			delete(n.private, c)
			n.idle = append(n.idle, c)
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
	}
	n.drop(c)
}
