package intent_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/intent"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup starts a server and returns n clients of it, which stand for as many
// processes.
func setup(t *testing.T, n int) (*servers.Server, []*redisx.Client) {
	t.Helper()
	s := serverstest.Start(t)
	return s, dstest.Clients(t, s, n)
}

func TestGetOrComputeComputesOnceForAllProcesses(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 3)
	var runs atomic.Int32
	load := func(context.Context) (map[string]int, error) {
		time.Sleep(50 * time.Millisecond)
		return map[string]int{"run": int(runs.Add(1))}, nil
	}
	round := func(want int) {
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				v, err := intent.GetOrCompute(t.Context(), cs[i%3], "k", time.Minute, load, intent.Stale(time.Second))
				if v["run"] != want || err != nil {
					t.Errorf("got %v, %v, want run %d", v, err, want)
				}
			})
		}
		wg.Wait()
	}
	round(1)
	round(1)
	if got := dstest.Cmd(t, cs[0], "GET", "k").Text(); got != `{"run":1}` {
		t.Errorf("GET k = %s", got)
	}
	if err := intent.Invalidate(t.Context(), cs[2], "k"); err != nil {
		t.Fatal(err)
	}
	if got := dstest.Cmd(t, cs[0], "GET", "k").Text(); got != "" {
		t.Errorf("after Invalidate, GET k = %s", got)
	}
	round(2)
	var e *aside.OptionError
	if _, err := intent.GetOrCompute(t.Context(), cs[0], "k", 0, load); !errors.As(err, &e) {
		t.Errorf("with a ttl of 0: %v", err)
	}
}

func TestRateLimitAdmitsTheBurstAndThenSaysWhen(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	for i := range 20 {
		if err := intent.RateLimit(t.Context(), cs[i%2], "api:/users", "100/h", intent.Burst(20)); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	err := intent.RateLimit(t.Context(), cs[0], "api:/users", "100/h", intent.Burst(20))
	var limited *limiter.LimitedError
	if !errors.As(err, &limited) || limited.RetryAfter <= 0 || limited.RetryAfter > 36*time.Second {
		t.Fatalf("call 21: %v, want a LimitedError that fits within 36s", err)
	}
	if !strings.Contains(limited.Explain(), "Wait") {
		t.Errorf("it explains itself as %q", limited.Explain())
	}
	if err := intent.RateLimit(t.Context(), cs[0], "api:/orders", "100/h", intent.Burst(20)); err != nil {
		t.Errorf("another key: %v", err)
	}
	var rate *limiter.RateError
	if err := intent.RateLimit(t.Context(), cs[0], "k", "many"); !errors.As(err, &rate) {
		t.Errorf("a rate that is none: %v", err)
	}
}

func TestLeaseLockLetsOneInAtATime(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 3)
	var inside, runs atomic.Int32
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			err := intent.LeaseLock(t.Context(), cs[i%3], "file", func(ctx context.Context) error {
				if inside.Add(1) != 1 {
					t.Error("two are inside")
				}
				defer inside.Add(-1)
				runs.Add(1)
				return ctx.Err()
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := runs.Load(); n != 30 {
		t.Errorf("%d runs, want 30", n)
	}
}

func TestLeaseLockGivesBackWhatFnReturnsAndTheLease(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	errWork := errors.New("work failed")
	if err := intent.LeaseLock(t.Context(), cs[0], "a", func(context.Context) error { return errWork }); err != errWork {
		t.Errorf("got %v, want fn's own error", err)
	}
	func() {
		defer func() {
			if recover() != errWork {
				t.Error("the panic did not come through")
			}
		}()
		intent.LeaseLock(t.Context(), cs[0], "a", func(context.Context) error { panic(errWork) })
	}()
	began := time.Now()
	err := intent.LeaseLock(t.Context(), cs[0], "a", func(ctx context.Context) error {
		return intent.LeaseLock(ctx, cs[0], "a", func(context.Context) error { return nil })
	})
	if !errors.Is(err, lease.ErrReentrant) || time.Since(began) > 5*time.Second {
		t.Errorf("a lock inside itself: %v after %v", err, time.Since(began))
	}
}

func TestLeaseLockSaysWhoHoldsItWhenTheWaitEnds(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	err := intent.LeaseLock(t.Context(), cs[0], "a", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		err := intent.LeaseLock(ctx, cs[1], "a", func(context.Context) error { t.Error("got in"); return nil })
		var held *lease.HeldError
		if !errors.As(err, &held) || held.Owner != "web-3" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a HeldError that names web-3", err)
		}
		return nil
	}, lease.Owner("web-3"))
	if err != nil {
		t.Error(err)
	}
}

func TestLeaseLockReturnsTheLossEvenWhenFnIsContent(t *testing.T) {
	t.Parallel()
	const ttl = 1500 * time.Millisecond
	for _, tt := range []struct {
		name, reason string
		lose         func(t *testing.T, s *servers.Server, c *redisx.Client)
		after        func(t *testing.T, s *servers.Server)
	}{
		{"flushed", "gone", func(t *testing.T, _ *servers.Server, c *redisx.Client) { dstest.Cmd(t, c, "FLUSHALL") }, nil},
		// The release gets no answer, and must not hide the loss.
		{"killed", "expired", func(_ *testing.T, s *servers.Server, _ *redisx.Client) { s.Kill() }, nil},
		{"frozen", "expired", func(t *testing.T, s *servers.Server, _ *redisx.Client) {
			if err := s.Pause(); err != nil {
				t.Error(err)
			}
		}, func(t *testing.T, s *servers.Server) {
			if err := s.Resume(); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, cs := setup(t, 1)
			errWork := errors.New("work failed")
			for _, returned := range []error{nil, errWork} {
				if returned != nil && tt.name == "killed" {
					break // the server is gone
				}
				err := intent.LeaseLock(t.Context(), cs[0], "a", func(ctx context.Context) error {
					tt.lose(t, s, cs[0])
					began := time.Now()                   // nothing was renewed since then
					dstest.EndsWithin(t, ctx, began, ttl) // then others may be let in
					if tt.after != nil {
						tt.after(t, s)
					}
					return returned
				}, lease.TTL(ttl))
				var lost *lease.LostError
				if !errors.As(err, &lost) || lost.Reason != tt.reason || returned != nil && !errors.Is(err, returned) {
					t.Errorf("fn returned %v, LeaseLock %v; want a LostError (%s) beside it", returned, err, tt.reason)
				}
			}
		})
	}
}
