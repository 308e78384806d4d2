package coord_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

const (
	chaosElection = "chaos"
	chaosLog      = "chaos:log"     // the terms of all writes, in the server's order
	chaosRefused  = "chaos:refused" // how many late writes the server refused

	envChaosName     = "REDISX_TEST_COORD_NAME"
	envChaosTTL      = "REDISX_TEST_COORD_TTL"
	envChaosUnfenced = "REDISX_TEST_COORD_UNFENCED"
)

func init() { roles["candidate"] = candidateChild }

// candidateChild is the body of a process that campaigns for ever and writes to
// the log while it leads. SIGUSR1 makes it resign.
func candidateChild(url string) int {
	err := func() error {
		ttl, err := time.ParseDuration(os.Getenv(envChaosTTL))
		if err != nil {
			return err
		}
		ctx := context.Background()
		c, err := redisx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer c.Close()
		resign := make(chan os.Signal, 1)
		signal.Notify(resign, syscall.SIGUSR1)
		e := coord.NewElection(c, chaosElection, coord.TTL(ttl), coord.Name(os.Getenv(envChaosName)), coord.Again())
		for {
			if err := e.Lead(ctx, func(ctx context.Context, term *coord.Term) error { return reign(ctx, c, term, resign) }); err != nil {
				return err
			}
		}
	}()
	fmt.Fprintln(os.Stderr, "candidate:", err)
	return 1
}

