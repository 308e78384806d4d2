package semaphore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// TestCallsThatAreCancelledAtRandomReturnAtOnceAndLeaveNothing is the semaphore's
// part of XX2.
//
// It is not parallel: the tests beside it would be what makes its calls late.
func TestCallsThatAreCancelledAtRandomReturnAtOnceAndLeaveNothing(t *testing.T) {
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		var all [3]*semaphore.Semaphore
		for i := range all {
			all[i] = semaphore.New(c, fmt.Sprint("gpu", i), 4, semaphore.TTL(500*time.Millisecond), semaphore.Adaptive(3, 6), semaphore.Window(10*time.Millisecond))
		}
		var released, ended atomic.Int64
		dstest.Cancelled(t, 20, dstest.Rounds(250, 5_000), func(ctx context.Context, w int) {
			p, err := all[w%len(all)].Acquire(ctx, 1+rand.IntN(3))
			if err == nil {
				_ = dstest.Sleep(ctx, rand.N(time.Millisecond))
				err = p.Release(ctx)
			}
			switch {
			case err == nil:
				released.Add(1)
			case errors.Is(err, context.DeadlineExceeded):
				ended.Add(1)
			case !errors.Is(err, lease.ErrLost):
				t.Errorf("got %v", err)
			}
		})
		if released.Load() == 0 || ended.Load() == 0 {
			t.Errorf("%d permits were released and %d calls ended by their contexts: nothing was tested", released.Load(), ended.Load())
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
