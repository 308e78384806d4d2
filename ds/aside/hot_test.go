package aside_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

const (
	hotTTL  = 2 * time.Second
	hotLoad = 300 * time.Millisecond
	hotRate = 50 // calls a second and process

	hotRole = "hot"
	envHot  = "REDISX_TEST_ASIDE_HOT"
)

// hotJob is what a process does that keeps asking for one key.
type hotJob struct {
	For   time.Duration
	Early float64
	Stale time.Duration
}

// hotReport is what it saw.
type hotReport struct {
	Calls, Misses, Stale int
	Slowest              time.Duration
}

func playHot(url string) int {
	r, err := askForHot(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hot:", err, r)
		return 1
	}
	return 0
}

func askForHot(url string) (r hotReport, err error) {
	var j hotJob
	if err := json.Unmarshal([]byte(os.Getenv(envHot)), &j); err != nil {
		return r, err
	}
	ctx := context.Background()
	c, err := redisx.Connect(ctx, url)
	if err != nil {
		return r, err
	}
	defer c.Close()
	get := func() error {
		_, err := aside.GetOrCompute(ctx, c, "hot", hotTTL, func(ctx context.Context) (int64, error) {
			n, err := command.Do(ctx, c, command.Incr("computes"))
			if err != nil {
				return 0, err
			}
			return n, dstest.Sleep(ctx, hotLoad)
		}, aside.Early(j.Early), aside.Stale(j.Stale))
		return err
	}
	if _, err := c.Cmd(ctx, "INCR", "ready"); err != nil {
		return r, err
	}
	if err := dstest.Await(ctx, c, "go"); err != nil {
		return r, err
	}
	if err := get(); err != nil { // the first fill, for which all wait
		return r, err
	}
	before := aside.StatsOf(c)
	var mu sync.Mutex
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / hotRate)
	defer tick.Stop()
	for end := time.Now().Add(j.For); time.Now().Before(end); <-tick.C {
		wg.Go(func() {
			began := time.Now()
			err := get()
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			r.Calls++
			r.Slowest = max(r.Slowest, took)
			if err != nil {
				fmt.Fprintln(os.Stderr, "hot:", err)
				r.Misses++
			}
		})
	}
	wg.Wait()
	after := aside.StatsOf(c)
	r.Misses += int(after.Misses - before.Misses)
	r.Stale = int(after.Stale - before.Stale)
	text, err := json.Marshal(r)
	if err == nil {
		_, err = c.Cmd(ctx, "RPUSH", "reports", string(text))
	}
	return r, err
}

// hot runs processes that ask for one key, and returns what they saw together,
// how often it was computed, and how often it may have been: the first time,
// and then 36 times a minute (CA1).
func hot(t *testing.T, f servers.Flavor, processes int, j hotJob) (all hotReport, computes, most int) {
	t.Helper()
	s := serverstest.Start(t, servers.Options{Flavor: f})
	c := dstest.Connect(t, s)
	order, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	for range processes {
		dstest.Process(t, hotRole, s.URL(), envHot+"="+string(order))
	}
	dstest.Eventually(t, time.Minute, "the processes are ready", func() bool { return text(t, c, "GET", "ready") == fmt.Sprint(processes) })
	began := time.Now()
	text(t, c, "SET", "go", 1)
	dstest.Eventually(t, j.For+time.Minute, "the processes report", func() bool { return number(t, c, "LLEN", "reports") == processes })
	took := time.Since(began)
	for _, e := range dstest.Cmd(t, c, "LRANGE", "reports", 0, -1).Elems() {
		var r hotReport
		if err := json.Unmarshal([]byte(e.Text()), &r); err != nil {
			t.Fatal(err)
		}
		all.Calls += r.Calls
		all.Misses += r.Misses
		all.Stale += r.Stale
		all.Slowest = max(all.Slowest, r.Slowest)
	}
	computes, most = number(t, c, "GET", "computes"), 1+int(36*took.Minutes())
	t.Logf("%d processes for %v, early %v, stale %v: %d calls, %d computes of %d, %d that waited, %d stale, slowest %v",
		processes, took.Round(time.Millisecond), j.Early, j.Stale, all.Calls, computes, most, all.Misses, all.Stale, all.Slowest.Round(time.Millisecond))
	return all, computes, most
}

// CA1. REDISX_LONG makes it 20 processes for a minute.
func TestAHotKeyIsComputedSeldomAndNobodyWaitsForIt(t *testing.T) {
	processes, d := 6, 6*time.Second
	if dstest.Long {
		processes, d = 20, time.Minute
	}
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		r, n, most := hot(t, f, processes, hotJob{For: d, Early: aside.DefaultEarly, Stale: time.Second})
		if n > most {
			t.Errorf("%d computes, want at most %d", n, most)
		}
		if r.Misses != 0 {
			t.Errorf("%d calls waited for a compute", r.Misses)
		}
		// Being served a stale value is the exception: the refresh comes first.
		if r.Stale > r.Calls/5 {
			t.Errorf("%d of %d calls were served a stale value", r.Stale, r.Calls)
		}
	})
}

// The test above sees what it should: a refresh window without its bound costs
// computes, and without any refresh callers wait.
func TestTheTestOfTheHotKeySeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	t.Run("a window of the whole ttl", func(t *testing.T) {
		t.Parallel()
		if _, n, most := hot(t, "", 5, hotJob{For: 10 * time.Second, Early: 1, Stale: time.Second}); n <= most {
			t.Errorf("%d computes: the bound of %d would not notice", n, most)
		}
	})
	t.Run("no refresh", func(t *testing.T) {
		t.Parallel()
		if r, _, _ := hot(t, "", 2, hotJob{For: 3 * time.Second}); r.Misses == 0 {
			t.Error("nobody waited")
		}
	})
}