// reign writes the term to the log until it resigns or loses it, and then writes
// once more, as one does who has not noticed.
func reign(ctx context.Context, c *redisx.Client, term *coord.Term, resign <-chan os.Signal) error {
	write := command.RPush(chaosLog, strconv.FormatInt(term.Token(), 10))
	for ctx.Err() == nil {
		// An error is no matter: the context says when to stop.
		_, _ = term.Do(ctx, write)
		select {
		case <-resign:
			return nil
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
	late := context.WithoutCancel(ctx)
	if os.Getenv(envChaosUnfenced) != "" {
		_, _ = command.Do(late, c, write)
	} else if _, err := term.Do(late, write); errors.Is(err, lease.ErrFenced) {
		_, _ = c.Incr(late, chaosRefused)
	}
	return context.Cause(ctx)
}

// chaos says how an election by processes is disturbed.
type chaos struct {
	candidates int
	ttl        time.Duration
	elections  int           // how many, at least
	lasting    time.Duration // for how long, at least
	faults     []fault       // chosen from, all equally likely
	grace      time.Duration // after a TTL, for the next to lead when one dies
	handover   time.Duration // for the next to lead when one resigns
	unfenced   bool
	server     servers.Options
}

type fault string

const (
	killed  fault = "kill -9"
	stopped fault = "SIGSTOP"
	retired fault = "resign"
)

// reigns is what chaos makes of an election.
type reigns struct {
	t     *testing.T
	o     chaos
	s     *servers.Server
	c     *redisx.Client
	nodes map[string]*exec.Cmd
	next  int                       // number of the next node
	took  map[fault][]time.Duration // from the fault to the first write of the next term
	count int                       // of all faults
}

// run plays on one server, by a random seed, and reports.
func (o chaos) run(t *testing.T, f servers.Flavor) {
	o.server.Flavor = f
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r, log := o.play(t, seed)
	r.report(log)
}

// play disturbs an election and returns the log of its writes.
func (o chaos) play(t *testing.T, seed uint64) (*reigns, []int64) {
	s := serverstest.Start(t, o.server)
	r := &reigns{t: t, o: o, s: s, c: dstest.Connect(t, s), nodes: map[string]*exec.Cmd{}, took: map[fault][]time.Duration{}}
	for range o.candidates {
		r.spawn()
	}
	random := rand.New(rand.NewPCG(seed, seed))
	began, term := time.Now(), int64(0)
	term = r.written(term, time.Minute)
	for n := 0; r.count < o.elections || time.Since(began) < o.lasting; n++ {
		if n == 100+10*o.elections {
			t.Fatalf("of %d leaders only %d led for long enough", n, r.count)
		}
		if n%10 == 9 {
			dstest.Cmd(t, r.c, "SCRIPT", "FLUSH")
		}
		time.Sleep(time.Duration(random.Int64N(int64(o.ttl / 4)))) // anywhere between two renewals
		term = r.disturb(o.faults[random.IntN(len(o.faults))], term)
	}
	if o.unfenced {
		// The last to be stopped has its late write ahead of it.
		dstest.Eventually(t, time.Minute, "a late write", func() bool { return len(misplaced(tokens(t, r.c, chaosLog))) > 0 })
	}
	for _, p := range r.nodes {
		dstest.Kill(p)
	}
	return r, tokens(t, r.c, chaosLog)
}

// spawn starts another candidate.
func (r *reigns) spawn() {
	r.t.Helper()
	r.next++
	name := "node-" + strconv.Itoa(r.next)
	env := []string{envChaosName + "=" + name, envChaosTTL + "=" + r.o.ttl.String()}
	if r.o.unfenced {
		env = append(env, envChaosUnfenced+"=1")
	}
	r.nodes[name] = dstest.Process(r.t, "candidate", r.s.URL(), env...)
}

// written waits until a term after this one has written, and returns it.
func (r *reigns) written(after int64, limit time.Duration) int64 {
	r.t.Helper()
	term := int64(0)
	dstest.Eventually(r.t, limit, fmt.Sprintf("a write of a term after %d", after), func() bool {
		if v := dstest.Cmd(r.t, r.c, "LINDEX", chaosLog, -1); !v.IsNull() {
			term, _ = v.Int()
		}
		return term > after
	})
	return term
}

// disturb does something to the leader of a term, and returns the term that
// comes after it.
func (r *reigns) disturb(f fault, term int64) int64 {
	r.t.Helper()
	info, err := coord.NewElection(r.c, chaosElection).Leader(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	p := r.nodes[info.Leader]
	if p == nil || info.Term != term {
		// Lost in between, which a loaded machine may do.
		return r.written(term, time.Minute)
	}
	began := time.Now()
	switch f {
	case killed:
		delete(r.nodes, info.Leader)
		dstest.Kill(p)
		r.spawn()
	case stopped:
		_ = p.Process.Signal(syscall.SIGSTOP)
	case retired:
		_ = p.Process.Signal(syscall.SIGUSR1)
	}
	next := r.written(term, time.Minute)
	r.took[f] = append(r.took[f], time.Since(began))
	r.count++
	if f == stopped {
		_ = p.Process.Signal(syscall.SIGCONT)
	}
	return next
}

// misplaced returns what is wrong with a log: each write of a term after one of
// a later term.
func misplaced(log []int64) []string {
	var wrong []string
	last := int64(0)
	for i, term := range log {
		if term < last {
			wrong = append(wrong, fmt.Sprintf("write %d is of term %d, after term %d", i, term, last))
		}
		last = max(last, term)
	}
	return wrong
}

// report prints the figures, and checks them and the log.
func (r *reigns) report(log []int64) {
	r.t.Helper()
	for i, w := range misplaced(log) {
		if i == 10 {
			break
		}
		r.t.Error(w)
	}
	limits := map[fault]time.Duration{
		killed:  r.o.ttl + slack(r.o.grace),
		stopped: r.o.ttl + slack(r.o.grace),
		retired: slack(r.o.handover),
	}
	leaderless := time.Duration(0)
	for _, f := range []fault{killed, stopped, retired} {
		took := slices.Sorted(slices.Values(r.took[f]))
		if len(took) == 0 {
			continue
		}
		for _, d := range took {
			leaderless += d
		}
		long, longest := took[len(took)*9/10], took[len(took)-1]
		r.t.Logf("%s: %d elections, the next leader wrote after p50 %v, p90 %v, max %v (limit of p90 %v)", f, len(took),
			took[len(took)/2].Round(time.Millisecond/10), long.Round(time.Millisecond/10), longest.Round(time.Millisecond/10), limits[f])
		if long > limits[f] {
			r.t.Errorf("%s: the next leader wrote after %v, want at most %v", f, long, limits[f])
		}
	}
	terms := slices.Compact(slices.Clone(log))
	r.t.Logf("TTL %v, %d candidates: %d elections, %d terms, %d fenced writes, %s late ones refused, leaderless for %v in all",
		r.o.ttl, r.o.candidates, r.count, len(terms), len(log), dstest.Cmd(r.t, r.c, "GET", chaosRefused).Text(), leaderless.Round(time.Millisecond))
}

// TestElectionsByProcesses kills, stops and retires leaders, and checks the log
// of their writes: no write of an old term after one of a newer.
func TestElectionsByProcesses(t *testing.T) {
	t.Parallel()
	o := chaos{
		candidates: 5, ttl: 500 * time.Millisecond, elections: dstest.Rounds(12, 200), faults: []fault{killed, stopped, retired},
		grace: 500 * time.Millisecond, handover: 300 * time.Millisecond,
	}
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) { o.run(t, f) })
}

// TestElectionsUnderLongChaos is CD1.
func TestElectionsUnderLongChaos(t *testing.T) {
	t.Parallel()
	o := chaos{
		candidates: 5, ttl: 2 * time.Second, elections: dstest.Rounds(1, 40), faults: []fault{killed, stopped, retired},
		grace: time.Second, handover: 200 * time.Millisecond,
	}
	if dstest.Long {
		o.lasting = 2 * time.Minute // on each server
	}
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) { o.run(t, f) })
}

// The checker must find what it is there to find.
func TestTheCheckerFindsALateWriteThatIsNotFenced(t *testing.T) {
	t.Parallel()
	o := chaos{candidates: 2, ttl: 500 * time.Millisecond, elections: 2, faults: []fault{stopped}, unfenced: true}
	_, log := o.play(t, 1)
	if wrong := misplaced(log); len(wrong) == 0 {
		t.Error("writes of a stopped leader without a fence were not found")
	} else {
		t.Logf("%d complaints, such as: %s", len(wrong), wrong[0])
	}
}
