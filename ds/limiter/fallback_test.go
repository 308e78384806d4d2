package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// TestAFrozenServerIsDecidedWithout is scenario LI7.
func TestAFrozenServerIsDecidedWithout(t *testing.T) {
	t.Parallel()
	serverstest.EachRequired(t, func(t *testing.T, f servers.Flavor) {
		t.Parallel()
		c, s := setup(t, servers.Options{Flavor: f})
		limiters := map[string]*limiter.Limiter{}
		for name, fallback := range map[string]limiter.Fallback{"open": limiter.Open, "closed": limiter.Closed, "local": limiter.Local("3/h")} {
			with := limiter.New(c, "100/h", limiter.OnError(fallback), limiter.Patience(time.Minute))
			if d, err := with.Allow(t.Context(), "k"); err != nil || !d.Allowed || d.Degraded || with.Stats().Degraded != 0 {
				t.Fatalf("%s: with a server: %+v, %v", name, d, err)
			}
			limiters[name] = limiter.New(c, "100/h", limiter.OnError(fallback))
		}
		s.Pause()
		defer s.Resume()
		for name, want := range map[string][]bool{"open": {true, true, true, true, true}, "closed": {false, false}, "local": {true, true, true, false, false}} {
			l := limiters[name]
			for i, allowed := range want {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				d, err := l.Allow(ctx, "k")
				if err != nil || d.Allowed != allowed || !d.Degraded || !errors.Is(d.Cause, context.DeadlineExceeded) {
					t.Errorf("%s: call %d: %+v, %v", name, i, d, err)
				}
				if ctx.Err() != nil {
					t.Errorf("%s: call %d was decided after its deadline", name, i)
				}
				cancel()
				var limited *limiter.LimitedError
				if !allowed && (!errors.As(d.Err(), &limited) || limited.RetryAfter <= 0) {
					t.Errorf("%s: Err() = %v", name, d.Err())
				}
			}
			if st := l.Stats(); st.Degraded != int64(len(want)) || st.Admitted+st.Denied != int64(len(want)) {
				t.Errorf("%s: Stats = %+v after %d calls without a server", name, st, len(want))
			}
		}
		// Without OnError it is an error, and a cancelled call stays one.
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := limiter.New(c, "100/h").Allow(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without OnError: %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if _, err := limiters["open"].Allow(ctx, "k"); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled call: %v", err)
		}
	})
}

func TestErrorsOfTheServerAreDecidedWithout(t *testing.T) {
	t.Parallel()
	l := limiter.New(&failing{}, "1/h", limiter.OnError(limiter.Closed))
	d, err := l.Allow(t.Context(), "k")
	if err != nil || d.Allowed || !errors.Is(d.Err(), errRefused) || !errors.Is(d.Err(), limiter.ErrLimited) {
		t.Errorf("Allow = %+v, %v: %v", d, err, d.Err())
	}
	if err := l.Wait(t.Context(), "k"); !errors.Is(err, limiter.ErrLimited) {
		t.Errorf("Wait = %v", err)
	}
	l = limiter.New(&failing{}, "1/h", limiter.OnError(limiter.Open))
	if err := l.Wait(t.Context(), "k"); err != nil {
		t.Errorf("Wait with Open = %v", err)
	}
	r, err := l.Reserve(t.Context(), "k", 1)
	if err != nil || !r.Decision.Degraded || r.Settle(t.Context(), 1) != nil {
		t.Errorf("Reserve with Open = %+v, %v", r, err)
	}
	if _, err := limiter.New(&failing{}, "1/h", limiter.OnError(limiter.Local("x"))).Allow(t.Context(), "k"); err == nil || errors.Is(err, errRefused) {
		t.Errorf("with a local rate that cannot be read: %v", err)
	}
}

func TestLocalKnowsABoundedNumberOfKeys(t *testing.T) {
	t.Parallel()
	l := limiter.New(&failing{}, "1/h", limiter.OnError(limiter.Local("1/h")))
	admitted := 0
	for i := range 5000 {
		d, err := l.Allow(t.Context(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed {
			admitted++
		}
	}
	if admitted != 4096 {
		t.Errorf("%d keys were admitted, want 4096 and no more", admitted)
	}
	quick := limiter.New(&failing{}, "1/h", limiter.OnError(limiter.Local("1/ms")))
	for i := range 5000 {
		for end := time.Now().Add(5 * time.Second); ; {
			if d, err := quick.Allow(t.Context(), fmt.Sprint(i)); err == nil && d.Allowed {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("key %d is still denied: what is full again was not forgotten", i)
			}
		}
	}
}

// TestShadowRefusesNothingAndTells: it counts as ever, so that one sees.
func TestShadowRefusesNothingAndTells(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "2/h", limiter.Shadow())
	for i := range 5 {
		d, err := l.Allow(t.Context(), "k")
		if err != nil || !d.Allowed || d.Err() != nil || d.Shadowed != (i >= 2) || (d.RetryAfter > 0) != d.Shadowed {
			t.Errorf("call %d: %+v, %v", i, d, err)
		}
	}
	if err := l.Wait(t.Context(), "k"); err != nil {
		t.Errorf("Wait = %v", err)
	}
	if r, err := l.Reserve(t.Context(), "k", 1); err != nil || r.Settle(t.Context(), 1) != nil {
		t.Errorf("Reserve = %+v, %v", r, err)
	}
	if st := l.Stats(); st.Admitted != 2 || st.Shadowed != 5 || st.Denied != 0 {
		t.Errorf("Stats = %+v", st)
	}
}

// TestServerErrorsSayWhetherTheyWereCharged keeps the client's word.
func TestServerErrorsSayWhetherTheyWereCharged(t *testing.T) {
	t.Parallel()
	c, s := setup(t)
	s.Pause()
	defer s.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := limiter.New(c, "1/h").Allow(ctx, "k")
	var told *command.Error
	if !errors.As(err, &told) || told.Outcome != command.Maybe || command.SafeToRetry(err) {
		t.Errorf("a call that was sent and not answered: %v", err)
	}
}
