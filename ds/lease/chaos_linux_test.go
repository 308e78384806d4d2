package lease_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/faultproxy"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/internal/skew"
)

// chaos is a test of many processes that hold leases while things go wrong.
type chaos struct {
	seed      uint64
	processes int
	workers   int // in each process
	leases    int
	ttl       time.Duration
	hold      time.Duration
	wait      time.Duration

	faults    []string      // of those of torment; empty: none
	pause     time.Duration // between two faults of one process, at most twice that
	flush     bool          // SCRIPT FLUSH every 50 ms
	failovers time.Duration // how often, 0: never
	lag       time.Duration // for how long the replica has got nothing then, at most
	acks      int           // replicas that must have a grant

	run    time.Duration // at most
	enough int           // fenced writes after which it ends earlier, 0: none
	least  time.Duration // but not before
	tidy   bool          // see chaosOrder
	fair   bool
	modes  modes
	plants []plant
	flavor servers.Flavor
}

// stage is a run of it.
type stage struct {
	chaos

	t    *testing.T
	dir  string
	pair *pair

	mu       sync.Mutex
	journals map[int]string // by holder
	ops      []op           // that are not the holders'
	counts   map[string]int
}

func (s *stage) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// play runs it and returns the history.
func (c chaos) play(t *testing.T) recorded {
	t.Helper()
	s := &stage{chaos: c, t: t, dir: t.TempDir(), journals: map[int]string{}, counts: map[string]int{}}
	s.pair = newPair(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), c.run)
	defer cancel()

	begin := time.Now()
	var wg sync.WaitGroup
	for i := range c.processes {
		p, err := faultproxy.Start(s.pair.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		s.pair.front(p)
		wg.Go(func() {
			h := &tormented{stage: s, place: i, proxy: p, r: rand.New(rand.NewPCG(c.seed, uint64(i)))}
			if err := h.live(ctx); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	wg.Go(func() { s.watch(ctx, cancel) })
	if c.failovers > 0 {
		wg.Go(func() { s.failOver(ctx) })
	}
	wg.Wait()
	took := time.Since(begin)
	h := s.collect()
	s.report(h, took)
	return h
}

// watch flushes scripts, and ends the run when there was enough.
func (s *stage) watch(ctx context.Context, enough func()) {
	begin := time.Now()
	for tick := 0; ctx.Err() == nil; tick++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
		if s.flush {
			// A server that fails over just now flushes nothing.
			if err := s.pair.do(ctx, "SCRIPT", "FLUSH"); err == nil {
				s.count("SCRIPT FLUSH")
			}
		}
		if s.enough > 0 && tick%10 == 0 && time.Since(begin) >= s.least && s.written(ctx) >= s.enough {
			enough()
		}
	}
}

func (s *stage) written(ctx context.Context) int {
	sum := 0
	for i := range s.leases {
		v, err := s.pair.client().Cmd(ctx, "LLEN", chaosLog(i))
		if err != nil {
			return 0
		}
		n, _ := v.Int() // 0 when it is no number
		sum += int(n)
	}
	return sum
}

func (s *stage) failOver(ctx context.Context) {
	r := rand.New(rand.NewPCG(s.seed, 1<<32))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.failovers):
		}
		from := mono()
		// Where grants are confirmed, the one that was primary may live on for a
		// while, and some holders may not hear of the other.
		split := time.Duration(0)
		if s.acks > 0 {
			split = time.Duration(r.Int64N(int64(2 * s.ttl)))
		}
		if err := s.pair.failOver(s.lag/2+time.Duration(r.Int64N(int64(s.lag/2))), split); err != nil {
			s.t.Errorf("failover: %v", err)
			return
		}
		s.count("failovers")
		if s.acks == 0 {
			s.mu.Lock()
			s.ops = append(s.ops, op{verb: fails, from: from, to: mono(), holder: -1})
			s.mu.Unlock()
		}
	}
}

// collect reads what the processes have written, and the logs.
func (s *stage) collect() recorded {
	h := recorded{ops: s.ops, lossy: s.failovers > 0, narrow: s.acks > 0, ttl: s.ttl}
	for _, holder := range slices.Sorted(maps.Keys(s.journals)) {
		journal, err := os.ReadFile(s.journals[holder])
		if err != nil && !errors.Is(err, os.ErrNotExist) { // killed before it began
			s.t.Fatal(err)
		}
		h.ops = append(h.ops, opsOf(holder, journal)...)
	}
	for i := range s.leases {
		var log []string
		for _, v := range dstest.Cmd(s.t, s.pair.client(), "LRANGE", chaosLog(i), 0, -1).Elems() {
			log = append(log, v.Text())
		}
		h.log = append(h.log, log)
	}
	return h
}

// acquired returns how many acquisitions were granted.
func (h recorded) acquired() int { return h.number(acquires, yes) }

