package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/resp3"
)

const (
	// delayedConsumer is the name under which the group keeps what is due
	// later, of nobody.
	delayedConsumer = "(delayed)"
	// lingerTime is how much longer than its context a claim waits for its
	// answer, so that what it took can be handed back.
	lingerTime = 25 * time.Millisecond
	// Saying goodbye may take many times what the slowest claim took, within
	// these: who has ended a loop must not wait for a server that is away.
	goodbyes     = 10
	shortGoodbye = 250 * time.Millisecond
	longGoodbye  = 2 * time.Second
	// goneTime is how long a consumer without deliveries is silent before
	// others forget it; a living one speaks every few seconds.
	goneTime = time.Minute
)

// consumer is one member of the group: one call of Consume or Work.
type consumer struct {
	core *core
	cfg  config
	id   string
	base context.Context // values for the jobs' contexts; never ends

	// gate is held by a claim on its way, and by a heartbeat until it has seen
	// what there is to renew. Otherwise a heartbeat could begin between a
	// claim's leaving and its arrival, renew everything but those jobs, and
	// move the trust window for them too.
	gate chan struct{}

	mu     sync.Mutex
	open   map[*delivery]struct{} // those that count for Concurrency
	lapses int                    // those that left open without the server's word
	hold   *hold.Hold             // the trust window of all in open
	unhear func() bool            // stops listening for the end of hold
	slow   time.Duration          // what the slowest claim took
	ended  bool
	freed  chan struct{} // has an element when open has shrunk
}

// join makes a consumer: the server is checked, the group exists.
func (c *core) join(ctx context.Context, cfg config) (*consumer, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	got, err := command.RunScript(ctx, c.d, openScript, command.AsSlice(command.AsString),
		[]string{c.keys.jobs, c.keys.meta}, command.Str(schema), command.Str(cfg.group))
	if err != nil {
		return nil, c.failed("open", err)
	}
	if len(got) != 2 {
		return nil, c.failed("open", errShape)
	}
	if got[0] != schema {
		return nil, &MismatchError{Queue: c.name, Field: "schema", Want: schema, Got: got[0]}
	}
	if got[1] != cfg.group {
		return nil, &MismatchError{Queue: c.name, Field: "group", Want: cfg.group, Got: got[1]}
	}
	return &consumer{
		core:  c,
		cfg:   cfg,
		id:    owner.New(),
		base:  context.WithoutCancel(ctx),
		gate:  make(chan struct{}, 1),
		open:  map[*delivery]struct{}{},
		freed: make(chan struct{}, 1),
	}, nil
}

// errShape is why a script's answer cannot be read.
var errShape = errors.New("the script's answer has another shape")

// taken is what the claim script answers.
type taken struct {
	wait time.Duration
	jobs []*delivery
}

// claim takes up to n jobs. If there are fewer, wait says for how long to
// block.
func (c *consumer) claim(ctx context.Context, n int) (got taken, err error) {
	select {
	case c.gate <- struct{}{}:
		defer func() { <-c.gate }()
	case <-ctx.Done():
		return taken{}, context.Cause(ctx)
	}
	call, done := linger(ctx)
	defer done()
	k := c.core.keys
	sent := time.Now()
	got, err = command.RunScript(call, c.core.d, claimScript, c.asTaken,
		[]string{k.jobs, k.deadlines, k.wake, k.dead, k.meta},
		command.Str(c.cfg.group), command.Str(c.id), command.Int(int64(min(n, maxBatch))),
		command.Int(c.cfg.visibility.Milliseconds()), command.Int(int64(c.cfg.attempts)),
		command.Int(c.cfg.wait().Milliseconds()), command.Str(schema))
	if err != nil {
		return taken{}, c.core.failed("claim", err)
	}
	c.mu.Lock()
	c.slow = max(c.slow, time.Since(sent))
	c.mu.Unlock()
	c.admit(got.jobs, sent)
	return got, nil
}

