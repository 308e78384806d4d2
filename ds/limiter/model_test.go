package limiter_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redisx/redisx/ds/limiter"
)

// model is GCRA by the book, in fractions: a theoretical arrival time that moves
// by one interval a call and may run ahead of now by burst intervals. It shares
// nothing with the script, which counts a debt in whole numbers.
type model struct {
	interval, window *big.Rat // µs for one call, for a full burst
	tat              *big.Rat // µs
}

func newModel(r limiter.Rate) *model {
	interval := big.NewRat(r.Per.Microseconds(), int64(r.Count))
	window := new(big.Rat).Mul(interval, big.NewRat(int64(r.Burst), 1))
	return &model{interval: interval, window: window, tat: new(big.Rat)}
}

// answer is what a Decision says, without what it merely repeats.
type answer struct {
	allowed      bool
	remaining    int
	retry, reset time.Duration
}

func answerOf(d limiter.Decision) answer {
	return answer{d.Allowed, d.Remaining, d.RetryAfter, d.ResetAfter}
}

// allow decides a call at a time of the server. Cost 0 asks about a call of 1.
func (m *model) allow(at time.Time, cost int) answer {
	now := big.NewRat(at.UnixMicro(), 1)
	tat := new(big.Rat).Set(m.tat)
	if tat.Cmp(now) < 0 {
		tat.Set(now)
	}
	next := new(big.Rat).Mul(m.interval, big.NewRat(int64(max(cost, 1)), 1))
	next.Add(next, tat)
	limit := new(big.Rat).Add(now, m.window)
	a := answer{allowed: next.Cmp(limit) <= 0}
	if !a.allowed {
		a.retry = micros(new(big.Rat).Sub(next, limit))
	} else if cost > 0 {
		tat.Set(next)
		m.tat.Set(next)
	}
	left := new(big.Rat).Sub(limit, tat)
	left.Quo(left, m.interval)
	a.remaining = int(new(big.Int).Quo(left.Num(), left.Denom()).Int64())
	a.reset = micros(tat.Sub(tat, now))
	return a
}

// micros rounds up.
func micros(r *big.Rat) time.Duration {
	n := new(big.Int).Add(r.Num(), new(big.Int).Sub(r.Denom(), big.NewInt(1)))
	return time.Duration(n.Quo(n, r.Denom()).Int64()) * time.Microsecond
}

// drawRate draws rules that fill within milliseconds, so that a run sees full,
// empty and expired buckets, and rules whose interval is no whole microsecond.
func drawRate(t *rapid.T) limiter.Rate {
	return limiter.Rate{
		Count: rapid.SampledFrom([]int{1, 3, 7, 10, 1000, 999_983}).Draw(t, "count"),
		Per:   rapid.SampledFrom([]time.Duration{time.Millisecond, 7 * time.Millisecond, 100 * time.Millisecond, time.Second, 24 * time.Hour}).Draw(t, "per"),
		Burst: rapid.IntRange(1, 20).Draw(t, "burst"),
	}
}

func TestDecisionsEqualTheModel(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run, calls, denied := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		key := fmt.Sprint("model:", run)
		rate := drawRate(rt)
		l := limiter.New(c, rate.String())
		m := newModel(rate)
		var last limiter.Decision
		rt.Repeat(map[string]func(*rapid.T){
			"allow": func(rt *rapid.T) {
				for _, cost := range rapid.SliceOfN(rapid.IntRange(0, rate.Burst), 1, 8).Draw(rt, "costs") {
					d, err := l.AllowN(t.Context(), key, cost)
					if err != nil {
						rt.Fatal(err)
					}
					if got, want := answerOf(d), m.allow(d.At, cost); got != want {
						rt.Fatalf("%v, cost %d at %d: got %+v, want %+v", rate, cost, d.At.UnixMicro(), got, want)
					}
					if d.Limit != rate.Burst {
						rt.Fatalf("Limit = %d, want %d", d.Limit, rate.Burst)
					}
					last = d
					calls++
					if !d.Allowed {
						denied++
					}
				}
			},
			"wait": func(rt *rapid.T) {
				time.Sleep(time.Duration(rapid.IntRange(0, 1500).Draw(rt, "µs")) * time.Microsecond)
			},
			"wait until it fits": func(rt *rapid.T) {
				if last.RetryAfter > 5*time.Millisecond {
					rt.Skip("too long")
				}
				time.Sleep(last.RetryAfter)
			},
		})
	})
	if calls < 1000 || denied < calls/20 || denied > calls*19/20 {
		t.Errorf("%d calls, %d denied: the rules drawn do not test both", calls, denied)
	}
	t.Logf("%d decisions (%d denials) in %d runs equal the model", calls, denied, run)
}

// TestChangedRules replays rules that change under one key. What must hold at a
// change: calls in use stay in use, at most a burst of them, and nothing is
// stuck for longer than the new rule takes to fill.
func TestChangedRules(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, tt := range []struct {
		name      string
		old, new  string
		spend     int
		remaining int           // after the change
		reset     time.Duration // at most, after the change
	}{
		{"a faster rate keeps the calls in use", "100/h burst 10", "1000/h burst 10", 4, 6, 4 * 3600 * time.Millisecond},
		{"a slower rate keeps them too", "1000/h burst 10", "100/h burst 10", 4, 6, 4 * 36 * time.Second},
		{"a larger burst has more room", "10/h burst 10", "10/h burst 100", 10, 90, 10 * 6 * time.Minute},
		{"a smaller burst is used up, not overdrawn", "100/h burst 100", "100/h burst 20", 90, 0, 20 * 36 * time.Second},
		{"days of debt are not waited for at a rate of minutes", "1/h burst 100", "60/h burst 20", 100, 0, 20 * time.Minute},
		{"the same rule in other words", "60/h burst 5", "1/m burst 5", 3, 2, 3 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, err := limiter.New(c, tt.old).AllowN(t.Context(), tt.name, tt.spend)
			if err != nil || !d.Allowed {
				t.Fatalf("AllowN = %+v, %v", d, err)
			}
			d, err = limiter.New(c, tt.new).Peek(t.Context(), tt.name)
			if err != nil {
				t.Fatal(err)
			}
			if d.Remaining != tt.remaining || d.ResetAfter > tt.reset || d.ResetAfter < tt.reset-tt.reset/10 {
				t.Errorf("after %s came %s: remaining %d, full in %v, want %d, just under %v", tt.old, tt.new, d.Remaining, d.ResetAfter, tt.remaining, tt.reset)
			}
			if (tt.remaining == 0) == d.Allowed {
				t.Errorf("Allowed = %v with %d remaining", d.Allowed, d.Remaining)
			}
		})
	}
}
