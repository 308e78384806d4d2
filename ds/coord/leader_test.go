package coord_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// illness is a health check that fails on demand.
type illness struct{ err atomic.Pointer[error] }

func (i *illness) set(err error) { i.err.Store(&err) }

func (i *illness) check(context.Context) error {
	if p := i.err.Load(); p != nil {
		return *p
	}
	return nil
}

func TestAnUnhealthyLeaderLosesItsTerm(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	a, b := dstest.Connect(t, s), dstest.Connect(t, s)
	ill := errors.New("disk full")
	var health illness
	const ttl = 2 * time.Second
	first := campaign(t, a, coord.TTL(ttl), coord.Healthy(health.check))
	next := campaigning(t, b, "B", coord.TTL(ttl))
	time.Sleep(ttl)
	if err := first.Context().Err(); err != nil {
		t.Fatalf("a healthy leader lost its term: %v", context.Cause(first.Context()))
	}
	began := time.Now()
	health.set(ill)
	lost := loss(t, first)
	if took := time.Since(began); lost.Reason != "unhealthy" || !errors.Is(lost, ill) || took > ttl+slack(time.Second) {
		t.Errorf("after %v the term ended with %v", took, lost)
	}
	// It is not renewed, so others lead even if its holder never resigns.
	e := <-next
	if e.err != nil {
		t.Fatal(e.err)
	}
	if took := e.at.Sub(began); took > 2*ttl+slack(500*time.Millisecond) {
		t.Errorf("the next leader came %v after the illness", took)
	}
	resign(t, e.term)
}

func TestAHealthCheckThatHangsOrPanicsEndsTheTerm(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	const ttl = 1500 * time.Millisecond
	for name, check := range map[string]func(ctx context.Context) error{
		"hangs": func(ctx context.Context) error { <-ctx.Done(); return nil },
		// It minds its context only much later.
		"is deaf": func(context.Context) error { time.Sleep(2 * ttl); return nil },
		"panics":  func(context.Context) error { panic("oh") },
	} {
		var sick atomic.Bool
		term := campaign(t, c, coord.TTL(ttl), coord.Healthy(func(ctx context.Context) error {
			if sick.Load() {
				return check(ctx)
			}
			return nil
		}))
		sick.Store(true)
		began := time.Now()
		if lost, took := loss(t, term), time.Since(began); lost.Reason != "unhealthy" || lost.Err == nil || took > ttl+slack(time.Second) {
			t.Errorf("a check that %s: after %v, %v", name, took, lost)
		}
		resign(t, term)
	}
}

func TestAnUnhealthyCandidateDoesNotLead(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	ill := errors.New("disk full")
	var health illness
	health.set(ill)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := coord.NewElection(c, "cron", coord.Healthy(health.check)).Campaign(ctx)
	if !errors.Is(err, coord.ErrUnhealthy) || !errors.Is(err, ill) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Campaign returned %v", err)
	}
	if i := leader(t, c); i.Led || i.Waiting != 0 {
		t.Errorf("with an unhealthy candidate %s", i.Explain())
	}
	done := make(chan elected, 1)
	go func() {
		term, err := campaignFor(c, 5*time.Second, coord.Healthy(health.check), coord.TTL(300*time.Millisecond))
		done <- elected{term: term, err: err}
	}()
	time.Sleep(50 * time.Millisecond)
	health.set(nil)
	e := <-done
	if e.err != nil {
		t.Fatalf("a candidate that has recovered: %v", e.err)
	}
	resign(t, e.term)
}

// Of candidates that wait the heaviest leads next, as the others leave it a head
// start. It may sleep through that: so what is checked is that they do, and that
// it helps.
func TestTheHeaviestWaitingCandidateLeadsNext(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	clients := []command.Doer{dstest.Connect(t, s), dstest.Connect(t, s), dstest.Connect(t, s)}
	names := []string{"light", "middle", "heavy"}
	helped := false
	for round := 0; round < dstest.Rounds(5, 50) || !helped; round++ {
		if round == 100 {
			t.Fatal("the heaviest has never been the first")
		}
		first := campaign(t, c)
		dstest.Eventually(t, soon, "the leader stands no more", func() bool { return leader(t, c).Waiting == 0 })
		waiting := make([]<-chan elected, len(names))
		for i, name := range names {
			waiting[i] = campaigning(t, clients[i], name, coord.Weight(1+i))
		}
		if i := leader(t, c); len(i.Candidates) != 3 || i.Candidates[0].Name != "heavy" || i.Candidates[2].Name != "light" {
			t.Errorf("the order is %v", i.Candidates)
		}
		free := time.Now() // at the earliest
		resign(t, first)
		for n := range names {
			var e elected
			select {
			case e = <-waiting[0]:
			case e = <-waiting[1]:
			case e = <-waiting[2]:
			}
			if e.err != nil {
				t.Fatal(e.err)
			}
			if n == 0 {
				heavier := 2 - slices.Index(names, e.term.Leader())
				helped = helped || heavier == 0
				if took := e.at.Sub(free); took < time.Duration(heavier)*100*time.Millisecond {
					t.Errorf("round %d: %s led after %v, with %d heavier ones", round, e.term.Leader(), took, heavier)
				}
			}
			resign(t, e.term)
		}
	}
}

