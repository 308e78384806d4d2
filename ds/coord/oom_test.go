package coord_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// LE12, for what waits, leads and is there: what holds on and what cleans up
// works on a server that is out of memory, and what would need more is refused.
func TestAServerOutOfMemoryKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		const ttl = 2 * time.Second
		m := join(t, c, "oom", coord.Name("here"), coord.TTL(ttl))
		term := campaign(t, c, coord.TTL(ttl))
		leaving, leave := context.WithCancel(t.Context())
		defer leave()
		results, left, stood := make(chan error, 1), make(chan error, 1), make(chan error, 1)
		await := func(ctx context.Context, party string, told chan<- error) {
			_, err := coord.NewBarrier(c, "oom", 3, coord.Name(party), coord.TTL(ttl)).Await(ctx)
			told <- err
		}
		go await(t.Context(), "a", results)
		go await(leaving, "b", left)
		go func() {
			_, err := coord.NewElection(c, "cron", coord.Name("next"), coord.TTL(time.Minute)).Campaign(leaving)
			stood <- err
		}()
		waitersAt(t, c, "oom", 2)
		dstest.Eventually(t, 5*time.Second, "the candidate stands", func() bool { return stands(t, c, "next") })
		dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory", "1")

		time.Sleep(ttl * 3 / 2)
		if err := context.Cause(m.Context()); err != nil {
			t.Errorf("the membership was not kept: %v", err)
		}
		if err := context.Cause(term.Context()); err != nil {
			t.Errorf("the term was not kept: %v", err)
		}
		waitersAt(t, c, "oom", 2)
		refusedForMemory(t, c)

		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left: %v", err)
		}
		var e *coord.BrokenError
		if err := <-results; !errors.As(err, &e) || e.Party != "b" || e.Reason != "left" {
			t.Errorf("who waited: %v, want it broken as b left", err)
		}
		// Standing on needs memory: it may have been refused before it was told to leave.
		if err := <-stood; !errors.Is(err, context.Canceled) && !command.IsCode(err, "OOM") {
			t.Errorf("who stood: %v", err)
		}
		dstest.Eventually(t, soon, "the candidate is taken out", func() bool { return !stands(t, c, "next") })
		resign(t, term)
		if i := leader(t, c); i.Led {
			t.Errorf("after the resignation: %s", i.Explain())
		}
		if err := m.Leave(t.Context()); err != nil {
			t.Errorf("Leave: %v", err)
		}
		if i, err := coord.Members(t.Context(), c, "oom"); err != nil || len(i.Members) != 0 {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

// A server that is out of memory has more later: that ends no Lead that goes on
// over errors.
func TestALeaderToBeOutlastsAServerOutOfMemory(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, s)
		dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory", "1")
		led := make(chan error, 1)
		go func() {
			led <- coord.NewElection(dstest.Connect(t, s), "cron", coord.Again(), coord.TTL(100*time.Millisecond)).
				Lead(t.Context(), func(context.Context, *coord.Term) error { return nil })
		}()
		select {
		case err := <-led:
			t.Fatalf("Lead: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
		dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory", "0")
		if err := <-led; err != nil {
			t.Errorf("Lead: %v", err)
		}
	})
}

// refusedForMemory tries what would need memory.
func refusedForMemory(t *testing.T, d command.Doer) {
	t.Helper()
	for what, call := range map[string]func(ctx context.Context) error{
		"Join":     func(ctx context.Context) error { _, err := coord.Join(ctx, d, "oom"); return err },
		"Await":    func(ctx context.Context) error { _, err := coord.NewBarrier(d, "oom", 3).Await(ctx); return err },
		"Create":   func(ctx context.Context) error { return coord.NewLatch(d, "oom").Create(ctx, 1) },
		"Campaign": func(ctx context.Context) error { _, err := coord.NewElection(d, "other").Campaign(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := call(ctx); !command.IsCode(err, "OOM") {
			t.Errorf("%s: %v, want OOM", what, err)
		}
		cancel()
	}
}
