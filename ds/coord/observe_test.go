package coord_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/faultproxy"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// sighting is one element of Observe.
type sighting struct {
	info coord.LeaderInfo
	err  error
}

// observe collects what Observe tells until ctx ends, then closes the channel.
func observe(ctx context.Context, e *coord.Election) <-chan sighting {
	told := make(chan sighting, 1000)
	go func() {
		defer close(told)
		for info, err := range e.Observe(ctx) {
			told <- sighting{info, err}
		}
	}()
	return told
}

// sees waits for the next sighting that is no error.
func sees(t *testing.T, told <-chan sighting) coord.LeaderInfo {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case s, ok := <-told:
			if !ok {
				t.Fatal("Observe has ended")
			}
			if s.err == nil {
				return s.info
			}
		case <-timeout:
			t.Fatal("Observe tells nothing")
		}
	}
}

func TestObserveTellsEachLeaderAndItsEnd(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, s)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		told := observe(ctx, coord.NewElection(dstest.Connect(t, s), "cron"))
		if i := sees(t, told); i.Led || i.Term != 0 {
			t.Errorf("before the first election: %s", i.Explain())
		}
		for range 5 {
			term := campaign(t, c, coord.Name("A"))
			if i := sees(t, told); !i.Led || i.Term != term.Token() || i.Leader != "A" || i.Since.IsZero() {
				t.Errorf("after an election: %+v", i)
			}
			resign(t, term)
			if i := sees(t, told); i.Led || i.Term != term.Token() {
				t.Errorf("after a resignation: %+v", i)
			}
		}
		cancel(gone)
		last := sighting{}
		for s := range told {
			last = s
		}
		if !errors.Is(last.err, gone) {
			t.Errorf("Observe ended with %v", last.err)
		}
	})
}

func TestObserveSeesALeaderLapse(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, s)
		told := observe(t.Context(), coord.NewElection(dstest.Connect(t, s), "cron"))
		sees(t, told)
		// What a leader leaves that was killed.
		dstest.Cmd(t, c, "HSET", electionLease, "kind", "lease", "v", 1, "id", "x", "owner", "A", "token", 17, "since", 1, "ttl", 2000)
		dstest.Cmd(t, c, "PEXPIRE", electionLease, 2000)
		if i := sees(t, told); !i.Led || i.Term != 17 {
			t.Fatalf("after the election: %+v", i)
		}
		began := time.Now()
		if i := sees(t, told); i.Led || i.Term != 17 {
			t.Errorf("after the lapse: %+v", i)
		}
		if took := time.Since(began); took > 2*time.Second+slack(200*time.Millisecond) {
			t.Errorf("the lapse was told after %v, want 2 s and a little", took)
		}
	})
}

func TestObserveTellsTheLastTermAfterALostConnection(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		p, err := faultproxy.Start(s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		c := dstest.Connect(t, s)
		told := observe(t.Context(), coord.NewElection(dstest.ConnectTo(t, "redis://"+p.Addr), "cron"))
		sees(t, told)
		last := int64(0)
		for round := range dstest.Rounds(5, 20) {
			// Terms come and go while the observer hears nothing.
			p.Apply(faultproxy.Fault{Kind: faultproxy.Hole, To: faultproxy.Client, For: 100 * time.Millisecond})
			for range 3 {
				resign(t, campaign(t, c))
			}
			term := campaign(t, c)
			p.Apply(faultproxy.Fault{Kind: faultproxy.Cut})
			for {
				i := sees(t, told)
				if i.Term < last {
					t.Fatalf("round %d: term %d was told after %d", round, i.Term, last)
				}
				last = i.Term
				if i.Led && i.Term == term.Token() {
					break
				}
			}
			resign(t, term)
		}
	})
}

func TestObserveNeverGoesBack(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, s)
		told := observe(t.Context(), coord.NewElection(dstest.Connect(t, s), "cron"))
		sees(t, told)
		term := campaign(t, c)
		sees(t, told)
		// A replica that lags behind is promoted: it knows of the term before.
		dstest.Cmd(t, c, "HSET", electionLease, "token", term.Token()-1, "owner", "old")
		if i := sees(t, told); i.Led || i.Term != term.Token() {
			t.Errorf("an older term was told as %+v", i)
		}
		dstest.Cmd(t, c, "DEL", electionLease)
		next := campaign(t, c)
		if i := sees(t, told); !i.Led || i.Term != next.Token() {
			t.Errorf("after that the election of %d was told as %+v", next.Token(), i)
		}
	})
}

func TestObserveTellsAnOutageOnce(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := observe(ctx, coord.NewElection(c, "cron"))
		sees(t, told)
		s.Kill()
		if got := <-told; got.err == nil {
			t.Fatalf("an outage was told as %+v", got.info)
		}
		select {
		case got := <-told:
			t.Errorf("during the outage %+v was told", got)
		case <-time.After(300 * time.Millisecond):
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i := sees(t, told); i.Led {
			t.Errorf("after the outage %+v was told", i)
		}
	})
}

func TestAnObserverEndsWithItsClient(t *testing.T) {
	t.Parallel()
	c, err := redisx.Connect(t.Context(), serverstest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	told := observe(ctx, coord.NewElection(c, "cron"))
	sees(t, told)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	var last sighting
	for last = range told { // until it has ended
	}
	if last.err == nil || ctx.Err() != nil {
		t.Errorf("on a closed client Observe ended with %+v", last)
	}
}

func TestAnObserverMayLeave(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		for range coord.NewElection(c, "cron").Observe(t.Context()) {
			break
		}
	})
}
