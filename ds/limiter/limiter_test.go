package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

const bucket = "{redisx:limiter:api:/users}:bucket"

func TestAllowCountsDown(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "6/m", limiter.Burst(3))
	for i, want := range []answer{{true, 2, 0, 0}, {true, 1, 0, 0}, {true, 0, 0, 0}, {false, 0, 1, 0}} {
		d, err := l.Allow(t.Context(), "api:/users")
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed != want.allowed || d.Remaining != want.remaining || (d.RetryAfter > 0) != (want.retry > 0) || d.Limit != 3 {
			t.Errorf("call %d: %+v, want %+v of 3", i, d, want)
		}
		if d.ResetAfter <= 0 || d.ResetAfter > 30*time.Second || d.RetryAfter > 10*time.Second {
			t.Errorf("call %d: %+v: times beyond what the rule allows", i, d)
		}
		var limited *limiter.LimitedError
		if err := d.Err(); errors.As(err, &limited) == d.Allowed || errors.Is(err, limiter.ErrLimited) == d.Allowed {
			t.Errorf("call %d: Err() = %v with Allowed = %v", i, err, d.Allowed)
		}
		if limited != nil && (limited.Key != "api:/users" || limited.RetryAfter != d.RetryAfter || limited.Rate != l.Rate()) {
			t.Errorf("LimitedError = %+v", limited)
		}
	}
	if got := raw(t, c, "GET", bucket); !strings.HasPrefix(got, "limiter/1 1 10000000 3 ") {
		t.Errorf("the value %q does not describe itself", got)
	}
}

func TestBurstDefaultsToTheCount(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for rate, want := range map[string]int{"7/m": 7, "7/m burst 9": 9} {
		d, err := limiter.New(c, rate).Peek(t.Context(), rate)
		if err != nil || d.Limit != want || d.Remaining != want {
			t.Errorf("%s: Peek = %+v, %v, want a burst of %d", rate, d, err, want)
		}
	}
}

// TestCostThatNeverFits is scenario LI2.
func TestCostThatNeverFits(t *testing.T) {
	t.Parallel()
	serverstest.EachRequired(t, func(t *testing.T, f servers.Flavor) {
		c, _ := setup(t, servers.Options{Flavor: f})
		l := limiter.New(c, "10/m", limiter.Burst(5))
		if d, err := l.AllowN(t.Context(), "api:/users", 2); err != nil || !d.Allowed {
			t.Fatalf("AllowN = %+v, %v", d, err)
		}
		before := raw(t, c, "GET", bucket)
		_, err := l.AllowN(t.Context(), "api:/users", 20)
		var never *limiter.NeverFitsError
		if !errors.Is(err, limiter.ErrNeverFits) || !errors.As(err, &never) || never.Cost != 20 || never.Rate.Burst != 5 {
			t.Errorf("AllowN(20) of a burst of 5: %v, want a *NeverFitsError", err)
		}
		if _, err := l.AllowN(t.Context(), "api:/users", -1); !errors.Is(err, limiter.ErrCost) {
			t.Errorf("AllowN(-1): %v, want ErrCost", err)
		}
		if after := raw(t, c, "GET", bucket); after != before {
			t.Errorf("the state changed from %q to %q", before, after)
		}
		if d, err := l.AllowN(t.Context(), "other", 5); err != nil || !d.Allowed || d.Remaining != 0 {
			t.Errorf("a cost of exactly the burst: %+v, %v", d, err)
		}
	})
}

