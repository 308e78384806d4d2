package coord_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// everyWay runs a test for the ways in which a client learns of changes: by
// push, over RESP2, and by asking again where it can only run commands.
func everyWay(t *testing.T, test func(t *testing.T, s *servers.Server, connect func() command.Doer)) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		for way, connect := range map[string]func(*testing.T) command.Doer{
			"push":  func(t *testing.T) command.Doer { return dstest.Connect(t, s) },
			"RESP2": func(t *testing.T) command.Doer { return dstest.ConnectTo(t, s.URL()+"?protocol=2") },
			"poll":  func(t *testing.T) command.Doer { return bare{dstest.Connect(t, s)} },
		} {
			t.Run(way, func(t *testing.T) {
				test(t, s, func() command.Doer { return connect(t) })
			})
		}
	})
}

// partiesAt returns what tells for how long the server yet believes in those who
// wait at a barrier.
func partiesAt(t *testing.T, c command.Doer, name string) func() map[string]time.Duration {
	return func() map[string]time.Duration {
		i, err := coord.InspectBarrier(t.Context(), c, name)
		if err != nil {
			t.Fatal(err)
		}
		left := map[string]time.Duration{}
		for _, p := range i.Arrived {
			left[p.Name] = p.Left
		}
		return left
	}
}

// membersOf is partiesAt for a group.
func membersOf(t *testing.T, c command.Doer, name string) func() map[string]time.Duration {
	return func() map[string]time.Duration {
		i, err := coord.Members(t.Context(), c, name)
		if err != nil {
			t.Fatal(err)
		}
		left := map[string]time.Duration{}
		for _, m := range i.Members {
			left[m.Name] = m.Left
		}
		return left
	}
}

// renewed waits until n of those that left tells of have been renewed.
func renewed(t *testing.T, n int, left func() map[string]time.Duration) {
	t.Helper()
	last, again := map[string]time.Duration{}, map[string]bool{}
	dstest.Eventually(t, 2*soon, fmt.Sprintf("%d are renewed", n), func() bool {
		for name, d := range left() {
			if was, ok := last[name]; ok && d > was {
				again[name] = true
			}
			last[name] = d
		}
		return len(again) == n
	})
}

func TestABarrierHoldsHoweverItsPartiesAreTold(t *testing.T) {
	everyWay(t, func(t *testing.T, s *servers.Server, connect func() command.Doer) {
		const ttl = 6 * time.Second
		name, admin := "every:"+t.Name(), dstest.Connect(t, s)
		var parties [3]*coord.Barrier
		for p := range parties {
			parties[p] = coord.NewBarrier(connect(), name, len(parties), coord.Name(fmt.Sprint(p)), coord.TTL(ttl))
		}
		for k := int64(1); k <= 2; k++ {
			var wg sync.WaitGroup
			for p, b := range slices.Backward(parties[:]) {
				if p == 0 && k == 2 { // after the others have waited for long
					renewed(t, 2, partiesAt(t, admin, name))
				}
				wg.Go(func() {
					if g, err := b.Await(t.Context()); g != k || err != nil {
						t.Errorf("party %d: %d, %v, want %d", p, g, err, k)
					}
				})
			}
			wg.Wait()
		}
		// One that leaves breaks it for the other.
		ctx, leave := context.WithCancel(t.Context())
		waited := make(chan error, 1)
		go func() {
			_, err := parties[0].Await(t.Context())
			waited <- err
		}()
		waitersAt(t, admin, name, 1)
		left := make(chan struct{})
		go func() {
			defer close(left)
			_, _ = parties[1].Await(ctx)
		}()
		waitersAt(t, admin, name, 2)
		leave()
		var broken *coord.BrokenError
		if err := <-waited; !errors.As(err, &broken) || broken.Party != "1" || broken.Reason != "left" {
			t.Errorf("the other got %v", err)
		}
		<-left
	})
}

