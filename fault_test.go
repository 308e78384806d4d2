package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/faultproxy"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// busy is what a call may take longer than promised on a machine that does other
// things too.
const busy = time.Second

func startProxy(t *testing.T, to string) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.Start(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// connectWith is connect for a URL and some changes to its Config.
func connectWith(t *testing.T, url string, change func(*redisx.Config)) *redisx.Client {
	t.Helper()
	cfg, err := redisx.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	change(&cfg)
	client, err := redisx.ConnectConfig(bg, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func outcomeOf(t *testing.T, err error) command.Outcome {
	t.Helper()
	var e *redisx.Error
	if !errors.As(err, &e) {
		t.Fatalf("an error without a class: %v", err)
	}
	return e.Outcome
}

// works waits until a command succeeds, and says how long that took.
func works(t *testing.T, client *redisx.Client) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		ctx, cancel := context.WithTimeout(bg, 200*time.Millisecond)
		_, err := client.Incr(ctx, "works")
		cancel()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("nothing works again: %v", err)
		}
	}
}

func TestAFrozenServerCostsEveryCallItsDeadlineAndTheConnection(t *testing.T) {
	srv := serverstest.Start(t)
	timeout := 500 * time.Millisecond
	if long {
		timeout = 0 // the default
	}
	client := connectWith(t, srv.URL(), func(c *redisx.Config) { c.Timeout = timeout })
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	works(t, client)
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var maybe atomic.Int64
	began := time.Now()
	for i := range 50 {
		wg.Go(func() {
			ctx, cancel := bg, context.CancelFunc(func() {})
			end, want := timeout, errStalled
			switch i % 3 {
			case 0:
				end, want = 100*time.Millisecond, context.DeadlineExceeded
				ctx, cancel = context.WithTimeout(bg, end)
			case 1:
				end, want = 50*time.Millisecond, context.Canceled
				ctx, cancel = context.WithCancel(bg)
				time.AfterFunc(end, cancel)
			}
			defer cancel()
			start := time.Now()
			_, err := client.Incr(ctx, "n")
			took := time.Since(start)
			// The stall clock is that of the oldest call, which no other began before.
			if took > end+busy || time.Since(began) < end {
				t.Errorf("call %d: %v after %v, want %v", i, err, took, end)
			}
			switch o := outcomeOf(t, err); {
			case o == command.Maybe:
				maybe.Add(1)
			case o != command.NotSent: // its context ended before its turn came
				t.Errorf("call %d: outcome %v of %v", i, o, err)
			}
			if want != errStalled && !errors.Is(err, want) || want == errStalled && !strings.Contains(err.Error(), want.Error()) {
				t.Errorf("call %d: %v, want %v", i, err, want)
			}
		})
	}
	wg.Wait()
	if maybe.Load() == 0 {
		t.Error("nothing was sent: the test shows nothing")
	}
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	if took := works(t, client); took > 2*busy {
		t.Errorf("commands work again after %v", took)
	}
}

// onceSent calls f when the client has sent one more command, so that what f
// does comes after the write however slow the machine is.
func onceSent(t *testing.T, client *redisx.Client, f func()) {
	before := client.Stats().BytesOut
	var wg sync.WaitGroup
	wg.Go(func() {
		for end := time.Now().Add(10 * time.Second); client.Stats().BytesOut == before && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		f()
	})
	t.Cleanup(wg.Wait)
}

// errStalled is what a call without a deadline ends with.
var errStalled = errors.New("no reply within the timeout")

