package coord_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// CD3. The parties' own counts are the oracle: who passes its k-th generation
// must find that all have begun their k-th Await.
func TestNobodyPassesAGenerationBeforeAllHaveArrivedInIt(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		const parties = 5
		generations := dstest.Rounds(200, 1000)
		var begun [parties]atomic.Int64
		var repeated atomic.Int64
		var wg sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		for p := range parties {
			again := false // the repeat of a lost arrival gets its answer
			c := &dstest.Lossy{Client: dstest.Connect(t, server), Lose: func(r command.Request) bool {
				if !dstest.Runs(r, coord.BarrierArrive) {
					return false
				}
				again = !again && rand.IntN(5) == 0
				if again {
					repeated.Add(1)
				}
				return again
			}}
			b := coord.NewBarrier(c, "phase", parties, coord.Name(fmt.Sprint("party-", p)), coord.TTL(20*time.Second))
			wg.Go(func() {
				for k := int64(1); k <= int64(generations); k++ {
					time.Sleep(rand.N(2 * time.Millisecond))
					begun[p].Store(k)
					g, err := b.Await(ctx)
					if err != nil || g != k {
						t.Errorf("party %d passed generation %d with error %v, want %d", p, g, err, k)
						cancel()
						return
					}
					for q := range parties {
						if n := begun[q].Load(); n < k {
							t.Errorf("party %d passed generation %d when party %d had begun only %d", p, k, q, n)
						}
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%d generations, %d answers lost", generations, repeated.Load())
		if repeated.Load() == 0 {
			t.Error("no arrival was repeated: nothing was tested")
		}
	})
}

func init() {
	roles["barrier party"] = func(url string) int {
		c, err := redisx.Connect(context.Background(), url)
		if err != nil {
			return 1
		}
		defer c.Close()
		_, _ = coord.NewBarrier(c, "cd4", 6, coord.Name("victim"), coord.TTL(barrierTestTTL)).Await(context.Background())
		return 0
	}
}

const barrierTestTTL = 2 * time.Second

// waitersAt waits until n parties wait at the barrier.
func waitersAt(t *testing.T, c *redisx.Client, name string, n int) {
	t.Helper()
	dstest.Eventually(t, 10*time.Second, fmt.Sprintf("%d parties wait at %s", n, name), func() bool {
		i, err := coord.InspectBarrier(t.Context(), c, name)
		return err == nil && len(i.Arrived) == n
	})
}

// CD4.
func TestAPartyKilledWhileItWaitsBreaksTheGeneration(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, server)
		bounded, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		victim := dstest.Process(t, "barrier party", server.URL())
		waitersAt(t, c, "cd4", 1)

		const rest = 4
		var parties [rest]*coord.Barrier
		results := make(chan error, rest)
		for i := range parties {
			parties[i] = coord.NewBarrier(c, "cd4", 6, coord.Name(fmt.Sprint("party-", i)), coord.TTL(barrierTestTTL))
			go func() { _, err := parties[i].Await(bounded); results <- err }()
		}
		waitersAt(t, c, "cd4", 1+rest)
		renewed(t, 1+rest, partiesAt(t, c, "cd4")) // it is not the first TTL that ends
		killed := time.Now()
		if err := victim.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for range rest {
			err := <-results
			var e *coord.BrokenError
			if !errors.As(err, &e) || !errors.Is(err, coord.ErrGenerationGone) || e.Party != "victim" || e.Reason != "lapsed" || e.Generation != 1 {
				t.Errorf("Await: %v, want generation 1 broken by the victim", err)
			}
			if took := time.Since(killed); took > barrierTestTTL+slack(time.Second) {
				t.Errorf("told after %v, want at most the TTL and a second", took)
			}
		}
		t.Logf("told %v after the kill, TTL %v", time.Since(killed), barrierTestTTL)

		// Who comes only now, in step with the others, is told, too; a newcomer is not.
		var wg sync.WaitGroup
		for i := range 6 {
			b := coord.NewBarrier(c, "cd4", 6, coord.Name(fmt.Sprint("party-", i)))
			if i < rest {
				b = parties[i]
			}
			wg.Go(func() {
				if g, err := b.Await(bounded); g != 2 || err != nil {
					t.Errorf("the generation after: %d, %v, want 2", g, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestAPartyThatLeavesBreaksTheGenerationForAll(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		a := coord.NewBarrier(c, "leave", 3, coord.Name("a"))
		b := coord.NewBarrier(c, "leave", 3, coord.Name("b"))
		late := coord.NewBarrier(c, "leave", 3, coord.Name("late"))

		var wg sync.WaitGroup
		for _, p := range []*coord.Barrier{a, b, late} {
			wg.Go(func() {
				if g, err := p.Await(t.Context()); g != 1 || err != nil {
					t.Errorf("Await: %d, %v", g, err)
				}
			})
		}
		wg.Wait()

		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		results := make(chan error, 1)
		go func() { _, err := b.Await(t.Context()); results <- err }()
		waitersAt(t, c, "leave", 1)
		left := make(chan error, 1)
		go func() { _, err := a.Await(ctx); left <- err }()
		waitersAt(t, c, "leave", 2)
		start := time.Now()
		cancel(enough)
		if err := <-left; !errors.Is(err, enough) || !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v, want the end of its context and its cause", err)
		}
		var e *coord.BrokenError
		if err := <-results; !errors.As(err, &e) || e.Party != "a" || e.Reason != "left" || e.Generation != 2 {
			t.Errorf("who waited got %v, want generation 2 broken because a left", err)
		}
		if took := time.Since(start); took > soon {
			t.Errorf("told %v after the leaving, want it by push", took)
		}
		if _, err := late.Await(t.Context()); !errors.As(err, &e) || e.Generation != 2 {
			t.Errorf("who came late got %v, want generation 2 broken", err)
		}
		for _, p := range []*coord.Barrier{a, b, late} {
			wg.Go(func() {
				if g, err := p.Await(t.Context()); g != 3 || err != nil {
					t.Errorf("Await: %d, %v, want 3", g, err)
				}
			})
		}
		wg.Wait()
	})
}

// The goodbye of an Await that has ended must not break what the party's next
// Await waits in.
func TestALateGoodbyeDoesNotBreakTheNextWait(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		bounded, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		server := serverstest.Start(t, servers.Options{Flavor: f})
		late, sent, answered := make(chan struct{}), make(chan struct{}), make(chan struct{})
		var begun, done sync.Once
		c := &dstest.Lossy{Client: dstest.Connect(t, server), Before: func(r command.Request) {
			if dstest.Runs(r, coord.BarrierLeave) {
				begun.Do(func() { close(sent) })
				<-late
			}
		}, Lose: func(r command.Request) bool {
			if r.Len() > 0 && r.Arg(0).Text() == coord.BarrierLeave.Source() { // EVAL: it is the first
				done.Do(func() { close(answered) })
			}
			return false
		}}
		b := coord.NewBarrier(c, "late", 2, coord.Name("a"))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			waitersAt(t, c.Client, "late", 1)
			cancel()
		}()
		if _, err := b.Await(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("Await: %v", err)
		}
		<-sent
		first := dstest.Cmd(t, c.Client, "HGET", "{redisx:barrier:late}:ids:1", "a").Text()
		result := make(chan error, 1)
		go func() {
			g, err := b.Await(bounded)
			if err == nil && g != 1 {
				err = fmt.Errorf("passed %d, want 1", g)
			}
			result <- err
		}()
		// The party has taken its place again when the server knows another id.
		dstest.Eventually(t, 5*time.Second, "the party has arrived again", func() bool {
			return dstest.Cmd(t, c.Client, "HGET", "{redisx:barrier:late}:ids:1", "a").Text() != first
		})
		close(late)
		select {
		case <-answered:
		case <-bounded.Done(): // the goodbye has 2 s, and the machine took them all
		}
		if g, err := coord.NewBarrier(c, "late", 2, coord.Name("b")).Await(bounded); g != 1 || err != nil {
			t.Errorf("the other: %d, %v", g, err)
		}
		if err := <-result; err != nil {
			t.Errorf("the party: %v", err)
		}
	})
}

func TestANewcomerJoinsTheGenerationToCome(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		for range 3 {
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if _, err := coord.NewBarrier(c, "new", 2).Await(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if g, err := coord.NewBarrier(c, "new", 2).Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a newcomer alone: %d, %v, want it to wait", g, err)
		}
	})
}

func TestAPartyCountsOnceByItsName(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		replaced := make(chan error, 1)
		go func() {
			_, err := coord.NewBarrier(c, "once", 2, coord.Name("a"), coord.TTL(2*time.Second)).Await(ctx)
			replaced <- err
		}()
		waitersAt(t, c, "once", 1)
		time.Sleep(150 * time.Millisecond) // past its looks at the start: nothing but its renewal can tell it
		again := make(chan error, 1)
		go func() { _, err := coord.NewBarrier(c, "once", 2, coord.Name("a")).Await(ctx); again <- err }()
		// The first learns with its renewal that the place is another's now.
		var e *coord.BrokenError
		if err := <-replaced; !errors.As(err, &e) || e.Reason != "not owner" {
			t.Errorf("the one whose name was taken got %v, want it told so", err)
		}
		select {
		case err := <-again:
			t.Fatalf("one party passed a barrier of two: %v", err)
		default:
		}
		if g, err := coord.NewBarrier(c, "once", 2, coord.Name("b")).Await(ctx); g != 1 || err != nil {
			t.Errorf("Await: %d, %v", g, err)
		}
		if err := <-again; err != nil {
			t.Errorf("Await: %v", err)
		}
	})
}

