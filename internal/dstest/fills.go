package dstest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// Filler is a primitive that computes a value once for all processes, under a
// fill: ds/aside and ds/coalesce. Its methods are the tests of what holds for
// both.
type Filler struct {
	// Get returns the value of a key, or what compute returns; then that is the
	// value for a minute. The lease is the fill's.
	Get func(ctx context.Context, d command.Doer, key string, lease time.Duration, compute Compute) (int, error)
	// Drop drops the value and refuses the computes under way.
	Drop func(ctx context.Context, d command.Doer, key string) error
	// Key is where the server keeps the value of a key.
	Key func(key string) string
	// Fills is a pattern of the keys of fills.
	Fills string
	// Store is the script that stores a value.
	Store *command.Script
	// Lost returns the reason of the error with which a compute's context ends
	// when its fill is lost, "" for other errors.
	Lost func(cause error) string
	// Missed returns a Doer on c, and how many calls on it have found no value.
	Missed func(c *redisx.Client) (d command.Doer, missed func() int64)
	// Overtaken is what a call gets whose computes were all dropped, Closed what
	// it gets when its client is closed.
	Overtaken, Closed error
}

// Compute is what makes a value.
type Compute = func(ctx context.Context) (int, error)

// longLease is the lease of fills that are not to lapse.
const longLease = 5 * time.Second

// What is computed before and after the source of a value has changed.
const (
	oldValue = 1
	newValue = 2
)

// Clients returns n clients of s, which stand for as many processes.
func Clients(t testing.TB, s *servers.Server, n int) []*redisx.Client {
	t.Helper()
	cs := make([]*redisx.Client, n)
	for i := range cs {
		cs[i] = Connect(t, s)
	}
	return cs
}

// clients starts a server and returns n clients of it.
func clients(t testing.TB, n int, f servers.Flavor) (*servers.Server, []*redisx.Client) {
	t.Helper()
	s := serverstest.Start(t, servers.Options{Flavor: f})
	return s, Clients(t, s, n)
}

// What a process of callers is to do.
const (
	envKey     = "REDISX_TEST_FILL_KEY"
	envCallers = "REDISX_TEST_FILL_CALLERS"
	envWork    = "REDISX_TEST_FILL_WORK"
	envLease   = "REDISX_TEST_FILL_LEASE"
)

// FillerRole is the role of the processes of these tests; see Play.
const FillerRole = "filler"

// Play is that role: once the key KEY:go is there, callers ask for KEY. Each
// compute counts itself in KEY:runs, takes its time, and returns that count.
// What the callers got goes to the list KEY:got.
func (f Filler) Play(url string) int {
	ctx := context.Background()
	c, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Fprintln(os.Stderr, "filler:", err)
		return 1
	}
	defer c.Close()
	key := os.Getenv(envKey)
	callers, err1 := strconv.Atoi(os.Getenv(envCallers))
	work, err2 := time.ParseDuration(os.Getenv(envWork))
	lease, err3 := time.ParseDuration(os.Getenv(envLease))
	_, err4 := c.Cmd(ctx, "INCR", key+":ready")
	if err := errors.Join(err1, err2, err3, err4, Await(ctx, c, key+":go")); err != nil {
		fmt.Fprintln(os.Stderr, "filler:", err)
		return 1
	}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			got, err := f.Get(ctx, c, key, lease, func(ctx context.Context) (int, error) {
				n, err := command.Do(ctx, c, command.Incr(key+":runs"))
				return int(n), errors.Join(err, Sleep(ctx, work))
			})
			text := strconv.Itoa(got)
			if err != nil {
				text = err.Error()
			}
			if _, err := c.Cmd(ctx, "RPUSH", key+":got", text); err != nil {
				fmt.Fprintln(os.Stderr, "filler:", err)
			}
		})
	}
	wg.Wait()
	return 0
}

