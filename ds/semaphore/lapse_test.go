package semaphore_test

import (
	"context"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/internal/dstest"
)

// TestWhoBecomesTheFirstKnowsWhenTheNextPlaceLapses: nobody tells it that it is
// the first now, where the one before it took the last place. By its next word to
// the queue, every second, it would come up to a second late.
func TestWhoBecomesTheFirstKnowsWhenTheNextPlaceLapses(t *testing.T) {
	t.Parallel()
	const places, gap = 4, 30 * time.Millisecond
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", places, semaphore.TTL(3*time.Second))
	ctx, die := context.WithCancel(t.Context())
	for range places {
		if _, err := s.Acquire(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	die() // not released, not renewed any more
	got := make(chan time.Time, places+2)
	bounded, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range places + 2 {
		go func() {
			if _, err := s.Acquire(bounded, 1); err == nil {
				got <- time.Now()
			}
		}()
		queued(t, c, "gpu", int64(i+1))
	}
	// The places lapse soon, and one after the other.
	held, err := s.Inspect(t.Context())
	if err != nil || len(held.Holding) != places {
		t.Fatalf("%+v, %v", held, err)
	}
	now, err := c.Time(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	local := time.Now()
	const soon = 1200 * time.Millisecond // all have asked since by then
	for n, h := range held.Holding {
		dstest.Cmd(t, c, "ZADD", semaphore.ReadersKey("gpu"), "XX", now.Add(soon+time.Duration(n)*gap).UnixMilli(), h.ID)
	}
	for n := range places {
		late := (<-got).Sub(local.Add(soon + time.Duration(n)*gap))
		t.Logf("permit %d came %v after its place had lapsed", n, late.Round(time.Millisecond))
		if n == places-1 && late > 400*time.Millisecond {
			t.Errorf("the last came %v late", late)
		}
	}
}
