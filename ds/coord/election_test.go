package coord_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

const electionLease = "{redisx:lease:leader:cron}:lease"

// campaign campaigns in the election "cron", which must succeed soon.
func campaign(t testing.TB, c command.Doer, opts ...coord.Option) *coord.Term {
	t.Helper()
	term, err := campaignFor(c, soon, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = term.Resign(context.Background()) })
	return term
}

// campaignFor bounds the wait, but not the term.
func campaignFor(c command.Doer, d time.Duration, opts ...coord.Option) (*coord.Term, error) {
	ctx, cancel := context.WithCancel(context.Background())
	timer := time.AfterFunc(d, cancel)
	term, err := coord.NewElection(c, "cron", opts...).Campaign(ctx)
	timer.Stop()
	return term, err
}

// elected is the outcome of a campaign in the background.
type elected struct {
	term *coord.Term
	err  error
	at   time.Time
}

// campaigning campaigns under a name in the background, and returns when the
// candidate stands.
func campaigning(t testing.TB, c command.Doer, name string, opts ...coord.Option) <-chan elected {
	t.Helper()
	done := make(chan elected, 1)
	go func() {
		term, err := campaignFor(c, 20*time.Second, append(opts, coord.Name(name))...)
		done <- elected{term, err, time.Now()}
	}()
	dstest.Eventually(t, soon, "the candidate stands", func() bool { return stands(t, c, name) || len(done) > 0 })
	return done
}

// stands reports whether a candidate of that name waits.
func stands(t testing.TB, c command.Doer, name string) bool {
	t.Helper()
	return slices.ContainsFunc(leader(t, c).Candidates, func(c coord.Candidate) bool { return c.Name == name })
}