// A server that reads nothing fills all buffers on the way to it, and the write
// blocks.
func TestAFullSendBufferHoldsNobodyBeyondTheirDeadlines(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{TLS: &servers.TLS{}})
	for i, cfg := range streams(t, srv) {
		t.Run([]string{"tcp", "tls", "ws"}[i], func(t *testing.T) {
			cfg.Timeout, cfg.MaxBytes = 2*time.Second, 1<<30
			client, err := redisx.ConnectConfig(bg, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			works(t, client)
			if err := srv.Pause(); err != nil {
				t.Fatal(err)
			}
			value := strings.Repeat("x", 32<<20)
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					time.Sleep(time.Duration(g) * 5 * time.Millisecond)
					ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
					defer cancel()
					start := time.Now()
					var err error
					if g == 0 {
						err = client.Set(ctx, "big", value)
					} else {
						_, err = client.Incr(ctx, "small")
					}
					if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 100*time.Millisecond+busy {
						t.Errorf("call %d: %v after %v", g, err, took)
					}
				})
			}
			wg.Wait()
			if err := srv.Resume(); err != nil {
				t.Fatal(err)
			}
			works(t, client)
			if v, err := client.Cmd(bg, "ECHO", "well"); err != nil || v.Text() != "well" {
				t.Errorf("afterwards: %q, %v", v.Text(), err)
			}
		})
	}
}

func TestAServerThatNeverAnswersDoesNotHoldConnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // it accepts by itself, in the kernel, and says nothing
	connectsInTime(t, ln.Addr().String())
}

// connectsInTime checks that connecting to a black hole ends by the dial timeout
// and by the context.
func connectsInTime(t *testing.T, addr string) {
	t.Helper()
	cfg := redisx.Config{Addr: addr, DialTimeout: 200 * time.Millisecond}
	start := time.Now()
	_, err := redisx.ConnectConfig(bg, cfg)
	if took := time.Since(start); outcomeOf(t, err) != command.NotSent || took > cfg.DialTimeout+busy || took < cfg.DialTimeout/2 {
		t.Errorf("without a deadline: %v after %v", err, took)
	}
	ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	start = time.Now()
	_, err = redisx.Connect(ctx, "redis://"+addr)
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || outcomeOf(t, err) != command.NotSent || took > 50*time.Millisecond+busy {
		t.Errorf("with a deadline: %v after %v", err, took)
	}
}

func TestACallerThatLeavesDoesNotAbortTheDialOthersNeed(t *testing.T) {
	srv := serverstest.Start(t)
	p := startProxy(t, srv.Addr)
	var dials atomic.Int64
	client := connectWith(t, "redis://"+p.Addr, func(c *redisx.Config) {
		c.OfflineWait = 5 * time.Second
		c.Dialer = countingDialer{&dials}
	})
	works(t, client)
	p.Apply(faultproxy.Fault{Kind: faultproxy.Hole})
	p.Apply(faultproxy.Fault{Kind: faultproxy.Cut})
	time.Sleep(50 * time.Millisecond) // idle connections are looked at every 10 ms
	before := dials.Load()
	for range 5 {
		ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		if _, err := client.Incr(ctx, "n"); !errors.Is(err, context.DeadlineExceeded) || !redisx.SafeToRetry(err) {
			t.Errorf("a caller that leaves: %v", err)
		}
		cancel()
	}
	p.Heal()
	if n, err := client.Incr(bg, "n"); err != nil || n != 1 {
		t.Errorf("a caller that stays: %d, %v", n, err)
	}
	if d := dials.Load() - before; d != 1 {
		t.Errorf("%d dials for six callers, want one", d)
	}
}

type countingDialer struct{ n *atomic.Int64 }

func (d countingDialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d.n.Add(1)
	var nd net.Dialer
	return nd.DialContext(ctx, network, addr)
}

func TestAResetInMidFlightIsToldAndOvercome(t *testing.T) {
	srv := serverstest.Start(t)
	p := startProxy(t, srv.Addr)
	client := connect(t, "redis://"+p.Addr)
	for round := range 10 {
		works(t, client)
		p.Apply(faultproxy.Fault{Kind: faultproxy.Reset, Bytes: 1 + round*37})
		var failed atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := client.Set(bg, "k", "v"); err != nil {
					failed.Add(1)
					if o := outcomeOf(t, err); o != command.Maybe && !redisx.SafeToRetry(err) {
						t.Errorf("outcome %v of %v", o, err)
					}
				}
			})
		}
		wg.Wait()
		p.Heal()
		if failed.Load() == 0 && round == 0 {
			t.Error("the reset hit nobody: the test shows nothing")
		}
	}
	works(t, client)
}