// TestDenialsAreFree is scenario LI3.
func TestDenialsAreFree(t *testing.T) {
	t.Parallel()
	serverstest.EachRequired(t, func(t *testing.T, f servers.Flavor) {
		t.Parallel()
		c, _ := setup(t, servers.Options{Flavor: f})
		l := limiter.New(c, "12/d", limiter.Burst(2))
		if d, err := l.AllowN(t.Context(), "api:/users", 2); err != nil || !d.Allowed {
			t.Fatalf("AllowN = %+v, %v", d, err)
		}
		before := raw(t, c, "GET", bucket)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range 200 {
					if d, err := l.Allow(t.Context(), "api:/users"); err != nil || d.Allowed || d.Remaining != 0 {
						t.Errorf("Allow of an empty bucket: %+v, %v", d, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if after := raw(t, c, "GET", bucket); after != before {
			t.Errorf("10 000 denials changed the state from %q to %q", before, after)
		}
		quick := limiter.New(c, "2/s", limiter.Burst(1))
		var d limiter.Decision
		for range 100 { // of which the last one counts
			var err error
			if d, err = quick.Allow(t.Context(), "quick"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(d.RetryAfter) // real time of a real server
		if d, err := quick.Allow(t.Context(), "quick"); err != nil || !d.Allowed {
			t.Errorf("after RetryAfter: %+v, %v, want it admitted", d, err)
		}
	})
}

func TestKeyLivesUntilTheBucketIsFull(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "1/s", limiter.Burst(3))
	d, err := l.AllowN(t.Context(), "api:/users", 2)
	if err != nil {
		t.Fatal(err)
	}
	at, err := strconv.ParseInt(raw(t, c, "PEXPIRETIME", bucket), 10, 64)
	full := d.At.Add(d.ResetAfter)
	if gap := time.UnixMilli(at).Sub(full); err != nil || gap < 0 || gap > 2*time.Millisecond {
		t.Errorf("the key ends %v after the bucket is full (%v), want 0 to 2ms", gap, err)
	}
}

func TestPeekChangesNothing(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "1/m", limiter.Burst(2))
	if d, err := l.Peek(t.Context(), "api:/users"); err != nil || !d.Allowed || d.Remaining != 2 || d.ResetAfter != 0 {
		t.Errorf("Peek of a full bucket = %+v, %v", d, err)
	}
	if n := raw(t, c, "EXISTS", bucket); n != "0" {
		t.Error("Peek of a full bucket made a key")
	}
	if _, err := l.Allow(t.Context(), "api:/users"); err != nil {
		t.Fatal(err)
	}
	before := raw(t, c, "GET", bucket)
	if d, err := l.AllowN(t.Context(), "api:/users", 0); err != nil || !d.Allowed || d.Remaining != 1 {
		t.Errorf("AllowN(0) = %+v, %v, want a look at the one call left", d, err)
	}
	if after := raw(t, c, "GET", bucket); after != before {
		t.Errorf("a look changed the state from %q to %q", before, after)
	}
}

// TestServerClockStepsBack plants states noted in the future, which is what a
// bucket looks like after the server's clock stepped back. The rule drains one
// call a minute and fills within five.
func TestServerClockStepsBack(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "1/m", limiter.Burst(5))
	for _, tt := range []struct {
		name    string
		by      time.Duration
		debt    int // calls in use
		allowed bool
		retry   time.Duration // at most; at least a tenth less
	}{
		{"a short step drains nothing, and what is left is given", 3 * time.Minute, 4, true, 0},
		{"a short step with none left waits for the clock as well", 3 * time.Minute, 5, false, 4 * time.Minute},
		{"a long step is not waited for", time.Hour, 5, false, time.Minute},
		{"a long step is no gift", time.Hour, 4, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, err := l.Peek(t.Context(), tt.name)
			if err != nil {
				t.Fatal(err)
			}
			key := "{redisx:limiter:" + tt.name + "}:bucket"
			future := fmt.Sprintf("limiter/1 1 60000000 5 %d ", d.At.Add(tt.by).UnixMicro())
			raw(t, c, "SET", key, future+fmt.Sprint(tt.debt*60_000_000))
			d, err = l.Allow(t.Context(), tt.name)
			if err != nil || d.Allowed != tt.allowed || d.RetryAfter > tt.retry || d.RetryAfter < tt.retry*9/10 {
				t.Errorf("Allow = %+v, %v, want allowed %v, retry after %v", d, err, tt.allowed, tt.retry)
			}
			if d.Remaining != 0 {
				t.Errorf("Remaining = %d, want 0: no credit for time that did not pass", d.Remaining)
			}
			if d.ResetAfter > 9*time.Minute {
				t.Errorf("ResetAfter = %v, want within the step and a fill", d.ResetAfter)
			}
			if tt.by == time.Hour && strings.HasPrefix(raw(t, c, "GET", key), future) {
				t.Error("the debt still counts from the future")
			}
		})
	}
}

func TestForeignStateIsRefused(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "1/s")
	for _, value := range []string{"", "hello", "limiter/2 1 1 1 1 1", "limiter/1 1 1000000 1 -5 0"} {
		raw(t, c, "SET", bucket, value)
		_, err := l.Allow(t.Context(), "api:/users")
		if !command.IsCode(err, "WRONGSTATE") {
			t.Errorf("with the value %q: %v, want WRONGSTATE", value, err)
		}
		if got := raw(t, c, "GET", bucket); got != value {
			t.Errorf("the value %q became %q", value, got)
		}
	}
	raw(t, c, "DEL", bucket)
	raw(t, c, "LPUSH", bucket, "x")
	if _, err := l.Allow(t.Context(), "api:/users"); !command.IsCode(err, "WRONGTYPE") {
		t.Errorf("with a list: %v, want WRONGTYPE", err)
	}
}

