package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/dstest"
)

func stock(t testing.TB, l *limiter.Limiter, key string, chunk int) *limiter.Stock {
	t.Helper()
	s, err := l.Stock(key, chunk)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStocksNeverAdmitMoreThanTheLimit: eight of them, each with callers, beside
// callers who ask the server.
func TestStocksNeverAdmitMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "1000/d")
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		s := stock(t, l, "k", 50)
		for range 4 {
			wg.Go(func() {
				for {
					err := s.Take(t.Context(), 1)
					if errors.Is(err, limiter.ErrLimited) {
						return
					}
					if err != nil {
						t.Errorf("Take: %v", err)
						return
					}
					admitted.Add(1)
				}
			})
		}
	}
	wg.Go(func() {
		for range 100 {
			d, err := l.Allow(t.Context(), "k")
			if err != nil {
				t.Errorf("Allow: %v", err)
			}
			if d.Allowed {
				admitted.Add(1)
			}
		}
	})
	wg.Wait()
	// Nothing is left unused: who finds no room for a chunk takes what he needs.
	if n := admitted.Load(); n > 1000 || n < 600 {
		t.Errorf("%d admitted, want 600 to 1000", n)
	}
}

func TestAStockGivesBackWhatItDidNotUse(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "1000/d")
	s := stock(t, l, "k", 100)
	for range 7 {
		if err := s.Take(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	left(t, l, "k", 900)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	left(t, l, "k", 993)
	if err := s.Take(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	left(t, l, "k", 893)
}

// TestAChunkThatNobodyUsesIsGivenBack before it lapses.
func TestAChunkThatNobodyUsesIsGivenBack(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "1000/d", limiter.Lapse(4*time.Second)) // a tenth of it is time to give it back
	if err := stock(t, l, "k", 100).Take(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	left(t, l, "k", 900)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if d, err := l.Peek(t.Context(), "k"); err == nil && d.Remaining >= 990 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a chunk that nobody uses was not given back before it lapses")
		}
	}
	left(t, l, "k", 990)
}

// TestADeadStockCostsItsChunk: nobody gives it back, so it counts as used.
func TestADeadStockCostsItsChunk(t *testing.T) {
	t.Parallel()
	c, s := setup(t)
	other := dstest.Connect(t, s)
	l := limiter.New(other, "1000/d", limiter.Lapse(time.Second))
	if err := stock(t, l, "k", 100).Take(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	l = limiter.New(c, "1000/d")
	left(t, l, "k", 900)
	dstest.Eventually(t, 10*time.Second, "it lapses", func() bool {
		info, err := limiter.Inspect(t.Context(), c, "k")
		return err == nil && info.Reserved == 0
	})
	left(t, l, "k", 900)
}

// TestAChunkThatIsOverIsNotGivenOut, also where no timer has run.
func TestAChunkThatIsOverIsNotGivenOut(t *testing.T) {
	t.Parallel()
	c, srv := setup(t)
	s := stock(t, limiter.New(c, "1000/d", limiter.Lapse(100*time.Millisecond)), "k", 100)
	if err := s.Take(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.Sleep()
	time.Sleep(100 * time.Millisecond) // a real server's time
	srv.Pause()
	defer srv.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Take(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Take of a chunk that has lapsed = %v", err)
	}
}

// TestADenialIsRemembered: a million calls in vain cost no round trip.
func TestADenialIsRemembered(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	s := stock(t, limiter.New(c, "5/d"), "k", 5)
	for range 5 {
		if err := s.Take(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Take(t.Context(), 1); !errors.Is(err, limiter.ErrLimited) {
		t.Fatal(err)
	}
	raw(t, c, "CONFIG", "RESETSTAT")
	begun := time.Now()
	for range 100_000 {
		if err := s.Take(t.Context(), 1); !errors.Is(err, limiter.ErrLimited) {
			t.Fatal(err)
		}
	}
	// Each 100 ms for a chunk, and for a call.
	asked, most := 0, 2+2*int(time.Since(begun)/(100*time.Millisecond))
	if stats := after(raw(t, c, "INFO", "commandstats"), "cmdstat_evalsha:calls="); stats != "" {
		if _, err := fmt.Sscanf(stats, "%d", &asked); err != nil || asked > most {
			t.Errorf("the server was asked %d times (%v), want %d at most", asked, err, most)
		}
	}
}

func TestADenialOfManyIsNoneOfFew(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "100/d")
	if d, err := l.AllowN(t.Context(), "k", 60); err != nil || !d.Allowed {
		t.Fatal(d, err)
	}
	s := stock(t, l, "k", 50)
	if err := s.Take(t.Context(), 50); !errors.Is(err, limiter.ErrLimited) {
		t.Errorf("Take(50) beside 60 of 100 = %v", err)
	}
	if err := s.Take(t.Context(), 40); err != nil {
		t.Errorf("Take(40) beside 60 of 100 = %v", err)
	}
}

// TestAStockComesBackWhenOthersGiveBack: not when what they had would have lapsed.
func TestAStockComesBackWhenOthersGiveBack(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "100/d", limiter.Lapse(time.Hour))
	one, other := stock(t, l, "k", 100), stock(t, l, "k", 100)
	if err := one.Take(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := other.Take(t.Context(), 1); !errors.Is(err, limiter.ErrLimited) {
		t.Errorf("Take beside a chunk that is all = %v", err)
	}
	if err := one.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	dstest.Eventually(t, 10*time.Second, "the other stock has calls", func() bool { return other.Take(t.Context(), 1) == nil })
}

func TestAStockRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	var sent failing
	l := limiter.New(&sent, "10/s")
	if _, err := l.Stock("k", 11); !errors.Is(err, limiter.ErrNeverFits) {
		t.Errorf("Stock(11) = %v", err)
	}
	if _, err := l.Stock("k", 0); !errors.Is(err, limiter.ErrCost) {
		t.Errorf("Stock(0) = %v", err)
	}
	s := stock(t, l, "k", 5)
	for cost, want := range map[int]error{0: limiter.ErrCost, -1: limiter.ErrCost, 6: limiter.ErrNeverFits} {
		if err := s.Take(t.Context(), cost); !errors.Is(err, want) {
			t.Errorf("Take(%d) = %v, want %v", cost, err, want)
		}
	}
	if sent.n != 0 {
		t.Errorf("%d requests were sent", sent.n)
	}
	if err := s.Take(t.Context(), 1); !errors.Is(err, errRefused) {
		t.Errorf("Take without a server = %v", err)
	}
}

func TestACancelledTakeReturnsAtOnce(t *testing.T) {
	t.Parallel()
	c, srv := setup(t)
	s := stock(t, limiter.New(c, "10/s"), "k", 5)
	srv.Pause()
	defer srv.Resume()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			begun := time.Now()
			if err := s.Take(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 2*time.Second {
				t.Errorf("Take = %v after %v", err, time.Since(begun))
			}
		})
	}
	wg.Wait()
}

// TestAStockTakesWithoutAllocating also prints how fast it is; BenchmarkStock
// measures it.
func TestAStockTakesWithoutAllocating(t *testing.T) {
	c, _ := setup(t)
	s := stock(t, limiter.New(c, "2000000/d"), "k", 2_000_000)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100_000, func() {
		if err := s.Take(ctx, 1); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
	begun := time.Now()
	const n = 1_000_000
	for range n {
		if err := s.Take(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%.1f M decisions a second on one of %d cores", n/time.Since(begun).Seconds()/1e6, runtime.NumCPU())
}