func TestAHeavierCandidateThatHasDiedCostsABoundedWait(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	first := campaign(t, c)
	light := campaigning(t, dstest.Connect(t, s), "B")
	// What a process leaves that was killed while it stood.
	until := dstest.Int(t, c, "EVAL", "local t = redis.call('TIME') return t[1] * 1000000 + 3600000000", 0)
	const dead = 250 // of which each would cost 100 ms
	for id := range dead {
		dstest.Cmd(t, c, "EVAL", "return redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f 100 1 dead', ARGV[2]))",
			1, "{redisx:lease:leader:cron}:candidates", id, until)
	}
	began := time.Now()
	resign(t, first)
	e := <-light
	if e.err != nil {
		t.Fatal(e.err)
	}
	if took := e.at.Sub(began); took < 200*time.Millisecond || took > dead*100*time.Millisecond/2 {
		t.Errorf("the light candidate led after %v, want 200 ms and a little", took)
	}
	resign(t, e.term)
}

func TestStepDown(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	ops := coord.NewElection(dstest.Connect(t, s), "cron", coord.Name("ops"))
	if err := ops.StepDown(t.Context(), "nobody leads"); err != nil {
		t.Fatal(err)
	}
	c := dstest.Connect(t, s)
	ended := make(chan error, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	led := make(chan *coord.Term, 10)
	go func() {
		ended <- coord.NewElection(c, "cron", coord.Again(), coord.Name("A"), coord.Weight(100)).Lead(ctx, func(ctx context.Context, term *coord.Term) error {
			led <- term
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	first := <-led
	next := campaigning(t, dstest.Connect(t, s), "B")
	var e elected
	for asked := time.Now(); e.term == nil; asked = time.Now() {
		if err := ops.StepDown(t.Context(), "deploy"); err != nil {
			t.Fatal(err)
		}
		// A is heavier, but lets B go first. B may sleep through its head start.
		select {
		case e = <-next:
			if e.err != nil {
				t.Fatal(e.err)
			}
		case <-led:
			if took := time.Since(asked); took < 100*time.Millisecond {
				t.Errorf("who was asked led again after %v", took)
			}
		}
	}
	lost := loss(t, first)
	if lost.Reason != "asked" || !strings.Contains(lost.Error(), "by ops: deploy") || !strings.Contains(lost.Explain(), "StepDown") {
		t.Errorf("the term ended with %v", lost)
	}
	dstest.Eventually(t, soon, "A stands again", func() bool { return stands(t, c, "A") })
	if i := leader(t, c); i.Asked != "" || len(i.Candidates) != 1 || i.Candidates[0].Weight != 0 {
		t.Errorf("Leader is %+v", i)
	}
	// The request was for A's term: B's goes on.
	time.Sleep(50 * time.Millisecond)
	if err := e.term.Context().Err(); err != nil {
		t.Fatalf("B's term ended: %v", context.Cause(e.term.Context()))
	}
	// With nobody else it leads on, in a new term.
	resign(t, e.term)
	second := <-led
	if err := ops.StepDown(t.Context(), "once more"); err != nil {
		t.Fatal(err)
	}
	if third := <-led; second.Token() <= e.term.Token() || third.Token() <= second.Token() {
		t.Errorf("terms %d, %d, %d, %d", first.Token(), e.term.Token(), second.Token(), third.Token())
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Lead returned %v", err)
	}
}

func TestARequestToStepDownWaitsForTheTerm(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	const ttl = 2 * time.Second
	// A leader that does not mind is not renewed.
	term := campaign(t, c, coord.Name("A"), coord.TTL(ttl))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	ops := coord.NewElection(dstest.Connect(t, s), "cron", coord.Name("ops"))
	if err := ops.StepDown(ctx, "deploy"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("StepDown returned %v before the term had ended", err)
	}
	if i := leader(t, c); i.Led && (i.Asked != "ops: deploy" || !strings.Contains(i.Explain(), "asked to resign by ops: deploy")) {
		t.Errorf("Leader is %+v", i)
	}
	began := time.Now()
	if err := ops.StepDown(t.Context(), "deploy"); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > ttl+slack(500*time.Millisecond) {
		t.Errorf("the term ended %v after the request", took)
	}
	if lost := loss(t, term); lost.Reason != "asked" {
		t.Errorf("the term ended with %v", lost)
	}
}

func TestTheKeysOfAnElectionHaveTTLs(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	campaign(t, c)
	campaigning(t, dstest.Connect(t, s), "B")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_ = coord.NewElection(c, "cron").StepDown(ctx, "") // whether it got through is checked below
	for _, k := range dstest.Cmd(t, c, "KEYS", "*").Elems() {
		ttl := dstest.Int(t, c, "PTTL", k.Text())
		if ttl <= 0 {
			t.Errorf("%s has a TTL of %d ms", k.Text(), ttl)
		}
		kind, v := dstest.Cmd(t, c, "HGET", k.Text(), "kind"), dstest.Cmd(t, c, "HGET", k.Text(), "v")
		if kind.IsNull() || v.Text() != "1" || !strings.HasPrefix(k.Text(), "{redisx:lease:leader:cron}:") {
			t.Errorf("%s: kind %v, v %v", k.Text(), kind, v)
		}
	}
	if n := dstest.Int(t, c, "DBSIZE"); n < 3 {
		t.Errorf("%d keys: lease, fence and candidates are not all there", n)
	}
}

func TestAnElectionIsALease(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	term := campaign(t, c, coord.Name("A"), coord.Meta("v1"))
	if i := leader(t, c); i.Meta != "v1" || !strings.Contains(i.Explain(), `"v1"`) {
		t.Errorf("Leader is %+v", i)
	}
	held, err := lease.Inspect(t.Context(), c, "leader:cron")
	if err != nil || !held.Held || held.Owner != "A" || held.Token != term.Token() {
		t.Errorf("lease.Inspect: %+v, %v", held, err)
	}
}

func TestATermNeedsItsReplicas(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t) // which has none
	_, err := coord.NewElection(c, "cron", coord.Replicas(1, 50*time.Millisecond)).Campaign(t.Context())
	if !errors.Is(err, lease.ErrNotReplicated) {
		t.Errorf("Campaign returned %v", err)
	}
	dstest.Eventually(t, soon, "nobody leads", func() bool { return !leader(t, c).Led })
}

func TestATakenOverTermEnds(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	term := campaign(t, c, coord.TTL(3*time.Second))
	taken, err := lease.TakeOver(t.Context(), c, "leader:cron")
	if err != nil {
		t.Fatal(err)
	}
	if lost := loss(t, term); lost.Reason != "taken over" || taken.Token() <= term.Token() {
		t.Errorf("term %d, taken over with %d, ended with %v", term.Token(), taken.Token(), lost)
	}
	if err := taken.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLeaderInfoExplainsAndTravels(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 23, 12, 3, 5, 0, time.UTC)
	for _, tt := range []struct {
		info coord.LeaderInfo
		want string
	}{
		{coord.LeaderInfo{Name: "cron"}, `nobody leads, no term remembered`},
		{coord.LeaderInfo{Name: "cron", Term: 7}, `nobody leads, last term 7`},
		{
			coord.LeaderInfo{
				Name: "cron", Led: true, Term: 17, Leader: "node-A", Since: since, Left: 8 * time.Second, TTL: 10 * time.Second, Asked: "ops: deploy",
				Waiting: 3, Candidates: []coord.Candidate{{Name: "node-B", Weight: 2, Since: since}},
			},
			`led by node-A since 12:03:05Z, term 17, renewed 2.0 s ago, lapses in 8.0 s unless renewed, asked to resign by ops: deploy, 3 waiting, next is node-B`,
		},
	} {
		if got := tt.info.Explain(); got != tt.want {
			t.Errorf("Explain says\n%s, want\n%s", got, tt.want)
		}
		data, err := json.Marshal(tt.info)
		var back coord.LeaderInfo
		if err == nil {
			err = json.Unmarshal(data, &back)
		}
		if err != nil || back.Explain() != tt.want {
			t.Errorf("%s came back as %+v, %v", data, back, err)
		}
	}
}
