package limiter_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/internal/skew"
)

// The children whose clocks are wrong are this test binary, started with these set.
const (
	skewedEnv      = "REDISX_LIMITER_SKEWED" // URL of the server
	skewedStartEnv = "REDISX_LIMITER_SKEWED_START"
	skewedEndEnv   = "REDISX_LIMITER_SKEWED_END"
)

// contest is a rule that the children call for all they can.
type contest struct {
	name      string
	algorithm limiter.Algorithm
	rate      string
	cost      int
	// most is how many calls any window admits that is so long, in µs, and
	// begins and ends with a call.
	most func(from, to int64) int
}

var contests = []contest{
	{"gcra", limiter.GCRA, "250/s burst 25", 1, func(from, to int64) int { return 25 + int((to-from)*250/1e6) }},
	{"tokens", limiter.TokenBucket, "250/s burst 300", 1, func(from, to int64) int { return 300 + 250*int((to-from)/1e6+1) }},
	{"fixed", limiter.FixedWindow, "250/s", 1, func(from, to int64) int { return 250 * int(to/1e6-from/1e6+1) }},
	{"sliding", limiter.SlidingWindow, "250/s", 1, func(from, to int64) int { return 250 * int((to-from)/1e6+1) }},
	{"wide sliding", limiter.SlidingWindow, "1250/s", 5, func(from, to int64) int { return 1250 * int((to-from)/1e6+1) }},
}

// TestNoSkewedClockChangesALimit has 16 processes whose clocks are wrong by up to
// an hour call as fast as they can, and reads the server's times of what was
// admitted: LI1 for every algorithm.
func TestNoSkewedClockChangesALimit(t *testing.T) {
	each, span := func(t *testing.T, test func(*testing.T, servers.Flavor)) { test(t, servers.Redis70) }, 4*time.Second
	if os.Getenv("REDISX_LONG") == "1" {
		each, span = serverstest.EachRequired, 30*time.Second
	}
	each(t, func(t *testing.T, f servers.Flavor) {
		c, s := setup(t, servers.Options{Flavor: f})
		now, err := c.Time(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := now.Add(4 * time.Second) // all children are up by then
		logs := hammerSkewed(t, s.URL(), start, start.Add(span))
		for _, contest := range contests {
			contest.judge(t, logs[contest.name], span)
		}
	})
}

func (o contest) judge(t *testing.T, log []int64, span time.Duration) {
	slices.Sort(log)
	for i := range log {
		for j := i; j < len(log); j++ {
			if n := (j - i + 1) * o.cost; n > o.most(log[i], log[j]) {
				t.Fatalf("%s: %d admitted within %d µs, want %d at most", o.name, n, log[j]-log[i], o.most(log[i], log[j]))
			}
		}
	}
	// How soon somebody calls who can be admitted depends on the machine.
	want := int(span.Seconds()) * 250
	if len(log) < want*95/100 {
		t.Errorf("%s: %d calls admitted in %v at 250 a second", o.name, len(log), span)
	}
	t.Logf("%s: %d calls admitted in %v, %+.1f %%", o.name, len(log), span, float64(len(log)-want)*100/float64(want))
}

// hammerSkewed runs the children, and returns when each call was admitted, by
// contest.
func hammerSkewed(t *testing.T, url string, start, end time.Time) map[string][]int64 {
	t.Helper()
	const processes = 16
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+end.Sub(start))
	defer cancel()
	var mu sync.Mutex
	logs := map[string][]int64{}
	var wg sync.WaitGroup
	for i := range processes {
		wg.Go(func() {
			child := exec.CommandContext(ctx, os.Args[0])
			child.Env = append(os.Environ(), skewedEnv+"="+url,
				fmt.Sprintf("%s=%d", skewedStartEnv, start.UnixMicro()), fmt.Sprintf("%s=%d", skewedEndEnv, end.UnixMicro()))
			var out bytes.Buffer
			child.Stdout = &out
			if err := child.Start(); err != nil {
				t.Error(err)
				return
			}
			by := time.Hour * time.Duration(2*i-processes+1) / (processes - 1)
			moved := move(t, child.Process.Pid, by)
			if err := child.Wait(); err != nil {
				t.Errorf("child: %v\n%.500s", err, out.String())
				return
			}
			mu.Lock()
			defer mu.Unlock()
			readSkewed(t, &out, logs, by, moved)
		})
	}
	wg.Wait()
	return logs
}

// move skews the clock of a process. It reports false where that cannot be done.
func move(t *testing.T, pid int, by time.Duration) bool {
	clock, err := skew.Attach(pid)
	if err == nil {
		err = clock.Set(by)
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("skew: %v", err)
	}
	return err == nil
}

// readSkewed reads what a child printed: how wrong its clock was, in ms, and for
// each admission the contest and the server's time.
func readSkewed(t *testing.T, out *bytes.Buffer, logs map[string][]int64, by time.Duration, moved bool) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		at, name, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		n, err := strconv.ParseInt(string(at), 10, 64)
		switch {
		case err != nil:
			t.Errorf("child printed %q", lines.Text())
		case string(name) == "skew":
			if off := time.Duration(n)*time.Millisecond - by; moved && (off < -time.Minute || off > time.Minute) {
				t.Errorf("a clock was wrong by %d ms, want %v", n, by)
			}
		default:
			logs[string(name)] = append(logs[string(name)], n)
		}
	}
}

func skewedMain() int {
	if err := callSkewed(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// callSkewed is the body of a child.
func callSkewed() error {
	start, err := strconv.ParseInt(os.Getenv(skewedStartEnv), 10, 64)
	if err != nil {
		return err
	}
	end, err := strconv.ParseInt(os.Getenv(skewedEndEnv), 10, 64)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c, err := redisx.Connect(ctx, os.Getenv(skewedEnv))
	if err != nil {
		return err
	}
	defer c.Close()
	now, err := c.Time(ctx)
	if err != nil {
		return err
	}
	if wait := time.UnixMicro(start).Sub(now); wait > 0 {
		time.Sleep(wait)
	} else {
		return fmt.Errorf("started %v late", -wait)
	}
	if now, err = c.Time(ctx); err != nil {
		return err
	}
	var mu sync.Mutex
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintln(out, time.Now().Round(0).Sub(now).Milliseconds(), "skew")
	var failed error
	var wg sync.WaitGroup
	for _, o := range contests {
		wg.Go(func() {
			admitted, err := o.call(ctx, c, end)
			mu.Lock()
			defer mu.Unlock()
			for _, at := range admitted {
				fmt.Fprintln(out, at, o.name)
			}
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	return failed
}

// call calls until the end, and returns when it was admitted.
func (o contest) call(ctx context.Context, c *redisx.Client, end int64) (admitted []int64, err error) {
	l := limiter.New(c, o.rate, limiter.Using(o.algorithm))
	for {
		d, err := l.AllowN(ctx, o.name, o.cost)
		switch {
		case err != nil:
			return nil, err
		case d.At.UnixMicro() >= end:
			return admitted, nil
		case d.Allowed:
			admitted = append(admitted, d.At.UnixMicro())
		default:
			// Soon enough to be there, and not all that the machine does.
			time.Sleep(max(min(d.RetryAfter, 20*time.Millisecond), 500*time.Microsecond))
		}
	}
}
