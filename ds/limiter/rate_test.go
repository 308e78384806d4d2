package limiter_test

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redisx/redisx/ds/limiter"
)

func TestParseRate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want limiter.Rate
	}{
		{"100/m", limiter.Rate{Count: 100, Per: time.Minute}},
		{"50/s", limiter.Rate{Count: 50, Per: time.Second}},
		{"10/h", limiter.Rate{Count: 10, Per: time.Hour}},
		{"3/day", limiter.Rate{Count: 3, Per: 24 * time.Hour}},
		{"5/500ms", limiter.Rate{Count: 5, Per: 500 * time.Millisecond}},
		{"1/1h30m", limiter.Rate{Count: 1, Per: 90 * time.Minute}},
		{"50/s burst 100", limiter.Rate{Count: 50, Per: time.Second, Burst: 100}},
		{" 7 / min  burst  9 ", limiter.Rate{Count: 7, Per: time.Minute, Burst: 9}},
		{"52000/d burst 52000", limiter.Rate{Count: 52000, Per: 24 * time.Hour, Burst: 52000}},
	} {
		got, err := limiter.ParseRate(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseRate(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
}

func TestParseRateRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "100", "/m", "100/", "0/m", "-1/m", "1.5/s", "NaN/s", "+Inf/s", "1e3/s", "1/fortnight", "1/0s", "1/-1s", "1/1ns",
		"1/1500ns", "5/s burst", "5/s burst 0", "5/s burst -1", "5/s burst x", "5/s burst 1 burst 2", "99999999999999999999/s",
		"1/d burst 53000", "1/us burst " + strconv.Itoa(math.MaxInt64), "1/µs burst 4503599627370497",
	} {
		_, err := limiter.ParseRate(in)
		var bad *limiter.RateError
		if !errors.As(err, &bad) || bad.Rate != in || bad.Reason == "" {
			t.Errorf("ParseRate(%q): %v, want a *RateError about it", in, err)
			continue
		}
		if !strings.Contains(bad.Explain(), bad.Reason) {
			t.Errorf("Explain() = %q, does not say %q", bad.Explain(), bad.Reason)
		}
	}
}

func TestRateReadsBackItsText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := limiter.Rate{
			Count: rapid.IntRange(1, 1_000_000).Draw(t, "count"),
			Per:   time.Duration(rapid.Int64Range(1, 86_400_000_000).Draw(t, "µs")) * time.Microsecond,
			Burst: rapid.IntRange(1, 50_000).Draw(t, "burst"),
		}
		if out, err := limiter.ParseRate(in.String()); err != nil || out != in {
			t.Fatalf("ParseRate(%q) = %+v, %v, want %+v", in.String(), out, err, in)
		}
	})
}
