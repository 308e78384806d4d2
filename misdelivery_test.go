package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
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
	"github.com/redisx/redisx/resp3"
)

// long makes tests as thorough as CI wants them.
var long = os.Getenv("REDISX_LONG") != ""

// eachServer runs a test against the servers that are required, or all.
func eachServer(t *testing.T, test func(t *testing.T, f servers.Flavor)) {
	t.Helper()
	if long {
		serverstest.Each(t, test)
	} else {
		serverstest.EachRequired(t, test)
	}
}

const (
	stormClients = 8   // two of each way to the server, the second behind a proxy
	stormCallers = 100 // half of them without REDISX_LONG
	stormFaults  = 50 * time.Millisecond
	stormEnough  = 2_000_000 // right answers of each server, with REDISX_LONG
	stormBreaks  = 200       // and faults
	stormLimit   = time.Minute
	stormShort   = time.Second
	lateStep     = 100 * time.Microsecond
)

// TestEveryReplyReachesItsCaller is the promise that matters most: no caller is
// given the answer to somebody else's command, whatever happens to contexts,
// connections, clients and servers; and every caller is back in time.
func TestEveryReplyReachesItsCaller(t *testing.T) {
	eachServer(t, func(t *testing.T, f servers.Flavor) {
		srv := serverstest.Start(t, servers.Options{Flavor: f, TLS: &servers.TLS{}})
		seed := rand.Uint64()
		s := newStorm(t, srv, seed)
		lag := machineLag(t)
		start := time.Now()
		s.run()
		took, worst := time.Since(start), lag()
		total := s.sum()
		late := total.late()
		t.Logf("%s, seed %d: %d right, %d wrong, %d errors (%d may have run), %d faults in %.1f s (%.0f k/s); "+
			"%d calls ended with their contexts, late by p50 %v, p99.9 %v, max %v; the machine itself was late by up to %v",
			f, seed, total.right, total.wrong, total.failed, total.maybe, s.faults, took.Seconds(), float64(total.right)/took.Seconds()/1000,
			late.n, late.quantile(0.5), late.quantile(0.999), total.latest, worst)
		if total.right == 0 || total.failed == 0 {
			t.Error("the test shows nothing")
		}
		if long && total.right < stormEnough {
			t.Errorf("%d answers within %v, want %d", total.right, stormLimit, stormEnough)
		}
		// The end of a context goes through four hands: its timer, the goroutine that
		// interrupts the leader, the poller, the leader. Each may have to wait.
		bound := time.Second // the race detector and the tests of other packages take their part
		if long {
			bound = 250 * time.Millisecond
		}
		if over := total.latest - 4*worst; over > bound {
			t.Errorf("a call was late by %v where the machine was late by %v, want at most %v more", total.latest, worst, bound)
		}
	})
}

// storm is callers at work while everything around them breaks.
type storm struct {
	t       *testing.T
	srv     *servers.Server
	seed    uint64
	configs [stormClients]redisx.Config
	clients [stormClients]atomic.Pointer[redisx.Client]
	proxies [stormClients / 2]*faultproxy.Proxy
	callers []*caller
	faults  int
	over    atomic.Bool
	right   atomic.Int64 // about: callers add to it now and then
	wrongs  atomic.Int64
}

