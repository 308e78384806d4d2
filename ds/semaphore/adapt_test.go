package semaphore_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// most is where an adaptive limit settles at most before a backend that does
// capacity things at once: see the manual.
func most(capacity int) int {
	settled := 1.25 * float64(capacity)
	return int(settled + 2*math.Sqrt(settled) + 2)
}

// window is that of the simulated backends.
const window = 10 * time.Millisecond

// simulated is a backend whose calls take base while no more than capacity run,
// and share it when more do.
type simulated struct {
	s        *semaphore.Semaphore
	capacity int
	base     time.Duration
	refuses  bool // rather than slows down
	random   *rand.Rand
	limit    int
	baseline time.Duration
}

// run has as many calls run as the limit allows for so many windows, and returns
// the limits that followed, one for each.
func (b *simulated) run(t *testing.T, windows int) []int {
	t.Helper()
	var limits []int
	for range windows {
		const reports = 50
		took, over := b.base, 0
		switch excess := float64(b.limit) / float64(b.capacity); {
		case excess <= 1:
		case b.refuses:
			over = reports - int(reports/excess)
		default:
			took = time.Duration(float64(took) * excess)
		}
		noise := 0.0
		for range reports {
			noise += (0.9 + 0.2*b.random.Float64()) / reports
		}
		took = time.Duration(float64(took) * noise)
		time.Sleep(window + time.Millisecond) // by the server's clock the window is over
		var err error
		if b.limit, b.baseline, err = b.s.Adapt(t.Context(), reports, over, took, b.limit); err != nil {
			t.Fatal(err)
		}
		limits = append(limits, b.limit)
	}
	return limits
}

// settled returns the median of the later half: a probe halves the limit for a
// while.
func settled(limits []int) int {
	late := slices.Sorted(slices.Values(limits[len(limits)/2:]))
	return late[len(late)/2]
}

// TestTheLimitFollowsTheCapacity: up, down and up again, by latency alone, within
// the bounds of the manual.
func TestTheLimitFollowsTheCapacity(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		seed := rand.Uint64()
		c := dstest.Start(t, f)
		b := &simulated{
			s:    semaphore.New(c, "db", 4, semaphore.Adaptive(1, 200), semaphore.Window(window)),
			base: time.Millisecond, random: rand.New(rand.NewPCG(seed, seed)), limit: 4,
		}
		for _, b.capacity = range []int{20, 5, 60, 20} {
			limits := b.run(t, 80)
			got := settled(limits)
			t.Logf("seed %d: capacity %d: settled at %d of at most %d, baseline %v", seed, b.capacity, got, most(b.capacity), b.baseline)
			if got < b.capacity*9/10 || got > most(b.capacity) {
				t.Errorf("capacity %d: settled at %d: %v", b.capacity, got, limits)
			}
		}
		// The work itself becomes slower, whatever the limit: a new baseline is
		// found, and the limit comes back.
		b.base = 4 * time.Millisecond
		got := settled(b.run(t, 200))
		if b.baseline < 3*time.Millisecond || b.baseline > 6*time.Millisecond || got < b.capacity*9/10 || got > most(b.capacity) {
			t.Errorf("after the work has become slower: settled at %d, baseline %v", got, b.baseline)
		}
	})
}

// TestTheLimitFallsByOverload: a backend that refuses what is too much.
func TestTheLimitFallsByOverload(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	b := &simulated{
		s:    semaphore.New(c, "db", 100, semaphore.Adaptive(2, 100), semaphore.Window(window)),
		base: time.Millisecond, random: rand.New(rand.NewPCG(1, 1)), limit: 100, refuses: true,
	}
	for _, b.capacity = range []int{30, 10, 30} {
		got := settled(b.run(t, 100))
		t.Logf("capacity %d: settled at %d", b.capacity, got)
		if got < b.capacity/2 || got > b.capacity*3/2 {
			t.Errorf("capacity %d: settled at %d", b.capacity, got)
		}
	}
	b.capacity = 1
	if got := settled(b.run(t, 50)); got != 2 {
		t.Errorf("under overload without end it settled at %d, want the least", got)
	}
}

// TestALimitThatNobodyComesNearStays: no load is no proof of capacity.
func TestALimitThatNobodyComesNearStays(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "db", 10, semaphore.Adaptive(1, 100), semaphore.Window(window))
	for range 100 {
		limit, _, err := s.Adapt(t.Context(), 5, 0, time.Millisecond, 1)
		if err != nil {
			t.Fatal(err)
		}
		if limit > 10 {
			t.Fatalf("the limit went to %d, with one permit out", limit)
		}
		time.Sleep(time.Millisecond)
	}
	if ttl := dstest.Int(t, c, "PTTL", semaphore.LimitKey("db")); ttl <= 0 {
		t.Errorf("the limit lives for %d ms", ttl)
	}
}