// Await waits until a key is there: how a test tells its processes to begin.
func Await(ctx context.Context, c *redisx.Client, key string) error {
	for {
		n, err := command.Do(ctx, c, command.Exists(key))
		if n > 0 || err != nil {
			return err
		}
		if err := Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// startFiller starts a process of callers and waits until it is ready.
func startFiller(t *testing.T, s *servers.Server, c *redisx.Client, key string, callers int, work, lease time.Duration) *exec.Cmd {
	t.Helper()
	was := Cmd(t, c, "GET", key+":ready").Text()
	p := Process(t, FillerRole, s.URL(), envKey+"="+key, envCallers+"="+strconv.Itoa(callers), envWork+"="+work.String(), envLease+"="+lease.String())
	Eventually(t, 30*time.Second, "the process is ready", func() bool { return Cmd(t, c, "GET", key+":ready").Text() != was })
	return p
}

// got returns what n callers got.
func got(t *testing.T, c *redisx.Client, key string, n int) []string {
	t.Helper()
	Eventually(t, 30*time.Second, "all callers are answered", func() bool { return Int(t, c, "LLEN", key+":got") >= int64(n) })
	var all []string
	for _, e := range Cmd(t, c, "LRANGE", key+":got", 0, -1).Elems() {
		all = append(all, e.Text())
	}
	return all
}

// ProcessesShareOneCompute: one compute for all, and all get its result.
func (f Filler) ProcessesShareOneCompute(t *testing.T) {
	t.Parallel()
	Servers(t, func(t *testing.T, flavor servers.Flavor) {
		s, cs := clients(t, 1, flavor)
		const processes, callers, work = 6, 50, 200 * time.Millisecond
		for round := range 3 {
			key := fmt.Sprint("cold:", round)
			for range processes {
				startFiller(t, s, cs[0], key, callers, work, longLease)
			}
			began := time.Now()
			Cmd(t, cs[0], "SET", key+":go", 1)
			for _, v := range got(t, cs[0], key, processes*callers) {
				if v != "1" {
					t.Fatalf("a caller got %q, want the value of the first compute", v)
				}
			}
			if n := Int(t, cs[0], "GET", key+":runs"); n != 1 {
				t.Errorf("computed %d times", n)
			}
			t.Logf("%d processes x %d callers: 1 compute of %v, all answered after %v", processes, callers, work, time.Since(began).Round(time.Millisecond))
		}
	})
}

// OneOtherTakesOver: a filler that is killed is followed by exactly one other,
// when its fill has lapsed, and not before.
func (f Filler) OneOtherTakesOver(t *testing.T) {
	t.Parallel()
	Servers(t, func(t *testing.T, flavor servers.Flavor) {
		s, cs := clients(t, 1, flavor)
		const lease, callers, key = 2 * time.Second, 20, "k"
		runs := func() int64 { return Int(t, cs[0], "GET", key+":runs") }
		Cmd(t, cs[0], "SET", key+":go", 1)
		dead := startFiller(t, s, cs[0], key, 1, time.Hour, lease)
		Eventually(t, 30*time.Second, "the first compute runs", func() bool { return Int(t, cs[0], "EXISTS", key+":runs") == 1 })
		for range 3 {
			startFiller(t, s, cs[0], key, callers, 20*time.Millisecond, lease)
		}
		// While it lives and renews, nobody takes over.
		time.Sleep(lease + lease/4)
		if n := runs(); n != 1 {
			t.Fatalf("%d computes while the first lives", n)
		}
		killed := time.Now()
		Kill(dead)
		Eventually(t, 30*time.Second, "a successor", func() bool { return runs() != 1 })
		took := time.Since(killed)
		for _, v := range got(t, cs[0], key, 3*callers) {
			if v != "2" {
				t.Errorf("a caller got %q, want the value of the successor", v)
			}
		}
		if n := runs(); n != 2 {
			t.Errorf("%d computes, want one successor", n)
		}
		if took > lease+time.Second {
			t.Errorf("the successor began after %v, want at most %v", took, lease+time.Second)
		}
		t.Logf("lease %v: the one successor began %v after the kill", lease, took.Round(time.Millisecond))
	})
}

// AnErrorIsNotStored: it goes to those who wait in this process, and the
// processes that wait try one after another.
func (f Filler) AnErrorIsNotStored(t *testing.T) {
	t.Parallel()
	_, cs := clients(t, 4, "")
	const callers = 10 // of each
	errDown := errors.New("database down")
	var ds []command.Doer
	var missed []func() int64
	for _, c := range cs {
		d, n := f.Missed(c)
		ds, missed = append(ds, d), append(missed, n)
	}
	allWait := func() bool {
		for _, n := range missed {
			if n() < callers {
				return false
			}
		}
		return true
	}
	var runs, at, most atomic.Int64
	var wg sync.WaitGroup
	for _, d := range ds {
		for range callers {
			wg.Go(func() {
				_, err := f.Get(t.Context(), d, "k", longLease, func(ctx context.Context) (int, error) {
					runs.Add(1)
					most.Store(max(most.Load(), at.Add(1)))
					defer at.Add(-1)
					// A caller that came after the end would compute, too.
					for !allWait() && ctx.Err() == nil {
						_ = Sleep(ctx, time.Millisecond)
					}
					return 0, errors.Join(Sleep(ctx, 50*time.Millisecond), errDown)
				})
				if !errors.Is(err, errDown) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
	wg.Wait()
	if n, m := runs.Load(), most.Load(); n < 1 || n > int64(len(cs)) || m != 1 {
		t.Errorf("%d computes, %d at a time; want at most one for each client, one at a time", n, m)
	}
	if n := Int(t, cs[0], "DBSIZE"); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	began := time.Now()
	v, err := f.Get(t.Context(), cs[0], "k", longLease, value(5))
	if v != 5 || err != nil || time.Since(began) > longLease*3/4 {
		t.Errorf("the next call got %d, %v after %v", v, err, time.Since(began))
	}
}

func value(v int) Compute { return func(context.Context) (int, error) { return v, nil } }

// Explode is a compute that panics.
func Explode(context.Context) (int, error) { panic("gone") }

// APanicReleasesTheFill: the next call computes, in any process.
func (f Filler) APanicReleasesTheFill(t *testing.T) {
	t.Parallel()
	_, cs := clients(t, 2, "")
	_, err := f.Get(t.Context(), cs[0], "k", longLease, Explode)
	if err == nil || !strings.Contains(err.Error(), "dstest.Explode") {
		t.Fatalf("got %v, want the panic with its stack", err)
	}
	if n := len(Cmd(t, cs[1], "KEYS", f.Fills).Elems()); n != 0 {
		t.Errorf("%d fills are left", n)
	}
	v, err := f.Get(t.Context(), cs[1], "k", longLease, value(5))
	if v != 5 || err != nil {
		t.Errorf("the next call got %d, %v", v, err)
	}
}

// ClosingTheClientEndsItsComputes, and gives the fill back.
func (f Filler) ClosingTheClientEndsItsComputes(t *testing.T) {
	t.Parallel()
	s, cs := clients(t, 1, "")
	own := Connect(t, s)
	var cause error
	running := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := f.Get(context.Background(), own, "k", longLease, func(ctx context.Context) (int, error) {
			close(running)
			<-ctx.Done()
			cause = context.Cause(ctx)
			return 0, ctx.Err()
		})
		if !errors.Is(err, f.Closed) {
			t.Errorf("the caller got %v", err)
		}
	})
	<-running
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	if !errors.Is(cause, f.Closed) {
		t.Errorf("the compute's context ended by %v", cause)
	}
	wg.Wait()
	if n := Int(t, cs[0], "DBSIZE"); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// ADroppedComputeIsNeverReadable is CA2: in each round a compute has read the
// old value when the source changes and the key is dropped. From then on nobody
// may read the old value: not under the key, not from calls that begin then, in
// any process.
func (f Filler) ADroppedComputeIsNeverReadable(t *testing.T) {
	t.Parallel()
	Servers(t, func(t *testing.T, flavor servers.Flavor) {
		_, cs := clients(t, 3, flavor)
		rounds := Rounds(300, 1000)
		overtaken := 0
		for round := range rounds {
			if f.dropRound(t, cs, round) {
				overtaken++
			}
			if t.Failed() {
				return
			}
		}
		t.Logf("%d/%d rounds without an old value; in %d the value was stored before it was dropped", rounds, rounds, overtaken)
	})
}

// dropRound reports whether one of the callers before the drop got the old
// value.
func (f Filler) dropRound(t *testing.T, cs []*redisx.Client, round int) (overtaken bool) {
	key := fmt.Sprint("k", round)
	var source, runs atomic.Int64
	source.Store(oldValue)
	// In half of the rounds the compute ends after the drop, in the others
	// they race.
	forced := round%2 == 0
	read, finish := make(chan struct{}, 16), make(chan struct{})
	call := func(c command.Doer) (int, error) {
		return f.Get(t.Context(), c, key, longLease, func(context.Context) (int, error) {
			v := int(source.Load())
			if runs.Add(1) == 1 {
				read <- struct{}{}
				<-finish
			}
			return v, nil
		})
	}
	var wg sync.WaitGroup
	before := make([]int, len(cs))
	for i := range before {
		wg.Go(func() { before[i], _ = call(cs[i]) })
	}
	<-read
	source.Store(newValue)
	pause := func() { time.Sleep(rand.N(300 * time.Microsecond)) }
	if !forced {
		wg.Go(func() { pause(); close(finish) })
		pause()
	}
	if err := f.Drop(t.Context(), cs[round%len(cs)], key); err != nil {
		t.Fatal(err)
	}
	for i := range cs {
		wg.Go(func() {
			if v, err := call(cs[i]); v != newValue || err != nil {
				t.Errorf("round %d: a call after the drop got %d, %v", round, v, err)
			}
		})
	}
	if forced {
		pause()
		close(finish)
	}
	for range 5 {
		if got := Cmd(t, cs[0], "GET", f.Key(key)).Text(); got == "1" {
			t.Errorf("round %d: the old value is readable", round)
		}
	}
	wg.Wait()
	if got := Cmd(t, cs[0], "GET", f.Key(key)).Text(); got != "2" {
		t.Errorf("round %d: in the end the key holds %q", round, got)
	}
	for _, v := range before {
		overtaken = overtaken || v != newValue
	}
	return overtaken
}

// NoResultIsOlderThanItsCall is the other half of CA2: the old value was stored
// and dropped, and its flight is still about to land when a caller joins it.
func (f Filler) NoResultIsOlderThanItsCall(t *testing.T) {
	t.Parallel()
	_, cs := clients(t, 2, "")
	stored, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	late := &Lossy{Client: cs[0], Lose: func(r command.Request) bool {
		if Runs(r, f.Store) {
			once.Do(func() {
				close(stored)
				<-answer
			})
		}
		return false
	}}
	var source atomic.Int64
	source.Store(oldValue)
	call := func() (int, error) {
		return f.Get(t.Context(), late, "k", longLease, func(context.Context) (int, error) { return int(source.Load()), nil })
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if v, err := call(); v != oldValue || err != nil {
			t.Errorf("the caller before the drop got %d, %v", v, err)
		}
	})
	<-stored
	source.Store(newValue)
	// From another process: this one's Group does not hear of it.
	if err := f.Drop(t.Context(), cs[1], "k"); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		if v, err := call(); v != newValue || err != nil {
			t.Errorf("the caller after the drop got %d, %v", v, err)
		}
	})
	// Let it miss and join. Were it too slow for that, it could not fail.
	time.Sleep(100 * time.Millisecond)
	close(answer)
	wg.Wait()
}

// ComputesThatAreAlwaysOvertaken end in an error.
func (f Filler) ComputesThatAreAlwaysOvertaken(t *testing.T) {
	t.Parallel()
	_, cs := clients(t, 2, "")
	runs := 0
	_, err := f.Get(t.Context(), cs[0], "k", longLease, func(ctx context.Context) (int, error) {
		runs++
		return 1, f.Drop(ctx, cs[1], "k")
	})
	if !errors.Is(err, f.Overtaken) || runs != 8 || !strings.Contains(err.Error(), " 8 times") {
		t.Errorf("got %v after %d computes, want %v after 8", err, runs, f.Overtaken)
	}
	if n := Int(t, cs[0], "DBSIZE"); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// TheNextRenewalTellsOfTheDrop: the compute's context ends before the fill would
// have lapsed.
func (f Filler) TheNextRenewalTellsOfTheDrop(t *testing.T) {
	t.Parallel()
	_, cs := clients(t, 2, "")
	runs := 0
	var cause error
	v, err := f.Get(t.Context(), cs[0], "k", 3*time.Second, func(ctx context.Context) (int, error) {
		if runs++; runs > 1 {
			return newValue, nil
		}
		if err := f.Drop(ctx, cs[1], "k"); err != nil {
			return 0, err
		}
		cause = Sleep(ctx, 30*time.Second)
		return oldValue, nil
	})
	if v != newValue || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	// "expired" would be the clock's word, not the renewal's.
	if f.Lost(cause) != "gone" {
		t.Errorf("the compute's context ended by %v", cause)
	}
}

// AComputeThatCannotRenew is not stored. A frozen server is like a network that
// is gone: the fill can lapse unseen.
func (f Filler) AComputeThatCannotRenew(t *testing.T) {
	t.Parallel()
	s, cs := clients(t, 1, "")
	const lease = 600 * time.Millisecond
	runs := 0
	var cause error
	v, err := f.Get(t.Context(), cs[0], "k", lease, func(ctx context.Context) (int, error) {
		if runs++; runs > 1 {
			return newValue, nil
		}
		if err := s.Pause(); err != nil {
			return 0, err
		}
		// From then on the server may have let others in.
		EndsWithin(t, ctx, time.Now(), lease)
		cause = context.Cause(ctx)
		return oldValue, s.Resume()
	})
	if v != newValue || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if f.Lost(cause) != "expired" {
		t.Errorf("the compute's context ended by %v", cause)
	}
	if got := Cmd(t, cs[0], "GET", f.Key("k")).Text(); got != "2" {
		t.Errorf("the key holds %q", got)
	}
}