func TestABarrierSharedByGoroutinesSaysSo(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		b := coord.NewBarrier(c, "shared", 2)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _, _ = b.Await(ctx) }()
		waitersAt(t, c, "shared", 1)
		if _, err := b.Await(ctx); err == nil || !strings.Contains(err.Error(), "a Barrier of its own") {
			t.Errorf("a second Await: %v", err)
		}
		cancel()
		<-done
	})
}

func TestPartiesThatDisagreeAreTold(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _, _ = coord.NewBarrier(c, "n", 3).Await(ctx) }()
		waitersAt(t, c, "n", 1)
		_, err := coord.NewBarrier(c, "n", 2).Await(ctx)
		var e *coord.MismatchError
		if !errors.As(err, &e) || e.Kind != "barrier" || e.Theirs != 3 || e.Ours != 2 || !strings.Contains(e.Explain(), "nobody waits") {
			t.Errorf("Await: %v, want a MismatchError", err)
		}
		cancel()
		<-done
		for _, b := range []*coord.Barrier{
			coord.NewBarrier(c, "", 2), coord.NewBarrier(c, "x", 0), coord.NewBarrier(c, "x", 2, coord.TTL(time.Millisecond)),
		} {
			if _, err := b.Await(t.Context()); err == nil {
				t.Error("Await with bad arguments succeeded")
			}
		}
	})
}