func leader(t testing.TB, c command.Doer) coord.LeaderInfo {
	t.Helper()
	i, err := coord.NewElection(c, "cron").Leader(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func resign(t testing.TB, term *coord.Term) {
	t.Helper()
	if err := term.Resign(t.Context()); err != nil {
		t.Fatalf("Resign: %v", err)
	}
}

// loss waits for the end of a term and returns its cause.
func loss(t testing.TB, term *coord.Term) *coord.LostError {
	t.Helper()
	select {
	case <-term.Context().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the term goes on")
	}
	var lost *coord.LostError
	if cause := context.Cause(term.Context()); !errors.As(cause, &lost) || !errors.Is(cause, coord.ErrLost) {
		t.Fatalf("the cause is %v, want a *LostError", cause)
	}
	return lost
}

// notOurs reports whether the server said that a term is over.
func notOurs(lost *coord.LostError) bool { return lost.Reason == "gone" || lost.Reason == "not owner" }

func TestTheNextLeadsAsSoonAsTheLeaderResigns(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	a, b := dstest.Connect(t, s), dstest.Connect(t, s)
	first := campaign(t, a, coord.Name("A"))
	next := campaigning(t, b, "B", coord.TTL(time.Minute)) // it asks every 20 s, if nobody tells it
	dstest.Eventually(t, soon, "A stands no more", func() bool { return !stands(t, a, "A") })
	if i := leader(t, a); !i.Led || i.Leader != "A" || i.Term != first.Token() || i.Waiting != 1 || i.Candidates[0].Name != "B" {
		t.Errorf("Leader is %+v, want A with B waiting", i)
	}
	select {
	case e := <-next:
		t.Fatalf("B leads beside A: %v", e.err)
	case <-time.After(100 * time.Millisecond):
	}
	resigned := time.Now()
	resign(t, first)
	e := <-next
	if e.err != nil {
		t.Fatal(e.err)
	}
	defer resign(t, e.term)
	if took := e.at.Sub(resigned); took > slack(300*time.Millisecond) {
		t.Errorf("B leads %v after A resigned, want at most 300ms", took)
	}
	if e.term.Token() <= first.Token() {
		t.Errorf("term %d follows %d", e.term.Token(), first.Token())
	}
	if lost := loss(t, first); lost.Reason != "resigned" || lost.Token != first.Token() {
		t.Errorf("A's term ended with %v", lost)
	}
	dstest.Eventually(t, soon, "nobody waits any more", func() bool { return leader(t, a).Waiting == 0 })
}

func TestALateResignationLeavesTheNextTermAlone(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	a, b := dstest.Connect(t, s), dstest.Connect(t, s)
	first := campaign(t, a)
	dstest.Cmd(t, b, "DEL", electionLease) // A's term lapses, as far as the server can tell
	second := campaign(t, b)
	err := first.Resign(t.Context())
	var lost *coord.LostError
	if !errors.As(err, &lost) || !notOurs(lost) || lost.Token != first.Token() || !errors.Is(err, lease.ErrLost) {
		t.Errorf("the late Resign returned %v, want a *LostError that says whose it is", err)
	}
	if i := leader(t, a); !i.Led || i.Term != second.Token() {
		t.Errorf("after the late resignation %s", i.Explain())
	}
	if _, err := second.Do(t.Context(), command.Set("x", "1")); err != nil {
		t.Errorf("the second term cannot write: %v", err)
	}
}

func TestAWriteOfATermThatIsOverIsRefused(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	a, b := dstest.Connect(t, s), dstest.Connect(t, s)
	first := campaign(t, a)
	if _, err := first.Do(t.Context(), command.Set("x", "first")); err != nil {
		t.Fatal(err)
	}
	dstest.Cmd(t, b, "DEL", electionLease)
	second := campaign(t, b)
	if _, err := second.Do(t.Context(), command.Set("x", "second")); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Do(t.Context(), command.Set("x", "late")); !errors.Is(err, lease.ErrFenced) {
		t.Errorf("the late write returned %v, want ErrFenced", err)
	}
	if got := dstest.Cmd(t, b, "GET", "x").Text(); got != "second" {
		t.Errorf("x is %q", got)
	}
	if lost := loss(t, first); !notOurs(lost) {
		t.Errorf("the refused leader's term ended with %v", lost)
	}
}

func TestTermsRiseAcrossFlushes(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	last := int64(0)
	for i := range 20 {
		term := campaign(t, c)
		if term.Token() <= last {
			t.Fatalf("term %d follows %d", term.Token(), last)
		}
		last = term.Token()
		if i%2 == 0 {
			dstest.Cmd(t, c, "FLUSHALL")
		} else {
			resign(t, term)
		}
	}
}

func TestATermEndsBeforeTheServerLetsOthersIn(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	const ttl = 400 * time.Millisecond
	term := campaign(t, dstest.Connect(t, s), coord.TTL(ttl))
	paused := time.Now()
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	// The server has heard nothing since, so the term lapses by then.
	time.Sleep(time.Until(paused.Add(ttl)))
	if term.Context().Err() == nil {
		t.Error("the term's context lasts beyond the TTL")
	}
	lost := loss(t, term)
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if lost.Reason != "expired" || !errors.Is(lost, lease.ErrLost) || term.Remaining() != 0 {
		t.Errorf("the term ended with %v, %v remain", lost, term.Remaining())
	}
}

func TestLead(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	own := errors.New("own")
	ctx := context.WithValue(t.Context(), struct{}{}, "kept")
	err := coord.NewElection(c, "cron", coord.Name("A")).Lead(ctx, func(ctx context.Context, term *coord.Term) error {
		if ctx.Value(struct{}{}) != "kept" || ctx.Err() != nil || term.Token() <= 0 || term.Name() != "cron" || term.Leader() != "A" {
			t.Errorf("fn got %v, %v", ctx, term)
		}
		if err := coord.NewElection(c, "cron").Lead(ctx, nil); !errors.Is(err, lease.ErrReentrant) {
			t.Errorf("Lead within Lead returned %v, want ErrReentrant", err)
		}
		return own
	})
	if err != own {
		t.Errorf("Lead returned %v, want fn's error", err)
	}
	if i := leader(t, c); i.Led || i.Term == 0 {
		t.Errorf("after Lead: %s", i.Explain())
	}

	err = coord.NewElection(c, "cron").Lead(t.Context(), func(ctx context.Context, term *coord.Term) error {
		dstest.Cmd(t, c, "DEL", electionLease)
		_, err := term.Do(context.Background(), command.Set("x", "1"))
		if !errors.Is(err, lease.ErrFenced) {
			t.Errorf("Do returned %v", err)
		}
		return nil
	})
	var lost *coord.LostError
	if !errors.As(err, &lost) || lost.Reason != "gone" {
		t.Errorf("Lead of a lost term returned %v, want a *LostError", err)
	}

	func() {
		defer func() {
			if recover() != "fn" {
				t.Error("the panic of fn did not pass")
			}
		}()
		_ = coord.NewElection(c, "cron").Lead(t.Context(), func(context.Context, *coord.Term) error { panic("fn") })
	}()
	if i := leader(t, c); i.Led {
		t.Errorf("after a panic: %s", i.Explain())
	}
}

func TestLeadAgain(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c, other := dstest.Connect(t, s), dstest.Connect(t, s)
	var terms []int64
	err := coord.NewElection(c, "cron", coord.Again(), coord.TTL(2*time.Second)).Lead(t.Context(), func(ctx context.Context, term *coord.Term) error {
		terms = append(terms, term.Token())
		switch len(terms) {
		case 1: // the term is lost, and fn says nothing
			dstest.Cmd(t, other, "DEL", electionLease)
			_, _ = term.Do(context.Background(), command.Set("x", "1"))
			return nil
		case 2: // the server forgets everything, and a renewal finds out
			dstest.Cmd(t, other, "FLUSHALL")
			<-ctx.Done()
			return context.Cause(ctx)
		case 3: // an operator asks
			go coord.NewElection(other, "cron", coord.Name("ops")).StepDown(ctx, "deploy")
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return nil
	})
	if err != nil || len(terms) != 4 || !slices.IsSorted(terms) {
		t.Errorf("Lead returned %v after the terms %v, want 4 of them", err, terms)
	}

	// Also through an outage, but not against the server's word.
	s.Kill()
	led := make(chan error, 1)
	go func() {
		led <- coord.NewElection(c, "cron", coord.Again(), coord.TTL(300*time.Millisecond)).Lead(context.Background(), func(context.Context, *coord.Term) error { return nil })
	}()
	time.Sleep(100 * time.Millisecond)
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-led; err != nil {
		t.Errorf("Lead through an outage returned %v", err)
	}
	dstest.Eventually(t, 5*time.Second, "the client is back", func() bool { _, err := c.Ping(t.Context()); return err == nil })
	dstest.Cmd(t, c, "SET", "{redisx:lease:leader:cron}:candidates", "not a hash")
	err = coord.NewElection(c, "cron", coord.Again()).Lead(t.Context(), nil)
	if !command.IsCode(err, "WRONGTYPE") {
		t.Errorf("Lead against a key of another type returned %v", err)
	}
}

func TestACampaignEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	a, b := dstest.Connect(t, s), dstest.Connect(t, s)
	term := campaign(t, a, coord.Name("A"))
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	campaigned := make(chan error, 1)
	go func() {
		_, err := coord.NewElection(b, "cron", coord.Name("B")).Campaign(ctx)
		campaigned <- err
	}()
	dstest.Eventually(t, soon, "B stands", func() bool { return stands(t, a, "B") })
	cancel(gone)
	err := <-campaigned // A leads on: nothing else ends it
	var not *coord.NotLeaderError
	if !errors.As(err, &not) || not.Leader != "A" || not.Term != term.Token() || !errors.Is(err, gone) || !errors.Is(err, context.Canceled) || !errors.Is(err, coord.ErrNotLeader) {
		t.Errorf("Campaign returned %v", err)
	} else if !strings.Contains(not.Explain(), "StepDown") {
		t.Errorf("Explain says %q", not.Explain())
	}
	dstest.Eventually(t, soon, "B stands no more", func() bool { return leader(t, a).Waiting == 0 })

	if _, err := coord.NewElection(b, "cron").Campaign(ctx); !errors.Is(err, gone) || !errors.Is(err, context.Canceled) {
		t.Errorf("Campaign with an ended context returned %v", err)
	}
}

func TestTheTermOfAnEndedContextIsResigned(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	watcher := dstest.Connect(t, s)
	c, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = coord.NewElection(c, "cron").Lead(ctx, func(ctx context.Context, _ *coord.Term) error {
		cancel() // a signal: the program shuts down
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Lead returned %v", err)
	}
	// The client is closed at once; the resignation must have got through.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if i := leader(t, watcher); i.Led {
		t.Errorf("after Close: %s", i.Explain())
	}
}

func TestCloseEndsTheTerms(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	// What was attached to a client first is closed last: the leases, or the
	// elections.
	for _, leaseFirst := range []bool{false, true} {
		c, err := redisx.Connect(t.Context(), s.URL())
		if err != nil {
			t.Fatal(err)
		}
		if leaseFirst {
			err := lease.With(t.Context(), c, "other", func(context.Context, *lease.Lease) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		term, err := coord.NewElection(c, fmt.Sprint("cron", leaseFirst)).Campaign(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		closing := time.Now()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(closing); took > slack(500*time.Millisecond) {
			t.Errorf("Close took %v", took)
		}
		if lost := loss(t, term); lost.Reason != "closed" {
			t.Errorf("the term ended with %v", lost)
		}
		if err := term.Resign(t.Context()); err == nil {
			t.Error("Resign on a closed client succeeded")
		}
		if err := coord.NewElection(c, "cron", coord.Again()).Lead(t.Context(), nil); err == nil {
			t.Error("Lead on a closed client succeeded")
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	for name, e := range map[string]*coord.Election{
		"no name":         coord.NewElection(c, ""),
		"a short TTL":     coord.NewElection(c, "cron", coord.TTL(time.Millisecond)),
		"a weight beyond": coord.NewElection(c, "cron", coord.Weight(101)),
		"no replicas":     coord.NewElection(c, "cron", coord.Again(), coord.Replicas(0, time.Second)),
		"slow replicas":   coord.NewElection(c, "cron", coord.Again(), coord.Replicas(1, 4*time.Second)),
	} {
		if _, err := e.Campaign(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "coord: ") {
			t.Errorf("Campaign with %s returned %v", name, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		if err := e.Lead(ctx, nil); err == nil || ctx.Err() != nil {
			t.Errorf("Lead with %s returned %v", name, err)
		}
		if err := e.StepDown(t.Context(), ""); err == nil {
			t.Errorf("StepDown with %s succeeded", name)
		}
		cancel()
		for _, err := range e.Observe(t.Context()) {
			if err == nil {
				t.Errorf("Observe with %s succeeded", name)
			}
		}
	}
	if err := coord.NewElection(c, "cron").StepDown(t.Context(), strings.Repeat("x", 257)); err == nil {
		t.Error("StepDown took a reason of 257 bytes")
	}
	dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	fresh := dstest.Connect(t, s)
	var unsafe *coord.UnsafeServerError
	if _, err := coord.NewElection(fresh, "cron").Campaign(t.Context()); !errors.As(err, &unsafe) {
		t.Errorf("Campaign on a server that evicts returned %v", err)
	}
	campaign(t, fresh, coord.AllowEviction())
}

func TestManyCandidatesLeadInTurn(t *testing.T) {
	serverstest.EachRequired(t, manyCandidates)
}

func manyCandidates(t *testing.T, f servers.Flavor) {
	s := serverstest.Start(t, servers.Options{Flavor: f})
	const clients, each, rounds = 3, 4, 5
	var wg sync.WaitGroup
	var leading, led atomic.Int32
	for i := range clients {
		c := dstest.Connect(t, s)
		for j := range each {
			wg.Go(func() {
				for range rounds {
					err := coord.NewElection(c, "cron", coord.Weight(1+(i+j)%3)).Lead(context.Background(), func(ctx context.Context, term *coord.Term) error {
						if n := leading.Add(1); n != 1 {
							t.Errorf("%d lead at once", n)
						}
						_, err := term.Do(ctx, command.RPush("log", fmt.Sprint(term.Token())))
						led.Add(1)
						leading.Add(-1)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	log := tokens(t, dstest.Connect(t, s), "log")
	if led.Load() != clients*each*rounds || len(log) != clients*each*rounds || !slices.IsSorted(log) || len(slices.Compact(log)) != len(log) {
		t.Errorf("%d terms, log %v", led.Load(), log)
	}
}

// tokens returns the numbers in a list.
func tokens(t testing.TB, c *redisx.Client, key string) []int64 {
	t.Helper()
	var ns []int64
	for _, v := range dstest.Cmd(t, c, "LRANGE", key, 0, -1).Elems() {
		n, err := v.Int()
		if err != nil {
			t.Fatal(err)
		}
		ns = append(ns, n)
	}
	return ns
}

// bare hides all that a client can do besides Do: no goroutine can be owned, no
// change is pushed.
type bare struct{ command.Doer }

func TestWithoutPushAndOwnerAllStillWorks(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	first := campaign(t, bare{c})
	next := campaigning(t, bare{dstest.Connect(t, s)}, "B")
	stepped := make(chan error, 1)
	go func() { stepped <- coord.NewElection(bare{c}, "cron").StepDown(t.Context(), "deploy") }()
	if lost := loss(t, first); lost.Reason != "asked" {
		t.Errorf("the term ended with %v", lost)
	}
	resign(t, first)
	if err := <-stepped; err != nil {
		t.Error(err)
	}
	e := <-next
	if e.err != nil {
		t.Fatal(e.err)
	}
	resign(t, e.term)
}

func TestCancelledCampaignsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	a, b := dstest.Connect(t, s), dstest.Connect(t, s)
	var wg sync.WaitGroup
	late := atomic.Int32{}
	for _, c := range []*redisx.Client{a, b} {
		for range 4 {
			wg.Go(func() {
				for range dstest.Rounds(50, 2000) {
					ctx, cancel := context.WithTimeout(context.Background(), rand.N(5*time.Millisecond))
					end, _ := ctx.Deadline()
					term, err := coord.NewElection(c, "cron").Campaign(ctx)
					if time.Since(end) > 50*time.Millisecond {
						late.Add(1)
					}
					switch {
					case err == nil:
						// Resigned with a context that may have ended.
						_ = term.Resign(ctx)
					case !errors.Is(err, context.DeadlineExceeded):
						t.Error(err)
					}
					cancel()
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d of %d calls returned more than 50 ms after their context's end", late.Load(), 8*dstest.Rounds(50, 2000))
	dstest.Eventually(t, 20*time.Second, "nobody leads and nobody waits", func() bool { i := leader(t, a); return !i.Led && i.Waiting == 0 })
	for _, k := range dstest.Cmd(t, a, "KEYS", "*").Elems() {
		if ttl := dstest.Int(t, a, "PTTL", k.Text()); ttl == -1 {
			t.Errorf("%s has no TTL", k.Text())
		}
	}
}
