package semaphore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
)

// TestCancelledAtAnyTime is the semaphore's part of XX2.
func TestCancelledAtAnyTime(t *testing.T) {
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		const workers = 16
		calls := int64(dstest.Rounds(4_000, 100_000))
		var n, cancelled atomic.Int64
		var mu sync.Mutex
		var late, machine []time.Duration
		end := func(ctx context.Context, what string, err error) {
			over := time.Duration(0)
			if due, _ := ctx.Deadline(); ctx.Err() != nil {
				over = time.Since(due)
			}
			mu.Lock()
			late = append(late, over)
			mu.Unlock()
			n.Add(1)
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				cancelled.Add(1)
			case err != nil && !errors.Is(err, lease.ErrLost):
				t.Errorf("%s: %v", what, err)
			}
		}
		soon := func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(context.Background(), rand.N(15*time.Millisecond))
			context.AfterFunc(ctx, func() {
				if due, _ := ctx.Deadline(); errors.Is(ctx.Err(), context.DeadlineExceeded) {
					mu.Lock()
					defer mu.Unlock()
					machine = append(machine, time.Since(due))
				}
			})
			return ctx, cancel
		}
		var wg sync.WaitGroup
		for w := range workers {
			s := semaphore.New(c, fmt.Sprint("gpu", w%3), 4, semaphore.TTL(500*time.Millisecond), semaphore.Adaptive(3, 6), semaphore.Window(10*time.Millisecond))
			wg.Go(func() {
				for n.Load() < calls {
					ctx, cancel := soon()
					p, err := s.Acquire(ctx, 1+rand.IntN(3))
					end(ctx, "Acquire", err)
					if err == nil {
						releasing, cancel := soon()
						end(releasing, "Release", p.Release(releasing))
						cancel()
					}
					cancel()
				}
			})
		}
		wg.Wait()
		p99 := func(d []time.Duration) time.Duration {
			slices.Sort(d)
			return d[(len(d)-1)*99/100]
		}
		mu.Lock()
		own, floor := p99(late), p99(machine)
		mu.Unlock()
		t.Logf("XX2: %d calls, %d of them cancelled; return after the deadline: p50 %v, p99 %v, max %v; p99 of what only waits for it %v",
			n.Load(), cancelled.Load(), late[len(late)/2], own, late[len(late)-1], floor)
		if cancelled.Load() < calls/20 {
			t.Error("too few were cancelled: nothing was tested")
		}
		// Twice: once for the goroutine that waits, once for what it waits for.
		if over := own - 2*floor; over > 20*time.Millisecond {
			t.Errorf("one call in a hundred returned %v after its context had ended, where the machine was late by %v", own, floor)
		}
		dstest.Eventually(t, 10*time.Second, "no key is left but fences and limits", func() bool {
			for _, k := range dstest.Cmd(t, c, "KEYS", "*").Elems() {
				if !strings.HasSuffix(k.Text(), ":fence") && !strings.HasSuffix(k.Text(), ":limit") {
					return false
				}
			}
			return true
		})
		for _, k := range dstest.Cmd(t, c, "KEYS", "*").Elems() {
			if dstest.Int(t, c, "PTTL", k.Text()) < 0 {
				t.Errorf("%s has no TTL", k.Text())
			}
		}
	})
}

// TestAPermitWhoseAnswerWasLostCountsOnce: every second answer of each script is
// lost. Each has a count of its own: a renewal may come between.
func TestAPermitWhoseAnswerWasLostCountsOnce(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	var mu sync.Mutex
	answers := map[string]int{}
	lossy := &dstest.Lossy{Client: c, Lose: func(r command.Request) bool {
		if !strings.HasPrefix(r.Name(), "EVAL") {
			return false
		}
		script := r.Arg(0).Text()
		if r.Name() == "EVAL" {
			script = command.NewScript(script).Digest()
		}
		mu.Lock()
		defer mu.Unlock()
		answers[script]++
		return answers[script]%2 == 1
	}}
	s := semaphore.New(lossy, "gpu", 4)
	watch := semaphore.New(c, "gpu", 4)
	for range 20 {
		a, b := acquire(t, s, 3), acquire(t, s, 1)
		if got := used(t, watch); got != 4 {
			t.Fatalf("%d in use", got)
		}
		full(t, watch, 1)
		for _, p := range []*semaphore.Permit{a, b} {
			for p.Release(t.Context()) != nil { // until an answer comes
			}
		}
		if got := used(t, watch); got != 0 {
			t.Fatalf("%d in use after the release", got)
		}
	}
}

// TestPermitsGoBackOutOfMemory: a release works on a server that is full, and a
// permit is refused with the server's word.
func TestPermitsGoBackOutOfMemory(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		s := semaphore.New(c, "gpu", 2)
		p := acquire(t, s, 1)
		release(t, acquire(t, s, 1)) // the script is known
		dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory", "1")
		if _, err := s.TryAcquire(t.Context(), 1); !command.IsCode(err, "OOM") {
			t.Errorf("TryAcquire: %v", err)
		}
		release(t, p)
		dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory", "0")
		if n := used(t, s); n != 0 {
			t.Errorf("%d in use", n)
		}
	})
}