func (h recorded) number(v verb, o outcome) int {
	n := 0
	for _, op := range h.ops {
		if op.verb == v && op.outcome == o {
			n++
		}
	}
	return n
}

// span returns the time from the first call to the last return.
func (h recorded) span() time.Duration {
	first, last := int64(math.MaxInt64), int64(0)
	for _, op := range h.ops {
		first = min(first, op.from)
		if op.to != math.MaxInt64 {
			last = max(last, op.to)
		}
	}
	return time.Duration(last - first)
}

func (s *stage) report(h recorded, took time.Duration) {
	var faults []string
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		faults = append(faults, fmt.Sprintf("%d %s", s.counts[what], what))
	}
	s.t.Logf("seed %d: %d processes with %d holders each on %d leases for %.1f s: "+
		"%d acquired, %d refused, %d unheard (%.0f a second); fenced writes: %d done, %d refused, %d unheard; releases: %d done, %d too late, %d unheard; %s",
		s.seed, s.processes, s.workers, s.leases, took.Seconds(),
		h.number(acquires, yes), h.number(acquires, no), h.number(acquires, unknown), float64(h.acquired())/took.Seconds(),
		h.number(writes, yes), h.number(writes, no), h.number(writes, unknown),
		h.number(releases, yes), h.number(releases, no), h.number(releases, unknown), strings.Join(faults, ", "))
}

// verify fails the test for what is wrong with a history.
func (h recorded) verify(t *testing.T) {
	t.Helper()
	begin := time.Now()
	wrong := h.check(t)
	for _, w := range wrong[:min(len(wrong), 5)] {
		t.Error(w)
	}
	if h.acquired() < 20 || h.number(looks, yes) < 20 {
		t.Errorf("only %d acquisitions: nothing was tested", h.acquired())
	}
	t.Logf("%d violations in %d ops, checked in %.1f s", len(wrong), len(h.ops), time.Since(begin).Seconds())
}

// tormented is one place among the processes. Who is killed is followed by
// another there.
type tormented struct {
	*stage

	place int
	born  int
	proxy *faultproxy.Proxy
	r     *rand.Rand // of the faults
	cmd   *exec.Cmd
	in    io.WriteCloser
	clock *skew.Clock // nil where clocks cannot be moved
}

// live runs processes and torments them until ctx ends, then lets the last one
// finish.
func (h *tormented) live(ctx context.Context) error {
	// A process that is stopped when the test dies must die with it, and the
	// kernel looks at the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := h.start(); err != nil {
		return err
	}
	for len(h.faults) > 0 && ctx.Err() == nil {
		nap(ctx, h.pause/2+rand.N(h.pause))
		fault := h.faults[h.r.IntN(len(h.faults))]
		h.count(fault)
		if err := h.torment(ctx, fault); err != nil {
			return errors.Join(err, h.kill())
		}
	}
	<-ctx.Done()
	h.proxy.Heal()
	h.in.Close()
	timer := time.AfterFunc(20*time.Second, func() { _ = h.cmd.Process.Kill() })
	defer timer.Stop()
	return h.cmd.Wait()
}

// torment does one thing to the process.
func (h *tormented) torment(ctx context.Context, fault string) error {
	ttl := int64(h.ttl)
	share := func(from, to float64) time.Duration {
		return time.Duration(float64(ttl) * (from + h.r.Float64()*(to-from)))
	}
	switch fault {
	case "kill -9":
		if err := h.kill(); err != nil {
			return err
		}
		return h.start()
	case "SIGSTOP":
		if err := h.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		nap(ctx, share(0.1, 2))
		return h.cmd.Process.Signal(syscall.SIGCONT)
	case "network faults":
		h.proxy.Apply(faultproxy.Random(h.r, h.ttl*3/2))
	case "late answers":
		h.proxy.Apply(faultproxy.Fault{Kind: faultproxy.Delay, To: faultproxy.Client, Late: share(0.2, 0.9), For: 3 * h.ttl})
	case "late answers, then silence":
		late := share(0.25, 0.8)
		h.proxy.Apply(faultproxy.Fault{Kind: faultproxy.Delay, To: faultproxy.Client, Late: late})
		nap(ctx, late)
		h.proxy.Apply(faultproxy.Fault{Kind: faultproxy.Hole, For: h.ttl * 6 / 5})
		nap(ctx, h.ttl*6/5)
		h.proxy.Heal()
	case "cuts":
		h.proxy.Apply(faultproxy.Fault{Kind: faultproxy.Cut})
	case "clock jumps":
		return h.setClock()
	default:
		return fmt.Errorf("there is no fault %q", fault)
	}
	return nil
}