// The server is away for longer than the TTL. Renewals that it finds when it is
// back may keep the arrival, or it has lapsed: in both cases the party and the
// others agree on what passed.
func TestAPartyThatCannotRenewGivesUpAndStaysInStep(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, server)
		b := coord.NewBarrier(c, "frozen", 2, coord.Name("a"), coord.TTL(400*time.Millisecond))
		result := make(chan error, 1)
		go func() { _, err := b.Await(t.Context()); result <- err }()
		waitersAt(t, c, "frozen", 1)
		if err := server.Pause(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var e *coord.LostError
		if err := <-result; !errors.As(err, &e) || e.Reason != "expired" {
			t.Errorf("Await: %v, want it expired", err)
		}
		if took := time.Since(start); took > 3*time.Second { // a command on a silent server takes 5 s to fail
			t.Errorf("gave up after %v, TTL 400 ms", took)
		}
		if err := server.Resume(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		other := make(chan int64, 1)
		go func() {
			g, err := coord.NewBarrier(c, "frozen", 2, coord.Name("b")).Await(ctx)
			for errors.Is(err, coord.ErrGenerationGone) {
				g, err = coord.NewBarrier(c, "frozen", 2, coord.Name("b")).Await(ctx)
			}
			if err != nil {
				t.Error(err)
			}
			other <- g
		}()
		g, err := b.Await(ctx)
		if err != nil {
			t.Errorf("Await after it: %v", err)
		}
		if o := <-other; g != o {
			t.Errorf("the party passed %d and the other %d, want both the same", g, o)
		}
	})
}

