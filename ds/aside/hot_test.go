package aside_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

const (
	hotTTL  = 2 * time.Second
	hotLoad = 300 * time.Millisecond
	hotRate = 50 // calls a second and process
)

// hotJob is what a process does that keeps asking for one key.
type hotJob struct {
	URL   string
	For   time.Duration
	Early float64
	Stale time.Duration
}

// hotReport is what it saw.
type hotReport struct {
	Calls, Misses, Stale int
	Slowest              time.Duration
}

func hotChild(j hotJob) error {
	ctx, cancel := context.WithTimeout(context.Background(), j.For+time.Minute)
	defer cancel()
	c, err := redisx.Connect(ctx, j.URL)
	if err != nil {
		return err
	}
	defer c.Close()
	get := func() error {
		_, err := aside.GetOrCompute(ctx, c, "hot", hotTTL, func(ctx context.Context) (int, error) {
			n, err := integer(ctx, c, "INCR", "computes")
			if err != nil {
				return 0, err
			}
			return n, sleep(ctx, hotLoad)
		}, aside.Early(j.Early), aside.Stale(j.Stale))
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if err := get(); err != nil { // the first fill, for which all wait
		return err
	}
	before := aside.StatsOf(c)
	var r hotReport
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
	fmt.Println(string(text))
	return err
}

// hot runs processes that ask for one key, and returns what they saw together
// and how often it was computed.
func hot(t *testing.T, f servers.Flavor, processes int, j hotJob) (hotReport, int) {
	t.Helper()
	s := serverstest.Start(t, servers.Options{Flavor: f})
	j.URL = s.URL()
	ps := make([]*process, processes)
	for i := range ps {
		ps[i] = startProcess(t, job{Hot: &j})
	}
	for _, p := range ps {
		p.begin()
	}
	var all hotReport
	for _, p := range ps {
		var r hotReport
		p.lines.Scan()
		if err := json.Unmarshal(p.lines.Bytes(), &r); err != nil {
			t.Fatalf("a child said %q", p.lines.Text())
		}
		all.Calls += r.Calls
		all.Misses += r.Misses
		all.Stale += r.Stale
		all.Slowest = max(all.Slowest, r.Slowest)
	}
	n := number(t, connect(t, s), "GET", "computes")
	t.Logf("%d processes for %v, early %v, stale %v: %d calls, %d computes, %d that waited, %d stale, slowest %v",
		processes, j.For, j.Early, j.Stale, all.Calls, n, all.Misses, all.Stale, all.Slowest.Round(time.Millisecond))
	return all, n
}

// mostComputes is how many there may be: 36 a minute, and the first.
func mostComputes(d time.Duration) int { return int(36*d/time.Minute) + 1 }

// CA1. REDISX_LONG makes it 20 processes for a minute.
func TestAHotKeyIsComputedSeldomAndNobodyWaitsForIt(t *testing.T) {
	processes, d := 6, 6*time.Second
	if long {
		processes, d = 20, time.Minute
	}
	eachServer(t, func(t *testing.T, f servers.Flavor) {
		r, n := hot(t, f, processes, hotJob{For: d, Early: aside.DefaultEarly, Stale: time.Second})
		if most := mostComputes(d); n > most {
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
	const d = 6 * time.Second
	t.Run("a window of the whole ttl", func(t *testing.T) {
		t.Parallel()
		if _, n := hot(t, "", 5, hotJob{For: d, Early: 1, Stale: time.Second}); n <= mostComputes(d) {
			t.Errorf("%d computes: the bound of %d would not notice", n, mostComputes(d))
		}
	})
	t.Run("no refresh", func(t *testing.T) {
		t.Parallel()
		if r, _ := hot(t, "", 2, hotJob{For: 3 * time.Second}); r.Misses == 0 {
			t.Error("nobody waited")
		}
	})
}
