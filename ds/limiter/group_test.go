package limiter_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// TestRulesAdmitTogetherOrNotAtAll is scenario LI4, with hours for seconds, so
// that nothing comes back while it runs.
func TestRulesAdmitTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	serverstest.EachRequired(t, func(t *testing.T, f servers.Flavor) {
		t.Parallel()
		c, _ := setup(t, servers.Options{Flavor: f})
		for _, algorithm := range []limiter.Algorithm{limiter.GCRA, limiter.TokenBucket, limiter.FixedWindow, limiter.SlidingWindow} {
			g := limiter.NewGroup(c, "api "+string(algorithm), []limiter.Rule{
				{Name: "user", Rate: "10/d", Algorithm: algorithm},
				{Name: "tenant", Rate: "15/d", Algorithm: algorithm},
			})
			var admitted, byTenant atomic.Int64
			var wg sync.WaitGroup
			for _, user := range []string{"ada", "bob"} {
				for range 10 {
					wg.Go(func() {
						d, err := g.Allow(t.Context(), user, "acme")
						switch {
						case err != nil:
							t.Errorf("Allow: %v", err)
						case d.Allowed:
							admitted.Add(1)
						case d.Rule == "tenant":
							byTenant.Add(1)
						}
						var limited *limiter.LimitedError
						if !d.Allowed && (!errors.As(d.Err(), &limited) || limited.Rule != "tenant" || limited.Key != "acme" || limited.Rate.Count != 15) {
							t.Errorf("Err() = %v, want the rule tenant and its key", d.Err())
						}
					})
				}
			}
			wg.Wait()
			if admitted.Load() != 15 || byTenant.Load() != 5 {
				t.Errorf("%s: %d admitted, %d denied by tenant, want 15 and 5", algorithm, admitted.Load(), byTenant.Load())
			}
			// What was denied is charged to neither: the users have 5 left between them.
			left := int64(0)
			for _, user := range []string{"ada", "bob"} {
				infos, err := g.Inspect(t.Context(), user, "acme")
				if err != nil || len(infos) != 2 || infos[0].Rule != "user" || infos[1].Left != 0 {
					t.Fatalf("Inspect = %+v, %v", infos, err)
				}
				if infos[0].Burst > 0 {
					left += infos[0].Left
				} else {
					left += 10
				}
			}
			if left != 5 {
				t.Errorf("%s: the users have %d calls left, want 5", algorithm, left)
			}
		}
	})
}

func TestAGroupTellsOfTheRuleThatMatters(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	g := limiter.NewGroup(c, "g", []limiter.Rule{{Name: "small", Rate: "3/h"}, {Name: "large", Rate: "100/h"}})
	d, err := g.Allow(t.Context(), "a", "b")
	if err != nil || d.Rule != "small" || d.Remaining != 2 || d.Limit != 3 {
		t.Errorf("Allow = %+v, %v, want the rule with the fewest left", d, err)
	}
	if d, err = g.AllowN(t.Context(), 4, "a", "b"); !errors.Is(err, limiter.ErrNeverFits) {
		t.Errorf("AllowN(4) = %+v, %v", d, err)
	}
	var never *limiter.NeverFitsError
	if errors.As(err, &never); never == nil || never.Rule != "small" || never.Key != "a" {
		t.Errorf("NeverFitsError = %+v", never)
	}
	if _, err := g.Allow(t.Context(), "a"); err == nil {
		t.Error("one key for two rules was accepted")
	}
	keys := raw(t, c, "EVAL", "return table.concat(redis.call('KEYS', '*'), ' ')", "0")
	for _, k := range strings.Fields(keys) {
		if !strings.HasPrefix(k, "{redisx:limiter:g}:rule:") {
			t.Errorf("the key %s is not in the group's hash slot", k)
		}
	}
}

func TestBadGroupsAreReportedByEveryCall(t *testing.T) {
	t.Parallel()
	var sent failing
	for name, g := range map[string]*limiter.Group{
		"no rules":    limiter.NewGroup(&sent, "g", nil),
		"a name":      limiter.NewGroup(&sent, "g", []limiter.Rule{{Name: "a:b", Rate: "1/s"}}),
		"twins":       limiter.NewGroup(&sent, "g", []limiter.Rule{{Name: "a", Rate: "1/s"}, {Name: "a", Rate: "1/s"}}),
		"a rate":      limiter.NewGroup(&sent, "g", []limiter.Rule{{Name: "a", Rate: "1"}}),
		"a window":    limiter.NewGroup(&sent, "g", []limiter.Rule{{Name: "a", Rate: "1/s burst 2", Algorithm: limiter.SlidingWindow}}),
		"no such way": limiter.NewGroup(&sent, "g", []limiter.Rule{{Name: "a", Rate: "1/s", Algorithm: "leaky"}}),
		"a burst":     limiter.NewGroup(&sent, "g", []limiter.Rule{{Name: "a", Rate: "1/s"}}, limiter.Burst(3)),
		"too many":    limiter.NewGroup(&sent, "g", make([]limiter.Rule, 9)),
	} {
		if _, err := g.Allow(t.Context(), "k"); err == nil || errors.Is(err, errRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if sent.n != 0 {
		t.Errorf("%d requests were sent", sent.n)
	}
}

// TestAWaitForSeveralRulesKeepsAllOfThem: who waits for one rule is counted by
// the others at the time of its slot, not before.
func TestAWaitForSeveralRulesKeepsAllOfThem(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range []limiter.Algorithm{limiter.GCRA, limiter.TokenBucket, limiter.FixedWindow, limiter.SlidingWindow} {
		g := limiter.NewGroup(c, string(algorithm), []limiter.Rule{
			{Name: "slow", Rate: "1/100ms", Algorithm: limiter.GCRA},
			{Name: "other", Rate: "4/200ms", Algorithm: algorithm},
		})
		var mu sync.Mutex
		var last time.Time
		begun := time.Now()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := g.Wait(t.Context(), 1, "a", "b"); err != nil {
					t.Errorf("Wait: %v", err)
				}
				mu.Lock()
				last = time.Now()
				mu.Unlock()
			})
		}
		wg.Wait()
		if span := last.Sub(begun); span < 700*time.Millisecond {
			t.Errorf("%s: 8 calls within %v, want 7 x 100 ms", algorithm, span)
		}
	}
}