// backend serves as many calls at once as it has capacity; the others queue.
type backend struct {
	capacity atomic.Int64
	mu       sync.Mutex
	busy     *sync.Cond
	inside   int64
}

func (b *backend) call() {
	b.mu.Lock()
	for b.inside >= b.capacity.Load() {
		b.busy.Wait()
	}
	b.inside++
	b.mu.Unlock()
	time.Sleep(40 * time.Millisecond)
	b.mu.Lock()
	b.inside--
	b.busy.Broadcast()
	b.mu.Unlock()
}

// TestProcessesShareAnAdaptiveLimit: two clients, whose permits are real, before
// a backend whose capacity collapses and comes back.
func TestProcessesShareAnAdaptiveLimit(t *testing.T) {
	t.Parallel()
	srv := serverstest.Start(t)
	b := &backend{}
	b.busy = sync.NewCond(&b.mu)
	b.capacity.Store(16)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var watch *semaphore.Semaphore
	for range 2 {
		c := dstest.Connect(t, srv)
		s := semaphore.New(c, "db", 6, semaphore.Adaptive(1, 100), semaphore.Window(100*time.Millisecond))
		watch = s
		for range 40 {
			wg.Go(func() {
				for ctx.Err() == nil {
					err := s.With(ctx, 1, func(context.Context) error { b.call(); return nil })
					if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
						t.Errorf("With: %v", err)
						return
					}
				}
			})
		}
	}
	// How long it takes, and how near it comes, depends on the machine, too: a call
	// may be slow for other reasons than the backend.
	for _, tt := range []struct{ capacity, least, most int }{{16, 12, 60}, {4, 2, 16}, {16, 17, 60}} {
		b.capacity.Store(int64(tt.capacity))
		var limits []int
		dstest.Eventually(t, 30*time.Second, fmt.Sprintf("at capacity %d the limit settles within %d and %d", tt.capacity, tt.least, tt.most), func() bool {
			i, err := watch.Inspect(ctx)
			if err != nil {
				t.Fatal(err)
			}
			limits = append(limits, i.Limit)
			time.Sleep(10 * time.Millisecond)
			got := settled(limits[max(0, len(limits)-100):])
			return len(limits) >= 100 && got >= tt.least && got <= tt.most
		})
		t.Logf("capacity %d: settled at %d after %d looks", tt.capacity, settled(limits[len(limits)-100:]), len(limits))
	}
	cancel()
	wg.Wait()
}

// TestReportsAreGathered: a process tells the server twice a window, not once a
// permit, and not at all of what was ignored or lost.
func TestReportsAreGathered(t *testing.T) {
	t.Parallel()
	var told atomic.Int64
	c := &dstest.Lossy{Client: dstest.Start(t)}
	c.Before = func(r command.Request) {
		if dstest.Runs(r, semaphore.AdaptScript()) {
			told.Add(1)
		}
	}
	s := semaphore.New(c, "db", 6, semaphore.Adaptive(1, 100), semaphore.Window(time.Minute))
	if _, _, err := s.Adapt(t.Context(), 0, 0, 0, 1); err != nil { // the server knows the script from here on
		t.Fatal(err)
	}
	told.Store(0)
	ignored := acquire(t, s, 1)
	ignored.Ignore()
	release(t, ignored)
	for _, err := range []error{errors.New("mine"), semaphore.ErrOverloaded, fmt.Errorf("slow: %w", context.DeadlineExceeded), nil} {
		if got := s.With(t.Context(), 1, func(context.Context) error { return err }); got != err {
			t.Errorf("With: %v, want %v", got, err)
		}
		if told.Load() > 0 && err != nil && !errors.Is(err, semaphore.ErrOverloaded) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v was reported", err)
		}
	}
	p := acquire(t, s, 1)
	p.Overloaded()
	release(t, p)
	release(t, p)
	dstest.Eventually(t, 5*time.Second, "the first report", func() bool { return told.Load() == 1 })
	v := dstest.Cmd(t, c.Client, "HMGET", semaphore.LimitKey("db"), "reports", "overloads").Elems()
	if v[0].Text() != "1" || v[1].Text() != "1" {
		t.Errorf("the server was told %v: the first report, of overload", v)
	}
}