// admit puts new deliveries under a trust window that began at sent or before.
func (c *consumer) admit(ds []*delivery, sent time.Time) {
	if len(ds) == 0 {
		return
	}
	// Only admit sets hold, and the gate lets one in.
	h := c.hold
	if h == nil || h.Err() != nil {
		if h != nil {
			h.Stop() // it has ended; this waits for its last heartbeat
		}
		h = hold.Start(c.base, sent, hold.Options{TTL: c.cfg.visibility, Renew: c.beat})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h != c.hold {
		c.hold = h
		c.unhear = context.AfterFunc(h.Context(), func() { c.lapseAll(h) })
	}
	for _, d := range ds {
		d.hold = h
		var inner context.Context
		inner, d.cancel = context.WithCancelCause(c.base)
		d.ctx = jobContext{inner, d}
		c.open[d] = struct{}{}
	}
}

func (c *consumer) asTaken(v resp3.View) (taken, error) {
	cur := v.Cursor()
	first, ok := cur.Next()
	if !ok {
		return taken{}, errShape
	}
	wait, err := command.AsMillis(first)
	if err != nil {
		return taken{}, err
	}
	if cur.Len()%3 != 0 {
		return taken{}, errShape
	}
	// 0 would block for ever.
	wait = min(max(wait, time.Millisecond), c.cfg.wait())
	got := taken{wait: wait, jobs: make([]*delivery, 0, cur.Len()/3)}
	for id, ok := cur.Next(); ok; id, ok = cur.Next() {
		attempt, _ := cur.Next()
		payload, _ := cur.Next()
		d := &delivery{c: c, id: id.Text(), payload: append([]byte{}, payload.Bytes()...)}
		if d.attempt, err = attempt.Int(); err != nil {
			return taken{}, err
		}
		got.jobs = append(got.jobs, d)
	}
	return got, nil
}

// block waits until there may be jobs, at most for wait.
func (c *consumer) block(ctx context.Context, wait time.Duration) error {
	// All idle consumers know the same due time. The first to come takes the
	// job, and the others need not ask in the same moment.
	wait += rand.N(min(wait/10, 20*time.Millisecond) + 1)
	r := command.NewRequest(blpopSpec, command.Str(c.core.keys.wake), command.Float(wait.Seconds()))
	r.SetBlock(wait)
	reply, err := c.core.d.Do(ctx, r)
	if err != nil {
		return c.core.failed("wait", err)
	}
	reply.Release()
	return nil
}

// beat renews all open deliveries; it is how the hold renews itself. It fails
// only where nothing was learnt from the server.
func (c *consumer) beat(ctx context.Context) error {
	select {
	case c.gate <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.mu.Lock()
	ended := c.ended
	ds := make([]*delivery, 0, len(c.open))
	for d := range c.open {
		if d.state == held || d.state == settling {
			ds = append(ds, d)
		}
	}
	c.mu.Unlock()
	<-c.gate
	if ended {
		return errEnded // what is still open keeps the time it has
	}
	for len(ds) > 0 {
		n := min(len(ds), maxBatch)
		if err := c.beatSome(ctx, ds[:n]); err != nil {
			return err
		}
		ds = ds[n:]
	}
	return nil
}

func (c *consumer) beatSome(ctx context.Context, ds []*delivery) error {
	codes, err := c.call(ctx, beatScript, ds, command.Int(c.cfg.visibility.Milliseconds()))
	if err != nil {
		return err
	}
	for i, code := range codes {
		if code == codeOK {
			continue
		}
		if cause := c.missing(ds[i], code); cause != nil {
			c.cfg.onError(cause)
		}
	}
	return nil
}

// missing notes that a heartbeat found a delivery not to be ours.
func (c *consumer) missing(d *delivery, code int64) *StaleError {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.state != held {
		return nil // a settling on its way was faster, and will say so
	}
	if code == codeGone && d.maybe != noVerb {
		// It was ours when we sent a settling that got no answer, and nobody
		// else could have had it since: it was that settling.
		d.by = d.maybe
		c.drop(d, settled, nil)
		return nil
	}
	cause := d.staleError(reasonOf(code), nil)
	c.drop(d, stale, cause)
	return cause
}

func reasonOf(code int64) string {
	if code == codeTaken {
		return reasonTaken
	}
	return reasonGone
}

// drop takes a delivery out of open and ends its context. The caller holds mu.
func (c *consumer) drop(d *delivery, next state, cause *StaleError) {
	d.to(next)
	if cause != nil && d.cause == nil {
		d.cause = cause
	}
	if cause != nil {
		d.cancel(cause)
	} else {
		d.cancel(nil)
	}
	if _, ok := c.open[d]; ok {
		delete(c.open, d)
		if next == lapsed {
			c.lapses++
		}
	} else if next != lapsed {
		c.lapses--
	}
	select {
	case c.freed <- struct{}{}:
	default:
	}
}

// lapse ends the trust in one delivery.
func (c *consumer) lapse(d *delivery) {
	var lost *hold.LostError
	if !errors.As(d.hold.Err(), &lost) || lost.Reason == hold.Released {
		return // stopped when nothing was open
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch d.state {
	case held:
		c.drop(d, lapsed, d.staleError(string(lost.Reason), lost.Err))
	case settling:
		if d.from == held {
			d.from, d.cause = lapsed, d.staleError(string(lost.Reason), lost.Err)
			d.cancel(d.cause)
		}
	}
}

// lapseAll ends the trust in all deliveries of h.
func (c *consumer) lapseAll(h *hold.Hold) {
	c.mu.Lock()
	var ds []*delivery
	for d := range c.open {
		if d.hold == h {
			ds = append(ds, d)
		}
	}
	c.mu.Unlock()
	for _, d := range ds {
		c.lapse(d)
		if cause := context.Cause(d.ctx); errors.Is(cause, ErrStaleDelivery) {
			c.cfg.onError(cause)
		}
	}
}

// count returns how many deliveries are open.
func (c *consumer) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// goodbye returns the context for the last calls.
func (c *consumer) goodbye() (context.Context, context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return context.WithTimeout(c.base, min(max(goodbyes*c.slow, shortGoodbye), longGoodbye))
}

// handBack releases what nobody began with. What fails is not tried again: its
// deadline does the same, later.
func (c *consumer) handBack(ctx context.Context, ds []*delivery) {
	for len(ds) > 0 {
		n := min(len(ds), maxBatch)
		for _, err := range c.release(ctx, ds[:n]) {
			if err != nil {
				c.cfg.onError(err)
			}
		}
		ds = ds[n:]
	}
}

// end takes the consumer out of the group. What is still open keeps the time
// that it has, without heartbeats.
func (c *consumer) end(ctx context.Context) {
	c.mu.Lock()
	c.ended = true
	none := len(c.open) == 0 && c.lapses == 0
	c.mu.Unlock()
	c.stopIfDone()
	k, known := c.core.keys, int64(0)
	if none {
		known = 1
	}
	_, err := command.RunScript(ctx, c.core.d, leaveScript, command.AsInt, []string{k.jobs, k.deadlines, k.wake},
		command.Str(c.cfg.group), command.Str(c.id), command.Int(known))
	if err != nil {
		c.cfg.onError(c.core.failed("leave", err))
	}
}

// tidy cleans up after consumers that are gone, if nobody did lately.
func (c *consumer) tidy(ctx context.Context) error {
	k, every := c.core.keys, max(c.cfg.visibility, 10*time.Second)
	_, err := command.RunScript(ctx, c.core.d, tidyScript, command.AsValue, []string{k.jobs, k.deadlines, k.meta, k.tidied},
		command.Str(c.cfg.group), command.Int(c.cfg.visibility.Milliseconds()), command.Int(every.Milliseconds()),
		command.Int((goneTime + c.cfg.visibility).Milliseconds()))
	if err != nil {
		return c.core.failed("tidy", err)
	}
	return nil
}

// linger returns a context that ends a little later than ctx.
func linger(ctx context.Context) (context.Context, func()) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(lingerTime, func() { cancel(context.Cause(ctx)) })
	})
	return longer, func() { stop(); cancel(nil) }
}
