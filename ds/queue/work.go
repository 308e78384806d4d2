package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Handler works on one job. ctx is the job's Context. nil acknowledges the job;
// an error, or a panic, is a failed attempt: the job is delivered again after
// the backoff, or becomes a dead letter with the error as its cause after
// MaxAttempts. A handler that settles the job itself returns nil.
type Handler[T any] func(ctx context.Context, job *Job[T]) error

// Work runs handler on jobs, Concurrency of them (default 10) at once, until
// ctx ends. Then it stops fetching, hands back what no handler has begun with,
// without charging an attempt, waits for the handlers that run, settles their
// jobs, and returns nil. The handlers' contexts do not end with ctx: bound the
// handlers yourself if they may take longer than you can wait.
//
// Work returns an error only when it cannot begin. What it survives (a server
// that is away for a while, a failing handler) goes to OnError.
//
// Where handlers are fast, Work claims ahead of them as much as they do in the
// time of eight claims (a millisecond or two), at most 256 jobs.
func (q *Queue[T]) Work(ctx context.Context, handler Handler[T], opts ...Option) error {
	cfg := q.core.cfg.with(opts)
	if cfg.concurrency == 0 {
		cfg.concurrency = defaultConcurrency
	}
	if handler == nil {
		return errors.New("queue: the handler is nil")
	}
	c, err := q.core.join(ctx, cfg)
	if err != nil {
		return err
	}
	w := &work[T]{
		c:       c,
		handler: handler,
		jobs:    make(chan *delivery, cfg.concurrency+maxAhead),
		acks:    make(chan *delivery, cfg.concurrency+maxAhead),
		freed:   make(chan struct{}, 1),
	}
	w.run(ctx)
	return nil
}

// claimsAhead is by how many claims the fetching is ahead of fast handlers: a
// job takes a claim and an acknowledgement to come and go, and each may have to
// wait for the one before it.
const claimsAhead = 8

// work is one call of Work.
type work[T any] struct {
	c       *consumer
	handler Handler[T]
	jobs    chan *delivery // claimed, not begun
	acks    chan *delivery // done, not acknowledged

	handlers, acker sync.WaitGroup

	load  atomic.Int64  // deliveries from claim to settled
	done  atomic.Int64  // how many times a handler has ended
	freed chan struct{} // has an element when load has shrunk

	// Of the fetching loop alone:
	ahead    int       // how many to claim beyond the handlers
	lookedAt time.Time // when ahead was set last
	doneThen int64     // and what done was then
}

func (w *work[T]) run(ctx context.Context) {
	w.lookedAt = time.Now()
	w.acker.Go(w.ackLoop)
	for range w.c.cfg.concurrency {
		w.handlers.Go(w.handleLoop)
	}
	w.fetchLoop(ctx)

	var back []*delivery
	for len(w.jobs) > 0 {
		select {
		case d := <-w.jobs:
			back = append(back, d)
		default: // a handler was faster
		}
	}
	close(w.jobs)
	soon, cancel := w.c.goodbye()
	w.c.handBack(soon, back)
	cancel()
	w.handlers.Wait()
	close(w.acks)
	w.acker.Wait()
	soon, cancel = w.c.goodbye()
	defer cancel()
	w.c.end(soon)
}

func (w *work[T]) fetchLoop(ctx context.Context) {
	p := pacer{c: w.c}
	for ctx.Err() == nil {
		n := w.room(ctx)
		if n == 0 {
			return
		}
		wait, got, err := w.fetch(ctx, &p, n)
		if err == nil && got < n {
			err = w.c.block(ctx, wait)
		}
		if err != nil && ctx.Err() == nil {
			w.c.cfg.onError(err)
			p.fail(ctx)
		}
	}
}

func (w *work[T]) fetch(ctx context.Context, p *pacer, n int) (wait time.Duration, got int, err error) {
	if err := p.tidy(ctx); err != nil {
		return 0, 0, err
	}
	sent := time.Now()
	t, err := w.c.claim(ctx, n)
	if err != nil {
		return 0, 0, err
	}
	p.ok()
	w.lookAhead(sent)
	w.load.Add(int64(len(t.jobs)))
	for _, d := range t.jobs {
		w.jobs <- d // room has seen to it that there is space
	}
	return t.wait, len(t.jobs), nil
}

