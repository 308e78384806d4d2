package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/dstest"
)

var everyAlgorithm = []limiter.Algorithm{limiter.GCRA, limiter.TokenBucket, limiter.FixedWindow, limiter.SlidingWindow}

// TestWaitersAreNeverEarlyAndNobodyPolls: 30 waiters of a rate cost the server
// one script each, and their slots keep the rule.
func TestWaitersAreNeverEarlyAndNobodyPolls(t *testing.T) {
	t.Parallel()
	for _, algorithm := range everyAlgorithm {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			c, _ := setup(t)
			const waiters = 30
			l := limiter.New(c, "10/200ms", limiter.Using(algorithm))
			begun := time.Now()
			if err := l.Wait(t.Context(), "k"); err != nil { // the script is known now
				t.Fatal(err)
			}
			raw(t, c, "CONFIG", "RESETSTAT")
			var mu sync.Mutex
			var last time.Time
			var wg sync.WaitGroup
			for range waiters {
				wg.Go(func() {
					if err := l.Wait(t.Context(), "k"); err != nil {
						t.Errorf("Wait: %v", err)
					}
					mu.Lock()
					last = time.Now()
					mu.Unlock()
				})
			}
			wg.Wait()
			// 31 calls by 10 each 200 ms. The windows by the calendar may turn at once.
			least := map[limiter.Algorithm]time.Duration{
				limiter.GCRA: 420 * time.Millisecond, limiter.TokenBucket: 600 * time.Millisecond,
				limiter.FixedWindow: 400 * time.Millisecond, limiter.SlidingWindow: 600 * time.Millisecond,
			}[algorithm]
			if span := last.Sub(begun); span < least {
				t.Errorf("%d calls within %v, want %v at least", waiters+1, span, least)
			}
			var calls int
			stats := raw(t, c, "INFO", "commandstats")
			if _, err := fmt.Sscanf(after(stats, "cmdstat_evalsha:calls="), "%d", &calls); err != nil || calls > waiters {
				t.Errorf("%d scripts for %d waiters (%v)", calls, waiters, err)
			}
		})
	}
}

func TestASlotThatIsTooFarAwayIsNotTaken(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l := limiter.New(c, "2/d", limiter.Using(algorithm), limiter.MaxWait(time.Minute))
		for range 2 {
			if err := l.Wait(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
		before, err := limiter.Inspect(t.Context(), c, "k")
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		err = l.Wait(t.Context(), "k")
		var limited *limiter.LimitedError
		if !errors.As(err, &limited) || limited.RetryAfter <= time.Minute && algorithm != limiter.FixedWindow {
			t.Errorf("%s: Wait = %v, want a *LimitedError", algorithm, err)
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("%s: took %v to refuse", algorithm, took)
		}
		if after, err := limiter.Inspect(t.Context(), c, "k"); err != nil || after.Left != before.Left || after.Full > before.Full {
			t.Errorf("%s: the refusal changed %+v to %+v, %v", algorithm, before, after, err)
		}
		raw(t, c, "FLUSHALL")
	}
}

func TestAContextThatEndsBeforeItsSlotTakesNone(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "1/h")
	if err := l.Wait(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := l.Wait(ctx, "k"); !errors.Is(err, limiter.ErrLimited) || ctx.Err() != nil {
		t.Errorf("Wait = %v with %v left of the context, want a *LimitedError at once", err, ctx.Err())
	}
}

// TestACancelledWaitReturnsAtOnceAndGivesItsSlotBack shows that nothing is lost.
func TestACancelledWaitReturnsAtOnceAndGivesItsSlotBack(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	cause := errors.New("the user has left")
	for _, algorithm := range everyAlgorithm {
		l := limiter.New(c, "1/h", limiter.Using(algorithm), limiter.MaxWait(time.Hour))
		if err := l.Wait(t.Context(), string(algorithm)); err != nil {
			t.Fatal(err)
		}
		before, err := l.Peek(t.Context(), string(algorithm))
		if err != nil {
			t.Fatal(err)
		}
		taken := func() bool {
			d, err := l.Peek(t.Context(), string(algorithm))
			if err != nil {
				t.Fatal(err)
			}
			return d.RetryAfter > before.RetryAfter
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		left := make(chan error)
		go func() { left <- l.Wait(ctx, string(algorithm)) }()
		dstest.Eventually(t, 10*time.Second, "a slot is taken", taken)
		cancel(cause)
		if err := <-left; !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
			t.Errorf("%s: Wait = %v", algorithm, err)
		}
		dstest.Eventually(t, 10*time.Second, "it is given back", func() bool { return !taken() })
	}
}

// TestASlotInTheMiddleStaysWhereItIs: those behind it keep theirs, so giving it
// back must not let others in at the same time.
func TestASlotInTheMiddleStaysWhereItIs(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l := limiter.New(c, "1/10s", limiter.Using(algorithm))
		var back []func() (int64, error)
		var slots []time.Time
		for range 3 {
			_, slot, giveBack, err := l.Slot(t.Context(), string(algorithm), 1, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			back, slots = append(back, giveBack), append(slots, slot)
		}
		undone, err := back[1]()
		if want := map[bool]int64{true: 1}[algorithm == limiter.SlidingWindow]; undone != want || err != nil {
			t.Errorf("%s: %d given back (%v), want %d", algorithm, undone, err, want)
		}
		_, slot, _, err := l.Slot(t.Context(), string(algorithm), 1, time.Minute)
		if err != nil || slot.Sub(slots[2]) < 10*time.Second {
			t.Errorf("%s: the next slot is %v after the last (%v), want 10 s", algorithm, slot.Sub(slots[2]), err)
		}
	}
}

// after returns what follows mark in s.
func after(s, mark string) string {
	for i := range s {
		if len(s)-i >= len(mark) && s[i:i+len(mark)] == mark {
			return s[i+len(mark):]
		}
	}
	return ""
}