// Each increment is of a key of its own, so that the server can be asked of each
// whether what its caller was told is true.
func TestWhatCallersAreToldAboutIncrementsIsTrue(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{TLS: &servers.TLS{}})
	for i, cfg := range streams(t, srv) {
		t.Run([]string{"tcp", "tls", "ws"}[i], func(t *testing.T) {
			increments(t, cfg, connect(t, srv.URL()))
		})
	}
}

func increments(t *testing.T, cfg redisx.Config, admin *redisx.Client) {
	t.Helper()
	p := startProxy(t, hostPort(cfg))
	cfg.Addr = through(p, cfg)
	fresh := func() *redisx.Client {
		client, err := redisx.ConnectConfig(bg, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	if _, err := admin.Cmd(bg, "FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	enough, breaks := int64(1000), 30
	if long {
		enough, breaks = 20_000, 300
	}
	var client atomic.Pointer[redisx.Client]
	client.Store(fresh())
	var told [40][]error // by caller, in order
	var sent atomic.Int64
	var over atomic.Bool
	var wg sync.WaitGroup
	for g := range told {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(1+g)))
			for !over.Load() {
				ctx, cancel := context.WithTimeout(bg, time.Duration(r.IntN(30_000))*time.Microsecond)
				n, err := client.Load().Incr(ctx, incrementKey(g, len(told[g])))
				cancel()
				if err == nil && n != 1 {
					t.Errorf("an increment ran %d times", n)
				}
				told[g] = append(told[g], err)
				if !redisx.SafeToRetry(err) {
					sent.Add(1)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(seed, 0))
	for n := 0; n < breaks || sent.Load() < enough; n++ {
		time.Sleep(time.Duration(1+r.IntN(20)) * time.Millisecond)
		p.Apply(faultproxy.Fault{Kind: faultproxy.Kind(r.IntN(3)), To: faultproxy.Side(r.IntN(2)), Bytes: 1 + r.IntN(3000)})
		if p.Links() == 0 { // it waits before it dials again: go on with one that does not
			client.Swap(fresh()).Close()
		}
	}
	over.Store(true)
	wg.Wait()
	client.Load().Close()
	p.Close()
	t.Logf("seed %d", seed)
	judgeIncrements(t, admin, told[:])
}

func incrementKey(caller, i int) string { return fmt.Sprintf("n:%d:%d", caller, i) }

func judgeIncrements(t *testing.T, admin *redisx.Client, told [][]error) {
	t.Helper()
	time.Sleep(100 * time.Millisecond) // the server may still read what dead connections left it
	var done, maybe, safe, ran int
	for g := range told {
		p := admin.Pipeline()
		got := make([]redisx.Future[string], len(told[g]))
		for i := range got {
			got[i] = p.Get(incrementKey(g, i))
		}
		p.Exec(bg)
		for i, err := range told[g] {
			v, absent := got[i].Result()
			switch {
			case absent == nil:
				ran++
			case !errors.Is(absent, redisx.Nil):
				t.Fatal(absent)
			}
			if absent == nil && v != "1" {
				t.Errorf("%s is %q", incrementKey(g, i), v)
			}
			switch {
			case err == nil:
				if done++; absent != nil {
					t.Errorf("%s was done, and the server does not have it", incrementKey(g, i))
				}
			case redisx.SafeToRetry(err):
				if safe++; absent == nil {
					t.Errorf("%s ran, though its caller was told: %v", incrementKey(g, i), err)
				}
			default:
				maybe++
			}
		}
	}
	t.Logf("%d done, %d may have run, %d did not; the server ran %d", done, maybe, safe, ran)
	if ran < done || ran > done+maybe {
		t.Errorf("the server ran %d, want between %d and %d", ran, done, done+maybe)
	}
	if maybe == 0 || safe == 0 || done == 0 {
		t.Error("an outcome did not occur: the test shows nothing")
	}
}

func TestACommandCancelledBeforeItsWriteIsNeverSent(t *testing.T) {
	srv := serverstest.Start(t)
	client := connectWith(t, srv.URL(), func(c *redisx.Config) { c.MaxInFlight = 1 })
	works(t, client)
	cancelled, cancel := context.WithCancel(bg)
	cancel()
	if _, err := client.Incr(cancelled, "n"); !errors.Is(err, context.Canceled) || outcomeOf(t, err) != command.NotSent {
		t.Errorf("cancelled before the call: %v", err)
	}
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var notSent, sent atomic.Int64
	for range 50 { // one is in flight, the others wait for it
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
			defer cancel()
			_, err := client.Incr(ctx, "n")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("cancelled while waiting: %v", err)
			}
			if outcomeOf(t, err) == command.NotSent {
				notSent.Add(1)
			} else {
				sent.Add(1)
			}
		})
	}
	wg.Wait()
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	works(t, client)
	n, err := client.Incr(bg, "n")
	if err != nil || n != sent.Load()+1 || sent.Load() != 1 {
		t.Errorf("the server counts %d, %v, after %d that were sent and %d that were not", n, err, sent.Load(), notSent.Load())
	}
}