func TestBadRateIsReportedByEveryCall(t *testing.T) {
	t.Parallel()
	var sent failing
	for _, l := range []*limiter.Limiter{
		limiter.New(&sent, "100"),
		limiter.New(&sent, "100/m", limiter.Burst(0)),
		limiter.New(&sent, "1/d", limiter.Burst(60_000)),
	} {
		for range 2 {
			_, err := l.Allow(t.Context(), "k")
			var bad *limiter.RateError
			if !errors.As(err, &bad) {
				t.Errorf("Allow: %v, want a *RateError", err)
			}
		}
	}
	if sent.n != 0 {
		t.Errorf("%d requests were sent", sent.n)
	}
}

var errRefused = errors.New("refused")

// failing counts requests and answers none.
type failing struct{ n int }

func (f *failing) Do(context.Context, command.Request) (command.Reply, error) {
	f.n++
	return command.Reply{}, errRefused
}

func TestServerErrorsAreErrors(t *testing.T) {
	t.Parallel()
	d, err := limiter.New(&failing{}, "1/s").Allow(t.Context(), "k")
	if !errors.Is(err, errRefused) || d.Allowed {
		t.Errorf("Allow = %+v, %v, want the client's error and no admission", d, err)
	}
}

// TestFullServer: a server that is out of memory still denies and shows; only
// what it would have to note fails, as an error and not as an admission.
func TestFullServer(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, servers.Options{Args: []string{"--maxmemory-policy", "noeviction"}})
	l := limiter.New(c, "1/m", limiter.Burst(1))
	if _, err := l.Allow(t.Context(), "api:/users"); err != nil {
		t.Fatal(err)
	}
	raw(t, c, "CONFIG", "SET", "maxmemory", "1")
	if d, err := l.Allow(t.Context(), "api:/users"); err != nil || d.Allowed {
		t.Errorf("an empty bucket on a full server: %+v, %v, want a denial", d, err)
	}
	if d, err := l.Allow(t.Context(), "other"); err == nil || d.Allowed {
		t.Errorf("a full bucket on a full server: %+v, %v, want an error", d, err)
	}
}

// localTime may use a clock of this process: what decides without the server, or
// may only give up sooner.
var localTime = map[string]bool{"fallback.go": true, "stock.go": true, "wait.go": true, "decide.go": true}

// TestNoLocalClock is the part of LI1 that says "clients skewed ±1 h same":
// there is no clock to skew.
func TestNoLocalClock(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	clock := regexp.MustCompile(`time\.(Now|Since|Until|After|Sleep|NewTimer|NewTicker|Tick)\b`)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") || localTime[f] {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if m := clock.Find(src); m != nil {
			t.Errorf("%s uses %s: rates are the server's time only", f, m)
		}
	}
}
