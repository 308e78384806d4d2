package aside

import (
	"testing"
	"time"

	"github.com/redisx/redisx/resp3"
)

// What is done about a reading, by its state and by the options.
func TestJudge(t *testing.T) {
	const s = time.Second
	value := func(fresh, took, quiet time.Duration) reading {
		return reading{state: stateValue, fresh: fresh, took: took, quiet: quiet, version: "v", tags: "g"}
	}
	for _, tt := range []struct {
		name string
		o    options
		tags []string
		r    reading
		now  string // the generations
		want verdict
		over string
	}{
		{"what is not there is computed", options{}, nil, reading{}, "", miss, ""},
		{"what is fresh is served", options{early: 0.2}, nil, value(9*s, s, 0), "", hit, ""},
		{"what is about to end is refreshed", options{early: 0.2}, nil, value(1, s, 0), "", refresh, "v"},
		{"but not when that has just failed", options{early: 0.2}, nil, value(1, s, 1), "", hit, ""},
		{"and not without Early", options{}, nil, value(1, s, 0), "", hit, ""},
		{"what has ended is computed", options{}, nil, value(0, s, 0), "", miss, "v"},
		{"within Stale it is served and refreshed", options{stale: 2 * s}, nil, value(-s, s, 0), "", refresh, "v"},
		{"but not when that has just failed", options{stale: 2 * s}, nil, value(-s, s, 1), "", hit, ""},
		{"beyond Stale it is computed", options{stale: 2 * s}, nil, value(-3*s, s, 0), "", miss, "v"},
		{"within StaleIfError it is the last resort", options{stale: s, staleIfError: 3 * s}, nil, value(-2*s, s, 0), "", lastResort, "v"},
		{"and served when a compute has just failed", options{staleIfError: 3 * s}, nil, value(-2*s, s, 1), "", hit, ""},
		{"that there is nothing is told", options{}, nil, reading{state: stateAbsent, fresh: s, version: "v"}, "", none, ""},
		{"another program's value is served", options{}, nil, reading{state: stateForeign, version: foreign}, "", hit, ""},
		{"a value of the tag's generation is served", options{}, []string{"t"}, value(9*s, s, 0), "g", hit, ""},
		{"one of an older generation is computed", options{stale: s, staleIfError: s}, []string{"t"}, value(9*s, s, 0), "h", miss, "v"},
		{"also when the generation is gone", options{}, []string{"t"}, value(9*s, s, 0), "", miss, "v"},
		{"another program's value has no generation", options{}, []string{"t"}, reading{state: stateForeign, version: foreign}, "g", miss, foreign},
		{"nor does what is not there", options{}, []string{"t"}, reading{state: stateAbsent, fresh: s, version: "v"}, "g", miss, "v"},
	} {
		c := &call{options: tt.o, ttl: 10 * s, tags: tt.tags}
		if got, over := c.judge(tt.r, tt.now); got != tt.want || over != tt.over {
			t.Errorf("%s: %d over %q, want %d over %q", tt.name, got, over, tt.want, tt.over)
		}
	}
}

// The window is min(20 % of the ttl, 4 computes); in it, the less is left the
// likelier, and at the end certain.
func TestARefreshIsDrawnWithinItsWindow(t *testing.T) {
	const s = time.Second
	c := &call{options: options{early: 0.2}, ttl: 10 * s}
	if w := c.window(s); w != 2*s {
		t.Errorf("the window of a long compute is %v", w)
	}
	if w := c.window(100 * time.Millisecond); w != 400*time.Millisecond {
		t.Errorf("the window of a short compute is %v", w)
	}
	share := func(left time.Duration) float64 {
		n := 0
		for range 20_000 {
			if early(left, s, 2*s) {
				n++
			}
		}
		return float64(n) / 20_000
	}
	// P(−ln U ≥ left/δ) = e^(−left/δ)
	for left, want := range map[time.Duration]float64{2 * s: 0, 3 * s: 0, s: 0.368, s / 2: 0.607, 0: 1} {
		if got := share(left); got < want-0.02 || got > want+0.02 {
			t.Errorf("with %v left %.3f of the calls refresh, want %.3f", left, got, want)
		}
	}
}

func TestAnswersThatAreNoneAreErrors(t *testing.T) {
	for _, text := range []string{
		"_\r\n", "+OK\r\n", ":10\r\n", "*0\r\n", "*1\r\n:4\r\n", "*1\r\n:-1\r\n", "*1\r\n$1\r\nx\r\n", "*2\r\n:1\r\n$1\r\nx\r\n",
		"*8\r\n:1\r\n$1\r\nv\r\n:1\r\n:1\r\n:1\r\n:1\r\n$1\r\nv\r\n*0\r\n", "*2\r\n:11\r\n:5\r\n", "*8\r\n:1\r\n$1\r\nv\r\n$1\r\nx\r\n:1\r\n:1\r\n:1\r\n$1\r\nv\r\n$0\r\n\r\n",
	} {
		v := resp3.NewView([]byte(text))
		if _, err := decodeReading(v); err == nil && text != "*1\r\n:11\r\n" {
			t.Errorf("%q is a reading", text)
		}
		if _, err := decodeInfo(v); err == nil {
			t.Errorf("%q is an Info", text)
		}
	}
}