func TestALatchOpensHoweverItsWaitersAreTold(t *testing.T) {
	everyWay(t, func(t *testing.T, _ *servers.Server, connect func() command.Doer) {
		name := "every:" + t.Name()
		waited := make(chan error, 1)
		go func() { waited <- coord.NewLatch(connect(), name).Wait(t.Context()) }()
		l := coord.NewLatch(connect(), name)
		if err := l.Create(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if left, err := l.Done(t.Context(), "a"); left != 0 || err != nil {
			t.Errorf("Done: %d, %v", left, err)
		}
		select {
		case err := <-waited:
			if err != nil {
				t.Errorf("Wait: %v", err)
			}
		case <-time.After(soon):
			t.Fatal("the waiter was not told")
		}
	})
}

func TestMembersAreSeenHoweverTheWatcherIsTold(t *testing.T) {
	everyWay(t, func(t *testing.T, s *servers.Server, connect func() command.Doer) {
		name, admin := "every:"+t.Name(), dstest.Connect(t, s)
		const ttl = 6 * time.Second
		w := watchMembers(t, connect(), name)
		w.expect(t, soon)
		a := join(t, connect(), name, coord.Name("a"), coord.TTL(ttl))
		w.expect(t, soon, "a")
		join(t, connect(), name, coord.Name("b"), coord.TTL(ttl))
		w.expect(t, soon, "a", "b")
		renewed(t, 2, membersOf(t, admin, name))
		if err := context.Cause(a.Context()); err != nil {
			t.Errorf("a was lost: %v", err)
		}
		if err := a.Leave(t.Context()); err != nil {
			t.Errorf("Leave: %v", err)
		}
		w.expect(t, soon, "b")
	})
}

func TestLeadersAreSeenHoweverTheObserverIsTold(t *testing.T) {
	everyWay(t, func(t *testing.T, _ *servers.Server, connect func() command.Doer) {
		told := observe(t.Context(), coord.NewElection(connect(), "cron"))
		first := sees(t, told)
		term := campaign(t, connect())
		if i := sees(t, told); !i.Led || i.Term != term.Token() || i.Term <= first.Term {
			t.Errorf("after the election: %+v", i)
		}
		resign(t, term)
		if i := sees(t, told); i.Led || i.Term != term.Token() {
			t.Errorf("after the resignation: %+v", i)
		}
	})
}

// What a key of another type is to each: an error at once, never a wait.
func TestAKeyOfAnotherTypeIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		for key, call := range map[string]func(ctx context.Context, c *redisx.Client) error{
			"{redisx:barrier:x}:barrier": func(ctx context.Context, c *redisx.Client) error {
				_, err := coord.NewBarrier(c, "x", 2).Await(ctx)
				return err
			},
			"{redisx:barrier:x}:generation:1": func(ctx context.Context, c *redisx.Client) error {
				_, err := coord.NewBarrier(c, "x", 2).Await(ctx)
				return err
			},
			"{redisx:barrier:x}:arrived:1": func(ctx context.Context, c *redisx.Client) error {
				_, err := coord.NewBarrier(c, "x", 2).Await(ctx)
				return err
			},
			"{redisx:latch:x}:latch": func(ctx context.Context, c *redisx.Client) error {
				return coord.NewLatch(c, "x").Create(ctx, 1)
			},
			"{redisx:members:x}:members": func(ctx context.Context, c *redisx.Client) error {
				_, err := coord.Join(ctx, c, "x")
				return err
			},
			"{redisx:members:x}:beats": func(ctx context.Context, c *redisx.Client) error {
				for _, err := range coord.WatchMembers(ctx, c, "x") {
					return err
				}
				return nil
			},
			"{redisx:members:x}:about": func(ctx context.Context, c *redisx.Client) error {
				_, err := coord.Join(ctx, c, "x")
				return err
			},
			"{redisx:lease:leader:x}:lease": func(ctx context.Context, c *redisx.Client) error {
				_, err := coord.NewElection(c, "x").Campaign(ctx)
				return err
			},
			"{redisx:lease:leader:x}:candidates": func(ctx context.Context, c *redisx.Client) error {
				_, err := coord.NewElection(c, "x").Campaign(ctx)
				return err
			},
		} {
			c := dstest.Start(t, f)
			dstest.Cmd(t, c, "SET", key, "x")
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := call(ctx, c); !command.IsCode(err, "WRONGTYPE") {
				t.Errorf("%s: %v, want WRONGTYPE", key, err)
			}
			if left := dstest.Cmd(t, c, "GET", key).Text(); left != "x" {
				t.Errorf("%s was overwritten with %q", key, left)
			}
			cancel()
		}
	})
}
