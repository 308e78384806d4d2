package limiter_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/internal/skew"
)

// What the processes of a crowd and their test tell each other, on the server.
const (
	upKey   = "crowd:up"    // how many are connected
	goKey   = "crowd:go"    // µs of the server when all are to stop; once it is there, they begin
	skewKey = "crowd:skews" // ms by which their clocks are wrong
	logKey  = "crowd:log:"  // and the contest: "µs admitted" of each decision
)

func init() { roles["caller"] = callerChild }

// contest is a rule that the crowd calls for all it can.
type contest struct {
	name      string
	algorithm limiter.Algorithm
	rate      string
	cost      int
	// late is how much later than by the book its calls may leave a window.
	late time.Duration
	// most is how many calls any window admits that is so long, in µs, and
	// begins and ends with a call.
	most func(from, to int64) int
}

var contests = []contest{
	{"LI1", limiter.GCRA, "100/m burst 20", 1, 0, func(from, to int64) int { return 20 + int((to-from)*100/60e6) }},
	{"gcra", limiter.GCRA, "250/s burst 25", 1, 0, func(from, to int64) int { return 25 + int((to-from)*250/1e6) }},
	{"tokens", limiter.TokenBucket, "250/s burst 300", 1, 0, func(from, to int64) int { return 300 + 250*int((to-from)/1e6+1) }},
	{"fixed", limiter.FixedWindow, "250/s", 1, 0, func(from, to int64) int { return 250 * int(to/1e6-from/1e6+1) }},
	{"sliding", limiter.SlidingWindow, "250/s", 1, 0, func(from, to int64) int { return 250 * int((to-from)/1e6+1) }},
	{"wide sliding", limiter.SlidingWindow, "1250/s", 5, time.Millisecond, func(from, to int64) int { return 1250 * int((to-from)/1e6+1) }},
}

// limiter returns the limiter of the contest.
func (o contest) limiter(c *redisx.Client) *limiter.Limiter {
	return limiter.New(c, o.rate, limiter.Using(o.algorithm))
}

// TestNoSkewedClockChangesALimit is LI1, and the same for every algorithm: many
// processes whose clocks are wrong by up to an hour call as fast as they can, and
// each decision, at the server's time of it, is what the book says.
func TestNoSkewedClockChangesALimit(t *testing.T) {
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, s)
		callAsCrowd(t, c, s.URL(), dstest.Rounds(16, 50), time.Duration(dstest.Rounds(4, 30))*time.Second)
		for _, o := range contests {
			o.judge(t, decisionsOf(t, c, o.name))
		}
	})
}

