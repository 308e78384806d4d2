package dstest

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// EndsWithin waits until ctx ends, and fails the test if it was still good when
// d had passed since began. It takes the time before it looks: that the test
// comes late to look is no failure.
func EndsWithin(t testing.TB, ctx context.Context, began time.Time, d time.Duration) {
	t.Helper()
	for ; ; time.Sleep(time.Millisecond) {
		now := time.Now()
		if ctx.Err() != nil {
			return
		}
		if now.Sub(began) >= d {
			t.Errorf("the context is still good after %v", d)
			<-ctx.Done()
			return
		}
	}
}

// Cancelled makes calls by so many workers, each with a deadline at a random
// moment within 4 ms, and logs how late they return. When Long, one in a thousand
// may be more than 20 ms late (XX2), and three for each of as many others that
// only wait for their deadline: that much the machine is late by itself.
func Cancelled(t testing.TB, workers, calls int, call func(ctx context.Context, worker int)) {
	t.Helper()
	var late, stalled, slowest atomic.Int64
	each := func(do func(ctx context.Context)) time.Duration {
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(4*time.Millisecond))
		defer cancel()
		do(ctx)
		deadline, _ := ctx.Deadline()
		return time.Since(deadline)
	}
	const most = 20 * time.Millisecond
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range calls {
				if each(func(ctx context.Context) { <-ctx.Done() }) > most {
					stalled.Add(1)
				}
			}
		})
		wg.Go(func() {
			for range calls {
				over := each(func(ctx context.Context) { call(ctx, w) })
				if over > most {
					late.Add(1)
				}
				for old := slowest.Load(); int64(over) > old && !slowest.CompareAndSwap(old, int64(over)); old = slowest.Load() {
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d calls cancelled at random: %d returned more than %v late, the slowest %v; of as many that only waited for their deadline, %d",
		workers*calls, late.Load(), most, time.Duration(slowest.Load()), stalled.Load())
	if n := late.Load(); Long && n > int64(workers*calls/1000)+3*stalled.Load() {
		t.Errorf("%d calls returned more than %v late", n, most)
	}
}

// Sleep returns when d has passed, or with the cause of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
