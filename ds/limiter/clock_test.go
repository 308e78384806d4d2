package limiter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/dstest"
)

// TestEveryAlgorithmBoundsAClockThatStepsBack plants states noted in the future,
// as they look after the server's clock stepped back: full up, by a rule that
// comes back within a minute.
func TestEveryAlgorithmBoundsAClockThatStepsBack(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, by := range []time.Duration{20 * time.Second, time.Hour} {
		for _, algorithm := range everyAlgorithm {
			key := fmt.Sprint(algorithm, by)
			l := limiter.New(c, "5/m", limiter.Using(algorithm))
			now, err := c.Time(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			at := now.Add(by).UnixMicro()
			prefix := "{redisx:limiter:" + key + "}:"
			switch algorithm {
			case limiter.GCRA:
				raw(t, c, "SET", prefix+"bucket", fmt.Sprintf("limiter/1 1 12000000 5 %d 60000000", at))
			case limiter.TokenBucket:
				raw(t, c, "SET", prefix+"tokens", fmt.Sprintf("limiter/1 5 60000000 5 %d 5", at))
			case limiter.FixedWindow:
				at -= at % 60_000_000
				raw(t, c, "SET", prefix+"window", fmt.Sprintf("limiter/1 5 60000000 5 %d 5", at))
			case limiter.SlidingWindow:
				raw(t, c, "HSET", prefix+"log", "kind", "limiter", "v", "1", "rule", "5 60000000 5", "at", fmt.Sprint(at), "used", "5",
					"head", "1", "tail", "1", "held", "0", "first", "0", "last", "0", "1", fmt.Sprintf("%d 5", at))
			}
			d, err := l.Allow(t.Context(), key)
			if err != nil || d.Remaining != 0 || d.Allowed && algorithm != limiter.FixedWindow {
				t.Errorf("%s: %+v, %v: the step back was a gift", key, d, err)
			}
			if most := min(by, time.Minute) + time.Minute; d.RetryAfter > most || d.ResetAfter > most+time.Minute {
				t.Errorf("%s: fits in %v, full in %v, want a fill and the step at most", key, d.RetryAfter, d.ResetAfter)
			}
		}
	}
}

// TestEveryAlgorithmTakesANewRuleAtOnce: what is in use stays in use, at most a
// burst of it.
func TestEveryAlgorithmTakesANewRuleAtOnce(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		key := string(algorithm)
		use := func(rate string) *limiter.Limiter { return limiter.New(c, rate, limiter.Using(algorithm)) }
		if d, err := use("100/d").AllowN(t.Context(), key, 40); err != nil || !d.Allowed {
			t.Fatal(d, err)
		}
		left(t, use("200/d"), key, 160)
		left(t, use("50/d"), key, 10)
		if d, err := use("20/d").Peek(t.Context(), key); err != nil || d.Allowed || d.Remaining != 0 || d.RetryAfter > 24*time.Hour {
			t.Errorf("%s: with a smaller burst: %+v, %v", key, d, err)
		}
		left(t, use("100/d"), key, 60)
	}
}

func TestForeignStateOfEveryAlgorithmIsRefused(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for algorithm, part := range map[limiter.Algorithm]string{limiter.TokenBucket: "tokens", limiter.FixedWindow: "window", limiter.SlidingWindow: "log"} {
		l := limiter.New(c, "5/s", limiter.Using(algorithm))
		key := "{redisx:limiter:" + string(algorithm) + "}:" + part
		for _, plant := range [][]any{{"SET", key, "hello"}, {"HSET", key, "kind", "lease"}, {"RPUSH", key, "x"}} {
			raw(t, c, "DEL", key)
			raw(t, c, plant[0].(string), plant[1:]...)
			before := raw(t, c, "DUMP", key)
			if d, err := l.Allow(t.Context(), string(algorithm)); err == nil || d.Allowed {
				t.Errorf("%s with %v: %+v, %v", algorithm, plant, d, err)
			}
			if raw(t, c, "DUMP", key) != before {
				t.Errorf("%s: %v was changed", algorithm, plant)
			}
		}
	}
}

// TestALogIsBounded: calls within a 1000th of the period share an entry, however
// many there are.
func TestALogIsBounded(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "1000000/100s", limiter.Using(limiter.SlidingWindow))
	entries := map[int64]bool{}
	for range 1000 {
		d, err := l.Allow(t.Context(), "k")
		if err != nil || !d.Allowed {
			t.Fatal(d, err)
		}
		entries[(d.At.UnixMicro()+99_999)/100_000] = true
	}
	const others = 10 // kind, v, rule and so on
	if n := dstest.Int(t, c, "HLEN", "{redisx:limiter:k}:log"); n != int64(len(entries)+others) || len(entries) > 500 {
		t.Errorf("the log has %d fields, want %d and %d", n, len(entries), others)
	}
}

// TestADecisionAllocatesLittle is the goal of two, besides what the reply of a
// batch costs.
func TestADecisionAllocatesLittle(t *testing.T) {
	c, _ := setup(t)
	l := limiter.New(c, "1000000/s")
	ctx := t.Context()
	n := testing.AllocsPerRun(2000, func() {
		if d, err := l.Allow(ctx, "user:42"); err != nil || !d.Allowed {
			t.Error(d, err)
		}
	})
	t.Logf("%v allocations a call", n)
	if n > 2 {
		t.Errorf("%v allocations a call, want 2", n)
	}
}
