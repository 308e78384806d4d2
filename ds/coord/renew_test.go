package coord_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/faultproxy"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// What LE13 says of leases, said of memberships and arrivals: many of one
// process are renewed by a few scripts. It counts goroutines, so it runs alone.
func TestManyMembersAndArrivalsAreRenewedTogether(t *testing.T) {
	dstest.Servers(t, manyAreRenewed)
}

func manyAreRenewed(t *testing.T, f servers.Flavor) {
	s := serverstest.Start(t, servers.Options{Flavor: f})
	var scripts, rows atomic.Int64
	keys := map[*command.Script]int64{coord.MembersRenew: 3, coord.BarrierRenew: 4} // of each row
	c := &dstest.Lossy{Client: dstest.Connect(t, s), Before: func(r command.Request) {
		for script, each := range keys {
			if dstest.Runs(r, script) {
				n, _ := strconv.ParseInt(r.Arg(1).Text(), 10, 64)
				scripts.Add(1)
				rows.Add(n / each)
			}
		}
	}}
	admin := dstest.Connect(t, s)
	// The slack between two renewals is a share of the TTL: the longer, the
	// fewer scripts.
	members, arrivals, ttl := dstest.Rounds(1000, 5000), dstest.Rounds(500, 2500), time.Duration(dstest.Rounds(9, 15))*time.Second
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	joined := make([]*coord.Membership, members)
	var joining, waiting sync.WaitGroup
	for w := range 50 {
		joining.Go(func() {
			for i := w; i < members; i += 50 {
				m, err := coord.Join(ctx, c, fmt.Sprint("group-", i%20), coord.Name(fmt.Sprint("m", i)), coord.TTL(ttl))
				if err != nil {
					t.Errorf("Join: %v", err)
					return
				}
				joined[i] = m
			}
		})
	}
	for i := range arrivals {
		waiting.Go(func() {
			_, err := coord.NewBarrier(c, fmt.Sprint("barrier-", i), 2, coord.Name("first"), coord.TTL(ttl)).Await(ctx)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Await: %v", err)
			}
		})
	}
	joining.Wait()
	if t.Failed() {
		return
	}
	for i := range arrivals {
		waitersAt(t, admin, fmt.Sprint("barrier-", i), 1)
	}
	scripts.Store(0)
	rows.Store(0)
	most, before := 0, runtime.NumGoroutine()
	dstest.Eventually(t, 4*ttl, "all are renewed", func() bool {
		most = max(most, runtime.NumGoroutine()-before)
		return rows.Load() >= int64(members+arrivals)
	})
	sent, renewed := scripts.Load(), rows.Load()
	for i, m := range joined {
		if err := context.Cause(m.Context()); err != nil {
			t.Fatalf("member %d was lost: %v", i, err)
		}
	}
	t.Logf("%d members, %d arrivals, TTL %v: %d renewals by %d scripts, %d more goroutines", members, arrivals, ttl, renewed, sent, most)
	if sent > renewed/20 {
		t.Errorf("%d scripts renewed %d, want 20 each", sent, renewed)
	}
	if most > 50 {
		t.Errorf("%d goroutines renew", most)
	}
	cancel()
	waiting.Wait()
}

func TestAKeyOfAnotherTypeCostsItsOwnMemberAndPartyOnly(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		const ttl = 2 * time.Second
		var joined []*coord.Membership
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		parties := make(chan error, 1)
		for i := range 5 {
			joined = append(joined, join(t, c, fmt.Sprint("typed-", i), coord.TTL(ttl)))
		}
		go func() {
			_, err := coord.NewBarrier(c, "typed", 2, coord.TTL(ttl)).Await(ctx)
			parties <- err
		}()
		other := make(chan error, 1)
		go func() {
			_, err := coord.NewBarrier(c, "sound", 2, coord.TTL(ttl)).Await(ctx)
			other <- err
		}()
		waitersAt(t, c, "typed", 1)
		waitersAt(t, c, "sound", 1)
		dstest.Cmd(t, c, "SET", "{redisx:members:typed-1}:about", "x")
		dstest.Cmd(t, c, "HSET", "{redisx:members:typed-2}:about", joined[2].Name(), "no JSON")
		dstest.Cmd(t, c, "SET", "{redisx:barrier:typed}:arrived:1", "x")
		time.Sleep(ttl * 5 / 4)
		// The batches themselves: those that failed with one would come through in others.
		m, b := "{redisx:members:typed-1}:", "{redisx:barrier:typed}:"
		m0, b0 := "{redisx:members:free}:", "{redisx:barrier:free}:"
		for what, answers := range map[string][]resp3.Value{
			"members": dstest.Cmd(t, c, "EVALSHA", coord.MembersRenew.Digest(), 6, m+"members", m+"beats", m+"about", m0+"members", m0+"beats", m0+"about",
				joined[1].Name(), "id", 1000, "nobody", "id", 1000).Elems(),
			"barrier": dstest.Cmd(t, c, "EVALSHA", coord.BarrierRenew.Digest(), 8, b+"barrier", "{redisx:members:typed-1}:about", b+"arrived:1", b+"ids:1",
				b0+"barrier", b0+"generation:1", b0+"arrived:1", b0+"ids:1", 1, "a", "id", 1000, 9000, 1, "a", "id", 1000, 9000).Elems(),
		} {
			if len(answers) != 3 || answers[1].Err() == nil || answers[2].Text() != "gone" {
				t.Errorf("the rows of %s are answered with %v, want an error and gone", what, answers)
			}
		}
		for i, m := range joined {
			err := context.Cause(m.Context())
			if hit := i == 1 || i == 2; hit != errors.Is(err, coord.ErrLost) || !hit && err != nil {
				t.Errorf("member %d: %v", i, err)
			}
		}
		select {
		case err := <-parties:
			if err == nil {
				t.Error("the party whose key was spoilt passed")
			}
		case <-time.After(5 * time.Second):
			t.Error("the party whose key was spoilt goes on waiting")
		}
		cancel()
		if err := <-other; !errors.Is(err, context.Canceled) {
			t.Errorf("the other party: %v", err)
		}
	})
}

// The replica never hears of the member and the party, and is promoted.
func TestAFailoverThatForgetsIsTheReason(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	c := p.client(t)
	const ttl = 6 * time.Second // the client's way to the new primary included
	// The first of a client is renewed at once, to ask which server this is.
	join(t, c, "known", coord.TTL(ttl))
	renewedOnce(t, c, "known", ttl)
	p.link.Apply(faultproxy.Fault{Kind: faultproxy.Hole})
	m := join(t, c, "workers", coord.TTL(ttl))
	waited := make(chan error, 1)
	go func() {
		_, err := coord.NewBarrier(c, "phase", 2, coord.Name("a"), coord.TTL(ttl)).Await(t.Context())
		waited <- err
	}()
	waitersAt(t, c, "phase", 1)
	p.failOver(t)
	<-m.Context().Done()
	var lost *coord.LostError
	if cause := context.Cause(m.Context()); !errors.As(cause, &lost) || lost.Reason != "failover" || lost.Err != nil {
		t.Errorf("the membership ended with %v", cause)
	}
	var broken *coord.BrokenError
	if err := <-waited; !errors.As(err, &broken) || broken.Reason != "failover" || broken.Party != "a" {
		t.Errorf("the party got %v", err)
	}
}