func TestADeletedBarrierIsSaidToBeGone(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		result := make(chan error, 1)
		// With its renewals, every 20 s, it would learn of it, too.
		b := coord.NewBarrier(c, "flushed", 2, coord.Name("a"), coord.TTL(time.Minute))
		go func() { _, err := b.Await(t.Context()); result <- err }()
		waitersAt(t, c, "flushed", 1)
		start := time.Now()
		dstest.Cmd(t, c, "FLUSHALL")
		var e *coord.BrokenError
		if err := <-result; !errors.As(err, &e) || e.Reason != "gone" || time.Since(start) > soon {
			t.Errorf("Await: %v after %v, want it gone at once", err, time.Since(start))
		}
		if i, err := coord.InspectBarrier(t.Context(), c, "flushed"); err != nil || i.Generation != 0 {
			t.Errorf("Info: %+v, %v", i, err)
		}
	})
}

func TestABarrierLeavesNoKeyWithoutEnd(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		for range 3 {
			if _, err := coord.NewBarrier(c, "keys", 1).Await(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := coord.NewBarrier(c, "keys", 2).Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Await: %v, want the end of its context", err)
		}
		allKeysEnd(t, c)
		i, err := coord.InspectBarrier(t.Context(), c, "keys")
		if err != nil || i.Generation < 4 {
			t.Errorf("Info: %+v, %v", i, err)
		}
	})
}

// allKeysEnd checks that the server holds keys, and that each has a TTL.
func allKeysEnd(t *testing.T, c *redisx.Client) {
	t.Helper()
	found, err := c.Keys(t.Context(), "*")
	if err != nil || len(found) == 0 {
		t.Fatalf("KEYS: %d, %v", len(found), err)
	}
	for _, k := range found {
		if ttl := dstest.Int(t, c, "PTTL", k); ttl <= 0 {
			t.Errorf("%s has a TTL of %d", k, ttl)
		}
	}
}

func TestAWaitingPartyEndsWithItsClient(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c, err := redisx.Connect(t.Context(), server.URL())
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan error, 1)
		go func() { _, err := coord.NewBarrier(c, "closing", 2).Await(t.Context()); result <- err }()
		waitersAt(t, dstest.Connect(t, server), "closing", 1)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		select {
		case err := <-result:
			if err == nil {
				t.Error("Await succeeded on a closed client")
			}
		case <-time.After(5 * time.Second):
			t.Error("Await goes on after Close")
		}
	})
}

func TestABarrierOnAServerThatEvictsIsRefused(t *testing.T) {
	t.Parallel()
	c := dstest.Connect(t, serverstest.Start(t, servers.Options{Args: []string{"--maxmemory-policy", "allkeys-lru"}}))
	var e *coord.UnsafeServerError
	if _, err := coord.NewBarrier(c, "evict", 1).Await(t.Context()); !errors.As(err, &e) {
		t.Errorf("Await: %v, want it refused", err)
	}
	if _, err := coord.NewBarrier(c, "evict", 1, coord.AllowEviction()).Await(t.Context()); err != nil {
		t.Errorf("Await: %v", err)
	}
}

func TestABarrierExplainsItself(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _, _ = coord.NewBarrier(c, "why", 3, coord.Name("web-1")).Await(ctx) }()
		waitersAt(t, c, "why", 1)
		i, err := coord.InspectBarrier(ctx, c, "why")
		if err != nil || i.Parties != 3 || i.Generation != 1 || i.Since.IsZero() || i.Arrived[0].Left <= 0 {
			t.Errorf("%+v, %v", i, err)
		}
		if s := i.Explain(); !strings.HasPrefix(s, "generation 1 waits since ") || !strings.HasSuffix(s, "Z for 2 more of 3 parties, here: web-1") {
			t.Errorf("Explain: %s", s)
		}
		cancel()
		<-done
		if s := (coord.BarrierInfo{Name: "why"}).Explain(); !strings.HasPrefix(s, "no generation remembered") {
			t.Errorf("Explain: %s", s)
		}
	})
}
