package lease_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// TestCancelledAtAnyTime is the lease's part of XX2: every call returns at once
// when its context has ended, also where no answer ever comes, and leaves nothing
// but what lapses.
func TestCancelledAtAnyTime(t *testing.T) {
	dstest.Servers(t, cancelledAtAnyTime)
}

// calls counts what many callers heard, and by how much they were late.
type calls struct {
	n, errs atomic.Int64

	mu   sync.Mutex
	late []time.Duration
}

// end notes the return of a call whose context ended at due, or will.
func (k *calls) end(t *testing.T, ctx context.Context, what string, err error) {
	over := time.Duration(0)
	if due, _ := ctx.Deadline(); ctx.Err() != nil {
		over = time.Since(due)
	}
	k.n.Add(1)
	if err != nil {
		k.errs.Add(1)
		// A starved round may lose its lease: that is no error here.
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, lease.ErrLost) && !errors.Is(err, lease.ErrFenced) && !errors.Is(err, lease.ErrHeld) {
			t.Errorf("%s: an error that does not say that ctx has ended: %v", what, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.late = append(k.late, over)
}

func cancelledAtAnyTime(t *testing.T, f servers.Flavor) {
	s := serverstest.Start(t, servers.Options{Flavor: f})
	c := dstest.Connect(t, s)
	const workers = 16
	n := int64(dstest.Rounds(8_000, 100_000))
	var k calls
	rounds := func(until int64) {
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for k.n.Load() < until {
					k.round(t, c, w)
				}
			})
		}
		wg.Wait()
	}
	lag := dstest.Lag(t)
	rounds(n)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	rounds(n + n/20) // no answer comes: who waits for one does not return
	worst := lag()
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(k.late)
	last := len(k.late) - 1
	t.Logf("XX2: %d calls, %d with an error; return after the deadline: p50 %v, p99.9 %v, max %v; the machine itself was late by up to %v",
		k.n.Load(), k.errs.Load(), k.late[last/2], k.late[last-last/1000], k.late[last], worst)
	if k.errs.Load() < n/10 {
		t.Errorf("only %d calls were cancelled: nothing was tested", k.errs.Load())
	}
	// Twice: once for the timer of the context, once for the goroutine it wakes.
	if over := k.late[last] - 2*worst; over > 10*time.Second || dstest.Long && over > 20*time.Millisecond {
		t.Errorf("a call returned %v after its context had ended and the machine could run it, want at most 20 ms", over)
	}
	for _, key := range dstest.Cmd(t, c, "KEYS", "*").Elems() {
		// Between the two looks it may have gone.
		if ttl := dstest.Int(t, c, "PTTL", key.Text()); ttl == -1 && !strings.HasPrefix(key.Text(), "written:") {
			t.Errorf("%s has no TTL", key.Text())
		}
	}
	dstest.Eventually(t, 10*time.Second, "no key of a lease is left but fences", func() bool {
		return !slices.ContainsFunc(dstest.Cmd(t, c, "KEYS", "{*").Elems(), func(v resp3.Value) bool { return !strings.HasSuffix(v.Text(), ":fence") })
	})
	// The client's own and those that were in use at once, not one a call.
	if n := field(t, c, "clients", "connected_clients"); n > 2*workers {
		t.Errorf("%d connections are open", n)
	}
}

// round acquires, writes, releases and waits, each with a context that ends at a
// random time.
func (k *calls) round(t *testing.T, c *redisx.Client, w int) {
	soon := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), rand.N(3*time.Millisecond))
	}
	opts := []lease.Option{lease.TTL(200 * time.Millisecond)}
	switch rand.N(4) {
	case 0:
		opts = append(opts, lease.Shared())
	case 1:
		opts = append(opts, lease.Fair())
	}
	ctx, cancel := soon()
	l, err := lease.Acquire(ctx, c, fmt.Sprintf("job:%d", w%5), opts...)
	k.end(t, ctx, "Acquire", err)
	defer cancel()
	if err != nil {
		return
	}
	writing, cancel := soon()
	_, err = l.Do(writing, raw("SET", "written:"+strconv.Itoa(w), l.Token()))
	k.end(t, writing, "Do", err)
	cancel()
	releasing, cancel := soon()
	err = l.Release(releasing)
	k.end(t, releasing, "Release", err)
	cancel()
}

// field returns a number of INFO.
func field(t *testing.T, c *redisx.Client, section, name string) (n int64) {
	t.Helper()
	for line := range strings.Lines(dstest.Cmd(t, c, "INFO", section).Text()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("INFO %s has no %s", section, name)
	return 0
}