func newStorm(t *testing.T, srv *servers.Server, seed uint64) *storm {
	s := &storm{t: t, srv: srv, seed: seed}
	resp2 := redisx.Config{Addr: srv.Addr, RESP2: true}
	for i, cfg := range append(streams(t, srv), resp2) {
		s.configs[2*i], s.configs[2*i+1] = cfg, cfg
		s.proxies[i] = startProxy(t, hostPort(cfg))
		s.configs[2*i+1].Addr = through(s.proxies[i], cfg)
	}
	for i := range s.clients {
		client, err := redisx.ConnectConfig(bg, s.configs[i])
		if err != nil {
			t.Fatal(err)
		}
		s.clients[i].Store(client)
	}
	n := stormCallers
	if !long {
		n /= 2
	}
	for i := range n {
		s.callers = append(s.callers, &caller{storm: s, id: i, r: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	return s
}

// streams are the ways to a server that have a port to put a proxy before.
func streams(t *testing.T, srv *servers.Server) []redisx.Config {
	t.Helper()
	return []redisx.Config{
		{Addr: srv.Addr},
		{Addr: srv.TLSAddr, TLS: srv.TLSConfig()},
		{Network: "ws", Addr: startGateway(t, srv.Addr, nil)},
	}
}

func hostPort(c redisx.Config) string { return strings.TrimSuffix(c.Addr, "/") }

// through returns the address of a proxy in place of the one it stands before.
func through(p *faultproxy.Proxy, c redisx.Config) string {
	return strings.Replace(c.Addr, hostPort(c), p.Addr, 1)
}

func (s *storm) run() {
	var wg sync.WaitGroup
	for _, c := range s.callers {
		wg.Go(c.run)
	}
	s.torment()
	s.over.Store(true)
	for _, p := range s.proxies {
		p.Heal()
	}
	wg.Wait()
	for i := range s.clients {
		s.clients[i].Load().Close()
	}
}

// torment breaks something every stormFaults until there are enough answers.
func (s *storm) torment() {
	admin := connect(s.t, s.srv.SocketURL())
	r := rand.New(rand.NewPCG(s.seed, stormCallers))
	start := time.Now()
	for {
		time.Sleep(stormFaults)
		switch took := time.Since(start); {
		case !long && took > stormShort, took > stormLimit, long && s.right.Load() > stormEnough && s.faults >= stormBreaks, s.wrongs.Load() > 0:
			return
		}
		s.faults++
		i := r.IntN(stormClients)
		switch {
		case s.faults%16 == 0:
			killClients(s.t, admin)
		case s.faults%32 == 1:
			if _, err := admin.Cmd(bg, "CLIENT", "PAUSE", 20); err != nil {
				s.t.Error(err)
			}
		case s.faults%4 == 2:
			s.replace(i)
		default:
			s.proxies[i/2].Apply(faultproxy.Random(r, 2*stormFaults))
		}
	}
}

// replace closes a client while it is in use, and lets its callers have a new
// one.
func (s *storm) replace(i int) {
	s.proxies[i/2].Heal()
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	client, err := redisx.ConnectConfig(ctx, s.configs[i])
	if err != nil {
		s.t.Errorf("a new client: %v", err)
		return
	}
	s.clients[i].Swap(client).Close()
}

func (s *storm) sum() *caller {
	var sum caller
	for _, c := range s.callers {
		sum.right += c.right
		sum.wrong += c.wrong
		sum.failed += c.failed
		sum.maybe += c.maybe
		sum.latest = max(sum.latest, c.latest)
		for i, n := range c.lateness {
			sum.lateness[i] += n
		}
	}
	return &sum
}

// caller is one goroutine, and what it has seen.
type caller struct {
	storm *storm
	id    int
	r     *rand.Rand
	seq   int    // makes every payload unique
	keys  int    // how many keys it has given up
	value string // what is under the one it uses, "" if nothing

	right, wrong, failed, maybe int
	told                        int // of right
	latest                      time.Duration
	lateness                    [10_000]int32 // how many calls outlived their contexts, by lateStep
}

func (c *caller) run() {
	for !c.storm.over.Load() {
		for range 50 {
			c.call()
		}
		c.storm.right.Add(int64(c.right - c.told))
		c.told = c.right
	}
}

// call makes one call with a context that ends within 20 ms, often before the
// answer comes.
func (c *caller) call() {
	client := c.storm.clients[(c.id+c.seq)%stormClients].Load()
	end := time.Duration(1+c.r.IntN(20_000)) * time.Microsecond
	if c.r.IntN(4) == 0 {
		end /= 10
	}
	due := time.Now().Add(end)
	var ctx context.Context
	var cancel context.CancelFunc
	if c.r.IntN(3) == 0 {
		ctx, cancel = context.WithCancel(bg)
		timer := time.AfterFunc(end, cancel)
		defer timer.Stop()
	} else {
		ctx, cancel = context.WithDeadline(bg, due)
	}
	defer cancel()
	switch c.r.IntN(6) {
	case 0, 1:
		c.echo(ctx, client, due)
	case 2:
		c.set(ctx, client, due)
	case 3:
		c.get(ctx, client, due)
	default:
		c.pipeline(ctx, client, due)
	}
}

// back notes when a call came back.
func (c *caller) back(due time.Time) {
	if late := time.Since(due); late > 0 {
		c.latest = max(c.latest, late)
		c.lateness[min(int(late/lateStep), len(c.lateness)-1)]++
	}
}

func (c *caller) payload() string {
	c.seq++
	return fmt.Sprintf("%d-%d", c.id, c.seq)
}

func (c *caller) echo(ctx context.Context, client *redisx.Client, due time.Time) {
	want := c.payload()
	v, err := client.Cmd(ctx, "ECHO", want)
	c.back(due)
	c.check(err, v.Text(), want)
}

// set and get use a key of the caller's own, and a new one as soon as nobody can
// tell what the server will make of the old one.
func (c *caller) set(ctx context.Context, client *redisx.Client, due time.Time) {
	value := c.payload()
	err := client.Set(ctx, c.key(), value)
	c.back(due)
	c.check(err, "", "")
	switch {
	case err == nil:
		c.value = value
	case !redisx.SafeToRetry(err): // it may even run later
		c.keys++
		c.value = ""
	}
}

func (c *caller) get(ctx context.Context, client *redisx.Client, due time.Time) {
	v, err := client.Get(ctx, c.key())
	c.back(due)
	if errors.Is(err, redisx.Nil) {
		v, err = "", nil
	}
	c.check(err, v, c.value)
}

func (c *caller) key() string { return fmt.Sprintf("key:%d:%d", c.id, c.keys) }

func (c *caller) pipeline(ctx context.Context, client *redisx.Client, due time.Time) {
	p := client.Pipeline()
	n := 1 + c.r.IntN(40)
	wants, got := make([]string, n), make([]redisx.Future[resp3.Value], n)
	for i := range n {
		wants[i] = c.payload()
		got[i] = redisx.Queue(p, echo(wants[i]))
	}
	p.Exec(ctx)
	c.back(due)
	for i, f := range got {
		v, err := f.Result()
		c.check(err, v.Text(), wants[i])
	}
}

// check judges one answer. Every error must have a class, and none may speak of
// a broken protocol: the servers here are honest.
func (c *caller) check(err error, got, want string) {
	if err == nil {
		if got == want {
			c.right++
			return
		}
		c.wrong++
		if c.storm.wrongs.Add(1) <= 5 {
			c.storm.t.Errorf("caller %d was given %q, want %q", c.id, got, want)
		}
		return
	}
	c.failed++
	var e *redisx.Error
	var broken *resp3.ProtocolError
	var said redisx.ServerError
	switch {
	case !errors.As(err, &e):
		c.storm.t.Errorf("an error without a class: %v", err)
	case errors.As(err, &broken), errors.As(err, &said):
		if c.storm.wrongs.Add(1) <= 5 {
			c.storm.t.Errorf("an honest server is said to have answered: %v", err)
		}
	case e.Outcome == command.Maybe:
		c.maybe++
	case e.Outcome == command.Done:
		c.storm.t.Errorf("an answer that is an error: %v", err)
	}
}

// late is what is known of the calls that outlived their contexts.
type late struct {
	n    int
	each []int32
}

func (c *caller) late() late {
	l := late{each: c.lateness[:]}
	for _, n := range l.each {
		l.n += int(n)
	}
	return l
}

func (l late) quantile(q float64) time.Duration {
	rest := int(float64(l.n) * q)
	for i, n := range l.each {
		if rest -= int(n); rest < 0 {
			return time.Duration(i) * lateStep
		}
	}
	return time.Duration(len(l.each)) * lateStep
}

// machineLag watches by how much contexts end late for anyone, until the function
// it returns is called, which tells the worst. What nobody on this machine could
// have met is not held against the code under test.
func machineLag(t *testing.T) func() time.Duration {
	const nap, watchers = time.Millisecond, 4
	stop := make(chan struct{})
	var worst [watchers]time.Duration
	var wg sync.WaitGroup
	for i := range worst {
		wg.Go(func() {
			for {
				due := time.Now().Add(nap)
				ctx, cancel := context.WithDeadline(bg, due)
				select {
				case <-stop:
					cancel()
					return
				case <-ctx.Done():
				}
				cancel()
				worst[i] = max(worst[i], time.Since(due))
			}
		})
	}
	end := sync.OnceValue(func() time.Duration { close(stop); wg.Wait(); return slices.Max(worst[:]) })
	t.Cleanup(func() { end() })
	return end
}

var echoSpec = command.NewSpec(command.Spec{Name: "ECHO", Arity: 2})

func echo(s string) command.Cmd[resp3.Value] {
	return command.New(command.NewRequest(echoSpec, command.Str(s)), command.AsValue)
}