func TestCloseWhileInUse(t *testing.T) {
	srv := serverstest.Start(t)
	for range 10 {
		client := connect(t, srv.URL())
		var wg sync.WaitGroup
		stopped := make(chan struct{})
		for g := range 40 {
			wg.Go(func() {
				for {
					var err error
					switch g % 4 {
					case 0:
						err = client.Set(bg, "k", "v")
					case 1:
						_, err = client.Cmd(bg, "BLPOP", fmt.Sprintf("list:%d", g), 0)
					case 2:
						p := client.Pipeline()
						p.Incr("n")
						p.Get("k")
						err = p.Exec(bg)
					case 3:
						err = client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
							return s.Set(ctx, "k", "v")
						})
					}
					if err == nil || errors.Is(err, redisx.Nil) {
						continue
					}
					outcomeOf(t, err)
					<-stopped
					return
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		start := time.Now()
		var closers sync.WaitGroup
		for range 4 {
			closers.Go(func() { client.Close() })
		}
		closers.Wait()
		close(stopped)
		wg.Wait()
		if took := time.Since(start); took > 2*busy {
			t.Errorf("Close took %v", took)
		}
		if err := client.Set(bg, "k", "v"); !redisx.SafeToRetry(err) {
			t.Errorf("after Close: %v", err)
		}
		if err := client.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
	}
}

func TestAThousandCyclesReturnTheirMemory(t *testing.T) {
	srv := serverstest.Start(t)
	p := startProxy(t, srv.Addr)
	cycle := func(i int) {
		client, err := redisx.Connect(bg, []string{srv.URL(), srv.SocketURL(), "redis://" + p.Addr}[i%3])
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		pipe := client.Pipeline()
		pipe.Set("k", strings.Repeat("x", 10_000))
		pipe.Get("k")
		if err := pipe.Exec(bg); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if err := client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error { return s.Set(ctx, "k", "v") }); err != nil {
				t.Fatal(err)
			}
		}
		if i%7 == 0 { // one that is cut, and looked at again
			p.Apply(faultproxy.Fault{Kind: faultproxy.Cut})
			client.Get(bg, "k")
		}
	}
	for i := range 50 {
		cycle(i)
	}
	before := measure(p)
	for i := range 1000 {
		cycle(i)
	}
	var after resources
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if after = measure(p); after.goroutines <= before.goroutines && after.files <= before.files && after.heap < before.heap+1<<20 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("after 1000 cycles: %+v, before %+v", after, before)
			break
		}
	}
	t.Logf("before %+v, after %+v", before, after)
}

type resources struct {
	goroutines, files int
	heap              uint64
}

// measure waits for the proxy's own connections to end.
func measure(p *faultproxy.Proxy) resources {
	for end := time.Now().Add(time.Second); p.Links() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	runtime.GC() // what pools held goes with the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return resources{runtime.NumGoroutine(), openFiles(), m.HeapAlloc}
}