// callAsCrowd runs the processes.
func callAsCrowd(t *testing.T, c *redisx.Client, url string, processes int, span time.Duration) {
	t.Helper()
	moved := true
	children := make([]func() error, processes)
	for i := range children {
		p := dstest.Process(t, "caller", url)
		children[i] = p.Wait
		// From an hour behind to an hour ahead.
		by := time.Hour * time.Duration(2*i-processes+1) / time.Duration(processes-1)
		moved = move(t, p.Process.Pid, by.Truncate(time.Second)) && moved
	}
	dstest.Eventually(t, time.Minute, "all processes are up", func() bool {
		return dstest.Cmd(t, c, "GET", upKey).Text() == strconv.Itoa(processes)
	})
	now, err := c.Time(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dstest.Cmd(t, c, "SET", goKey, now.Add(span).UnixMicro())
	for _, wait := range children {
		if err := wait(); err != nil {
			t.Fatalf("a process of the crowd: %v", err)
		}
	}
	wrong := 0
	for _, v := range dstest.Cmd(t, c, "LRANGE", skewKey, 0, -1).Elems() {
		if off, err := v.Int(); err != nil || off < -60_000 || off > 60_000 {
			wrong++
		}
	}
	if moved && wrong < processes-2 { // one or two in the middle are nearly right
		t.Errorf("the clocks of %d processes were wrong, of %d", wrong, processes)
	}
}

// move skews the clock of a process. It reports false where that cannot be done.
func move(t *testing.T, pid int, by time.Duration) bool {
	t.Helper()
	clock, err := skew.Attach(pid)
	if err == nil {
		err = clock.Set(by)
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("skew: %v", err)
	}
	return err == nil
}

func callerChild(url string) int {
	if err := callAll(url); err != nil {
		fmt.Fprintln(os.Stderr, "caller:", err)
		return 1
	}
	return 0
}

// callAll is the body of a process: it waits for the start, and takes part in all
// contests at once.
func callAll(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c, err := redisx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Incr(ctx, upKey); err != nil {
		return err
	}
	text, err := c.Get(ctx, goKey)
	for ; errors.Is(err, redisx.Nil); text, err = c.Get(ctx, goKey) {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	end, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return err
	}
	now, err := c.Time(ctx)
	if err != nil {
		return err
	}
	if _, err := c.RPush(ctx, skewKey, strconv.FormatInt(time.Now().Round(0).Sub(now).Milliseconds(), 10)); err != nil {
		return err
	}
	errs := make([]error, len(contests))
	var wg sync.WaitGroup
	for i, o := range contests {
		wg.Go(func() { errs[i] = o.call(ctx, c, end) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// call calls until the end, and notes what was decided.
func (o contest) call(ctx context.Context, c *redisx.Client, end int64) error {
	l := o.limiter(c)
	var log []string
	for {
		d, err := l.AllowN(ctx, o.name, o.cost)
		if err != nil {
			return err
		}
		over := d.At.UnixMicro() >= end
		if !over {
			log = append(log, fmt.Sprint(d.At.UnixMicro(), d.Allowed))
		}
		if len(log) == 1000 || over && len(log) > 0 {
			if _, err := c.RPush(ctx, logKey+o.name, log...); err != nil {
				return err
			}
			log = log[:0]
		}
		switch {
		case over:
			return nil
		case !d.Allowed:
			// Soon enough to be there, and not all that the machine does.
			time.Sleep(max(min(d.RetryAfter, 20*time.Millisecond), 500*time.Microsecond))
		}
	}
}

// decided is one decision, at a time of the server.
type decided struct {
	at       int64 // µs
	admitted bool
}

// room orders what was decided in the same µs: there is no more after a denial.
func (d decided) room() int {
	if d.admitted {
		return 1
	}
	return 0
}

// decisionsOf returns what was decided, in order.
func decisionsOf(t *testing.T, c *redisx.Client, name string) []decided {
	t.Helper()
	var all []decided
	for _, v := range dstest.Cmd(t, c, "LRANGE", logKey+name, 0, -1).Elems() {
		at, admitted, _ := strings.Cut(v.Text(), " ")
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			t.Fatalf("a process noted %q", v.Text())
		}
		all = append(all, decided{n, admitted == "true"})
	}
	slices.SortFunc(all, func(a, b decided) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.room(), a.room())) })
	return all
}

func (o contest) judge(t *testing.T, all []decided) {
	t.Helper()
	rate := o.limiter(nil).Rate()
	longer := rate
	longer.Per += o.late
	admits, denies := &reference{rate: rate}, &reference{rate: longer}
	fits := references[o.algorithm]
	var admitted []int64
	for i, d := range all {
		switch {
		case d.admitted && !fits(admits, d.at, o.cost):
			t.Fatalf("%s: decision %d, at %d: admitted, and does not fit", o.name, i, d.at)
		case !d.admitted && fits(denies, d.at, o.cost):
			t.Fatalf("%s: decision %d, at %d: denied, and fits", o.name, i, d.at)
		case d.admitted:
			admitted = append(admitted, d.at)
			admits.calls = append(admits.calls, made{d.at, o.cost})
			denies.calls = admits.calls
		}
	}
	for i := range admitted {
		for j := i; j < len(admitted); j++ {
			if n := (j - i + 1) * o.cost; n > o.most(admitted[i], admitted[j]) {
				t.Fatalf("%s: %d admitted within %d µs, want %d at most", o.name, n, admitted[j]-admitted[i], o.most(admitted[i], admitted[j]))
			}
		}
	}
	denials := len(all) - len(admitted)
	if len(admitted)*o.cost < rate.Burst || denials < 50 {
		t.Errorf("%s: %d admitted, %d denied: nothing was tested", o.name, len(admitted), denials)
	}
	t.Logf("%s: %d decisions, %d admitted", o.name, len(all), len(admitted))
}