// lookAhead sets how many jobs to claim beyond the handlers: as many as they
// do in the time of a few claims, of which the one that left at sent was one.
// Fewer leave handlers waiting for the network; more would wait here while
// other workers are idle.
func (w *work[T]) lookAhead(sent time.Time) {
	now, done := time.Now(), w.done.Load()
	took, since := now.Sub(sent), now.Sub(w.lookedAt)
	perClaim := float64(done-w.doneThen) * float64(took) / float64(max(since, 1))
	w.ahead = int(min(claimsAhead*perClaim, maxAhead))
	w.lookedAt, w.doneThen = now, done
}

// room waits until more jobs may be claimed, and returns how many, or 0 when
// ctx has ended.
func (w *work[T]) room(ctx context.Context) int {
	for {
		if n := w.c.cfg.concurrency + w.ahead - int(w.load.Load()); n > 0 {
			return min(n, maxBatch)
		}
		select {
		case <-w.freed:
		case <-ctx.Done():
			return 0
		}
	}
}

// free notes that n deliveries have left.
func (w *work[T]) free(n int) {
	w.load.Add(-int64(n))
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

func (w *work[T]) handleLoop() {
	for d := range w.jobs {
		w.handle(d)
	}
}

// handle sees one delivery through. A handler that ends its goroutine
// (runtime.Goexit, as testing's FailNow does) takes the loop with it: handle
// then starts another in its place.
func (w *work[T]) handle(d *delivery) {
	returned := false
	defer func() {
		if !returned {
			w.fail(d, errors.New("the handler ended its goroutine"))
			w.handlers.Go(w.handleLoop)
		}
	}()
	job, err := decode[T](d)
	if err != nil {
		w.c.reject(d, err)
		returned = true
		w.free(1)
		return
	}
	err = w.try(job)
	returned = true
	w.done.Add(1)
	switch {
	case w.c.isSettled(d):
		w.free(1)
		if err != nil {
			w.c.cfg.onError(w.c.core.failed("job "+d.id, err))
		}
	case err == nil:
		w.acks <- d
	default:
		w.fail(d, err)
	}
}

// try calls the handler and makes an error of a panic.
func (w *work[T]) try(job *Job[T]) (err error) {
	defer func() {
		// A nil value is Goexit, or no panic at all.
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return w.handler(job.Context(), job)
}

// fail settles a delivery whose handler failed.
func (w *work[T]) fail(d *delivery, err error) {
	defer w.free(1)
	attempt := int(d.attempt)
	w.c.cfg.onError(w.c.core.failed(fmt.Sprintf("job %s: attempt %d", d.id, attempt), err))
	delay := w.c.cfg.backoff(attempt)
	cause := err.Error()
	w.c.insist(d, func(ctx context.Context) error { return w.c.retry(ctx, d, delay, cause) })
}

// ackLoop acknowledges what handlers have done: while one batch is on its way,
// the next gathers.
func (w *work[T]) ackLoop() {
	batch := make([]*delivery, 0, maxBatch)
	for d := range w.acks {
		batch = append(batch[:0], d)
		for len(batch) < maxBatch && len(w.acks) > 0 {
			batch = append(batch, <-w.acks)
		}
		w.ackAll(batch)
		w.free(len(batch))
	}
}

// ackAll acknowledges a batch, and tries again what did not get through. Those
// that fail alone do not hold up the others for longer than they are ours.
func (w *work[T]) ackAll(batch []*delivery) {
	slices.SortFunc(batch, func(a, b *delivery) int { return compareIDs(a.id, b.id) })
	ctx, cancel := context.WithTimeout(w.c.base, min(w.c.cfg.visibility, settleTime))
	errs := w.c.ack(ctx, batch)
	cancel()
	for i, err := range errs {
		if err == nil {
			continue
		}
		if errors.Is(err, ErrStaleDelivery) {
			w.c.cfg.onError(err)
			continue
		}
		d := batch[i]
		w.c.insist(d, func(ctx context.Context) error { return w.c.ack(ctx, []*delivery{d})[0] })
	}
}

// isSettled reports whether the handler has settled its job itself, or has been
// told that it cannot.
func (c *consumer) isSettled(d *delivery) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return d.state == settled || d.state == stale
}

func jitter(d time.Duration) time.Duration { return rand.N(d + 1) }
