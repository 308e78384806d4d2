package queue

import (
	"context"
	"iter"
	"time"

	"github.com/redisx/redisx/ds/internal/wait"
)

// The pauses between failing attempts to fetch.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// Consume yields jobs until ctx ends or the loop is left. Each must be settled,
// in the loop or elsewhere, by Ack, Retry or Dead: at most Concurrency jobs
// (default 1) are out at once, and then Consume waits, so one that is forgotten
// stops the loop for good.
//
// An error is yielded with a nil job. The last one says why ctx ended,
// or what was wrong from the start; after any other the loop may go on, which
// fetches again after a pause. Payloads that cannot be decoded are not yielded:
// they become dead letters, and OnError is told.
//
// When the loop ends, jobs that were fetched but not yielded go back and are
// not charged an attempt. Those yielded and not settled are renewed no more:
// their contexts end, and others get them, within the visibility. Until then
// they can be settled.
func (q *Queue[T]) Consume(ctx context.Context, opts ...Option) iter.Seq2[*Job[T], error] {
	return func(yield func(*Job[T], error) bool) {
		cfg := q.core.cfg.with(opts)
		if cfg.concurrency == 0 {
			cfg.concurrency = 1
		}
		c, err := q.core.join(ctx, cfg)
		if err != nil {
			yield(nil, err)
			return
		}
		f := &feed[T]{c: c, yield: yield}
		defer f.end()
		f.run(ctx)
	}
}

// feed is one loop over Consume.
type feed[T any] struct {
	c     *consumer
	yield func(*Job[T], error) bool
	ready []*delivery // claimed and not yielded
}

func (f *feed[T]) run(ctx context.Context) {
	p := pacer{c: f.c}
	for {
		n, err := f.room(ctx)
		var pause time.Duration
		if err == nil {
			pause, err = f.fetch(ctx, &p, n)
		}
		switch {
		case ctx.Err() != nil:
			f.yield(nil, wait.Ended(ctx))
			return
		case err != nil:
			if !f.yield(nil, err) {
				return
			}
			p.fail(ctx)
			continue
		}
		got := len(f.ready)
		if !f.deliver(ctx) {
			return
		}
		if got < n {
			if err := f.c.block(ctx, pause); err != nil && ctx.Err() == nil {
				if !f.yield(nil, err) {
					return
				}
				p.fail(ctx)
			}
		}
	}
}

// room waits until there may be more jobs out, and returns how many.
func (f *feed[T]) room(ctx context.Context) (int, error) {
	for {
		if n := f.c.cfg.concurrency - f.c.count(); n > 0 {
			return min(n, maxBatch), nil
		}
		select {
		case <-f.c.freed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (f *feed[T]) fetch(ctx context.Context, p *pacer, n int) (time.Duration, error) {
	if err := p.tidy(ctx); err != nil {
		return 0, err
	}
	got, err := f.c.claim(ctx, n)
	f.ready = got.jobs
	if err == nil {
		p.ok()
	}
	return got.wait, err
}

// deliver yields what is ready. It reports whether the loop goes on.
func (f *feed[T]) deliver(ctx context.Context) bool {
	for len(f.ready) > 0 {
		if ctx.Err() != nil {
			f.yield(nil, wait.Ended(ctx))
			return false
		}
		d := f.ready[0]
		f.ready = f.ready[1:]
		j, err := decode[T](d)
		if err != nil {
			f.c.reject(d, err)
			continue
		}
		if !f.yield(j, nil) {
			return false
		}
	}
	return true
}

func (f *feed[T]) end() {
	ctx, cancel := f.c.goodbye()
	defer cancel()
	f.c.handBack(ctx, f.ready)
	f.c.end(ctx)
}

// pacer spaces the rounds of a fetching loop: it pauses after failures and
// tidies up now and then.
type pacer struct {
	c      *consumer
	pause  time.Duration
	tidied time.Time
}

// fail waits before the next try.
func (p *pacer) fail(ctx context.Context) {
	p.pause = min(max(2*p.pause, firstPause), lastPause)
	sleep(ctx, p.pause-jitter(p.pause/2))
}

func (p *pacer) ok() { p.pause = 0 }

// tidy is called in every round, also at the first: a consumer may be the one
// that replaces a dead one.
func (p *pacer) tidy(ctx context.Context) error {
	if !p.tidied.IsZero() && time.Since(p.tidied) < max(p.c.cfg.visibility, 10*time.Second) {
		return nil
	}
	if err := p.c.tidy(ctx); err != nil {
		return err
	}
	p.tidied = time.Now()
	return nil
}