func nap(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (h *tormented) kill() error {
	if err := h.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = h.cmd.Wait() // it was killed
	h.in.Close()
	return nil
}

// start runs a process and sets its clock before it begins.
func (h *tormented) start() error {
	holder := h.place + h.processes*h.born
	h.born++
	journal := filepath.Join(h.dir, fmt.Sprintf("holder-%d", holder))
	h.mu.Lock()
	h.journals[holder] = journal
	h.mu.Unlock()
	order, err := json.Marshal(chaosOrder{
		URL: "redis://" + h.proxy.Addr, Journal: journal, Holder: holder, Seed: h.seed, Leases: h.leases, Workers: h.workers,
		TTL: h.ttl, Hold: h.chaos.hold, Wait: h.wait, Acks: h.acks, Tidy: h.tidy, Fair: h.fair, Modes: h.modes, Plants: h.plants,
	})
	if err != nil {
		return err
	}
	h.cmd = exec.Command(os.Args[0])
	// The race detector lets a process sleep for a second before it ends.
	h.cmd.Env = append(os.Environ(), envChaos+"="+string(order), "GORACE=atexit_sleep_ms=0")
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := h.cmd.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		return errors.Join(fmt.Errorf("it said %q, %w", line, err), h.kill())
	}
	h.clock = nil
	if slices.Contains(h.faults, "clock jumps") {
		h.clock, err = skew.Attach(h.cmd.Process.Pid)
		if errors.Is(err, errors.ErrUnsupported) {
			h.count("CLOCKS NOT SKEWED HERE")
			err = nil
		}
		if err == nil {
			err = h.setClock()
		}
		if err != nil {
			return errors.Join(err, h.kill())
		}
	}
	_, err = io.WriteString(h.in, "go\n")
	return err
}

// setClock makes it an hour earlier or later for the process, or neither.
func (h *tormented) setClock() error {
	if h.clock == nil {
		return nil
	}
	return h.clock.Set(time.Duration(h.r.IntN(3)-1) * time.Hour)
}

// pair is a server, and a replica if there are failovers.
type pair struct {
	t *testing.T

	mu      sync.Mutex
	primary *servers.Server
	replica *servers.Server     // nil: none
	admin   *redisx.Client      // of the primary
	link    *faultproxy.Proxy   // that the replica copies through
	fronts  []*faultproxy.Proxy // what holders connect to
}

func newPair(t *testing.T, c chaos) *pair {
	o := servers.Options{Flavor: c.flavor, Args: []string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}}
	p := &pair{t: t, primary: serverstest.Start(t, o)}
	p.admin = dstest.Connect(t, p.primary)
	if c.failovers == 0 {
		return p
	}
	p.replica = serverstest.Start(t, o)
	var err error
	if p.link, err = faultproxy.Start(p.primary.Addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.link.Close() })
	if err := p.follow(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.primary.Addr
}

func (p *pair) client() *redisx.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.admin
}

func (p *pair) front(f *faultproxy.Proxy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fronts = append(p.fronts, f)
}

func (p *pair) do(ctx context.Context, name string, args ...any) error {
	_, err := p.client().Cmd(ctx, name, args...)
	return err
}

// follow makes the replica copy the primary, and waits until it does.
func (p *pair) follow() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := redisx.Connect(ctx, p.replica.URL())
	if err != nil {
		return err
	}
	defer c.Close()
	host, port, _ := strings.Cut(p.link.Addr, ":")
	if _, err := c.Cmd(ctx, "REPLICAOF", host, port); err != nil {
		return err
	}
	for {
		v, err := c.Cmd(ctx, "INFO", "replication")
		if err != nil {
			return err
		}
		if strings.Contains(v.Text(), "master_link_status:up") {
			return nil
		}
		nap(ctx, 5*time.Millisecond)
	}
}

// failOver freezes the replica's copy, promotes it some time later, and makes a
// replica of the one that was the primary. That one is killed before; where
// split is not zero, it lives on for so long, and half of the holders with it.
func (p *pair) failOver(lag, split time.Duration) error {
	p.link.Apply(faultproxy.Fault{Kind: faultproxy.Hole})
	time.Sleep(lag)
	if split == 0 {
		p.primary.Kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := redisx.Connect(ctx, p.replica.URL())
	if err != nil {
		return err
	}
	p.t.Cleanup(func() { c.Close() })
	// The link first: what the hole holds back must not arrive now.
	p.link.Switch(p.replica.Addr)
	if _, err := c.Cmd(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
		return err
	}
	p.mu.Lock()
	p.primary, p.replica, p.admin = p.replica, p.primary, c
	for _, f := range p.fronts[:len(p.fronts)/2] {
		f.Switch(p.primary.Addr)
	}
	p.mu.Unlock()
	time.Sleep(split)
	p.replica.Kill()
	p.mu.Lock()
	for _, f := range p.fronts[len(p.fronts)/2:] {
		f.Switch(p.primary.Addr)
	}
	p.mu.Unlock()
	p.link.Heal()
	if err := p.replica.Restart(ctx); err != nil {
		return err
	}
	return p.follow()
}
