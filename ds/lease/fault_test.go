package lease_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// raceReleaseAndRenew returns how many rounds left a key behind, and how many
// renewals it saw.
func raceReleaseAndRenew(t *testing.T, c *redisx.Client, n int) (left, renewals int64) {
	const workers, ttl = 64, 90 * time.Millisecond
	var next, leaks, renewed atomic.Int64
	f := &dstest.Lossy{Client: c, Before: func(r command.Request) {
		if dstest.Runs(r, lease.RenewScript()) {
			renewed.Add(1)
		}
	}}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			name := fmt.Sprintf("job:%d", w)
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				l, err := acquireInTime(f, name, lease.TTL(ttl))
				if err != nil {
					t.Errorf("Acquire: %v", err)
					return
				}
				var beside sync.WaitGroup
				if i%2 == 0 {
					// The lease's own renewal is due about now.
					time.Sleep(ttl*3/10 + rand.N(ttl/15))
				} else {
					beside.Go(func() { _ = l.Renew(context.Background()) })
				}
				// A starved round may lose its lease: that is no error here.
				if err := l.Release(context.Background()); err != nil && !errors.Is(err, lease.ErrLost) {
					t.Errorf("Release: %v", err)
				}
				beside.Wait()
				key, _ := lease.Keys(name)
				v, err := c.Cmd(context.Background(), "EXISTS", key)
				if err != nil {
					t.Errorf("EXISTS: %v", err)
				}
				if n, _ := v.Int(); n != 0 {
					leaks.Add(1)
					_, _ = c.Cmd(context.Background(), "DEL", key)
				}
			}
		})
	}
	wg.Wait()
	return leaks.Load(), renewed.Load()
}

// TestReleaseRacedWithRenewLeavesNoKey is LE8.
func TestReleaseRacedWithRenewLeavesNoKey(t *testing.T) {
	dstest.Servers(t, releaseRacedWithRenew)
}

func releaseRacedWithRenew(t *testing.T, f servers.Flavor) {
	c := dstest.Start(t, f)
	n := dstest.Rounds(6_000, 40_000) // of each flavor: more than 100 000 in all
	left, renewals := raceReleaseAndRenew(t, c, n)
	if left != 0 {
		t.Errorf("%d of %d rounds left a key with a TTL and no holder", left, n)
	}
	if renewals < int64(n)/2 {
		t.Errorf("only %d renewals in %d rounds: there was no race", renewals, n)
	}
	t.Logf("LE8: %d rounds, %d renewals, %d keys left", n, renewals, left)
}

func TestTheRaceFindsARenewalThatMakesKeys(t *testing.T) {
	c := dstest.Start(t)
	lease.Plant(t, "renew", "answer = why_not(answer, fence, id, ARGV[3 * i - 1])", "answer = redis.call('HSET', lease, 'id', id)")
	if left, _ := raceReleaseAndRenew(t, c, 500); left == 0 {
		t.Error("a renewal that re-creates the key was not found")
	}
}

// TestScriptsFlushedUnderway is LE11.
func TestScriptsFlushedUnderway(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, scriptsFlushed)
}

func scriptsFlushed(t *testing.T, f servers.Flavor) {
	s := serverstest.Start(t, servers.Options{Flavor: f})
	c, admin := dstest.Connect(t, s), dstest.Connect(t, s)
	const workers = 4
	n := dstest.Rounds(1000, 10_000)
	stop := make(chan struct{})
	var flusher sync.WaitGroup
	var flushes int
	flusher.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := admin.Cmd(context.Background(), "SCRIPT", "FLUSH"); err != nil {
				t.Errorf("SCRIPT FLUSH: %v", err)
			}
			flushes++
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	// Four flushes at least, however fast the rounds are.
	var failed, done atomic.Int64
	end := time.Now().Add(200 * time.Millisecond)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := 0; i < n/workers || time.Now().Before(end); i++ {
				err := lease.With(context.Background(), c, fmt.Sprintf("job:%d", w), func(context.Context, *lease.Lease) error { return nil })
				if done.Add(1); err != nil {
					failed.Add(1)
					t.Errorf("With: %v", err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	flusher.Wait()
	t.Logf("LE11: %d acquire/release, %d SCRIPT FLUSH, %d errors", done.Load(), flushes, failed.Load())
}

// TestAServerOutOfMemory is LE12.
func TestAServerOutOfMemory(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, outOfMemory)
}

func outOfMemory(t *testing.T, f servers.Flavor) {
	c := dstest.Start(t, f)
	l := acquire(t, c, "job", lease.TTL(3*time.Second))
	release(t, acquire(t, c, "warm"))
	dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory", "1")
	_, err := lease.Acquire(t.Context(), c, "other")
	if !command.IsCode(err, "OOM") || !strings.Contains(err.Error(), "other") {
		t.Errorf("Acquire: %v, want OOM", err)
	}
	for range 2 {
		renewed(t, l)
	}
	if _, err := l.Do(t.Context(), command.Untyped("SET", "x", "1").Request()); !command.IsCode(err, "OOM") {
		t.Errorf("Do: %v, want OOM", err)
	}
	release(t, l)
	if s, err := lease.Inspect(t.Context(), c, "job"); err != nil || s.Held {
		t.Errorf("Inspect: %+v, %v; want it free", s, err)
	}
	dstest.Cmd(t, c, "SCRIPT", "FLUSH")
	if keys := dstest.Cmd(t, c, "KEYS", "*lease").Elems(); len(keys) != 0 {
		t.Errorf("keys left: %v", keys)
	}
}

func TestALostAnswerIsAskedForOnceMore(t *testing.T) {
	t.Parallel()
	f := &dstest.Lossy{Client: dstest.Start(t)}
	release(t, acquire(t, f, "job")) // loads the scripts
	var asked atomic.Int64
	f.Change(func() {
		f.Lose = func(r command.Request) bool { return dstest.Runs(r, lease.AcquireScript()) && asked.Add(1) == 1 }
	})
	l := acquire(t, f, "job")
	s, err := lease.Inspect(t.Context(), f.Client, "job")
	if err != nil || s.Token != l.Token() || asked.Load() != 2 {
		t.Errorf("Inspect: %+v, %v after %d requests; want the token %d after 2", s, err, asked.Load(), l.Token())
	}
	if last := dstest.Int(t, f.Client, "HGET", second(lease.Keys("job")), "last"); last != l.Token() {
		t.Errorf("the fence stands at %d, the token is %d: granted twice", last, l.Token())
	}
	release(t, l)
}

func TestTheWindowStartsBeforeTheRequest(t *testing.T) {
	t.Parallel()
	const ttl, slow = 10 * time.Second, 300 * time.Millisecond
	f := &dstest.Lossy{Client: dstest.Start(t), Before: func(r command.Request) {
		if dstest.Runs(r, lease.AcquireScript()) {
			time.Sleep(slow)
		}
	}}
	l := acquire(t, f, "job", lease.TTL(ttl))
	if r := l.Remaining(); r > ttl*9/10-slow {
		t.Errorf("a request that took %v left %v of trust, want %v at most", slow, r, ttl*9/10-slow)
	}
	release(t, l)
}

func TestAGrantThatCameTooLateIsNoLease(t *testing.T) {
	t.Parallel()
	const ttl = 600 * time.Millisecond
	key, _ := lease.Keys("job")
	f := &dstest.Lossy{Client: dstest.Start(t)}
	f.Lose = func(r command.Request) bool {
		if dstest.Runs(r, lease.AcquireScript()) {
			dstest.Cmd(t, f.Client, "PERSIST", key) // only a release ends it now
			time.Sleep(ttl)
		}
		return false
	}
	l, err := lease.Acquire(t.Context(), f, "job", lease.TTL(ttl))
	if l != nil || !errors.Is(err, lease.ErrLost) {
		t.Errorf("Acquire: %v, %v; want ErrLost", l, err)
	}
	dstest.Eventually(t, 10*time.Second, "its release", func() bool { return dstest.Int(t, f.Client, "EXISTS", key) == 0 })
}

func second(_, b string) string { return b }

func TestAnUnseenGrantIsReleased(t *testing.T) {
	t.Parallel()
	key, _ := lease.Keys("job")
	var left atomic.Bool
	f := &dstest.Lossy{
		Client: dstest.Start(t),
		Before: func(r command.Request) {
			if dstest.Runs(r, lease.LeaveScript()) {
				left.Store(true)
			}
		},
		Lose: func(r command.Request) bool { return dstest.Runs(r, lease.AcquireScript()) },
	}
	for name, try := range map[string]func(context.Context, command.Doer, string, ...lease.Option) (*lease.Lease, error){
		"Acquire": lease.Acquire, "TryAcquire": lease.TryAcquire,
	} {
		l, err := try(t.Context(), f, "job", lease.TTL(time.Minute))
		if l != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%s: %v, %v; want the lost connection", name, l, err)
		}
		dstest.Eventually(t, 10*time.Second, name+": the release of the unseen grant", func() bool {
			return dstest.Int(t, f.Client, "EXISTS", key) == 0
		})
	}
	// A Doer that owns no goroutines is asked for it before the call returns.
	left.Store(false)
	if _, err := lease.TryAcquire(t.Context(), onlyDo{f}, "job"); err == nil {
		t.Error("TryAcquire succeeded")
	}
	if !left.Load() {
		t.Error("through a plain Doer nobody released the unseen grant")
	}
}

// onlyDo hides all that a client is besides a Doer.
type onlyDo struct{ d command.Doer }

func (o onlyDo) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return o.d.Do(ctx, r)
}

func TestAReleaseWithALostAnswerCanBeRepeated(t *testing.T) {
	t.Parallel()
	f := &dstest.Lossy{Client: dstest.Start(t), Lose: func(r command.Request) bool { return dstest.Runs(r, lease.ReleaseScript()) }}
	l := acquire(t, f, "job")
	if err := l.Release(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, lease.ErrLost) {
		t.Errorf("Release: %v, want the lost connection", err)
	}
	f.Change(func() { f.Lose = nil })
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("the second Release: %v, want nil: the first may have done it", err)
	}
}

// TestRenewalsLostForLessThanTheTTLAreBridged and the test below lose the
// answers (the server has renewed) and the requests (it has not).
func TestRenewalsLostForLessThanTheTTLAreBridged(t *testing.T) {
	t.Parallel()
	f := &dstest.Lossy{Client: dstest.Start(t)}
	ttl := time.Second
	for !bridgesOutages(t, f, ttl) {
		// A third of the TTL is what a busy machine may use up.
		if ttl *= 3; ttl > 10*time.Second {
			t.Fatalf("the machine is too busy for a TTL of %v", ttl/3)
		}
	}
}

// bridgesOutages reports false if the machine was too late for the test to say
// anything.
func bridgesOutages(t *testing.T, f *dstest.Lossy, ttl time.Duration) bool {
	t.Helper()
	lag := dstest.Lag(t)
	l := acquire(t, f, "job", lease.TTL(ttl))
	for i := range 4 {
		outage := time.Now().Add(ttl * 2 / 5)
		lost := func(r command.Request) bool {
			return time.Now().Before(outage) && dstest.Runs(r, lease.RenewScript())
		}
		f.Change(func() {
			if f.Drop, f.Lose = lost, nil; i%2 == 1 {
				f.Drop, f.Lose = nil, lost
			}
		})
		time.Sleep(ttl * 3 / 2)
	}
	cause := context.Cause(l.Context())
	if err := l.Release(t.Context()); cause == nil {
		cause = err // it may have been lost on the way here
	}
	if cause != nil && lag() > ttl/20 {
		return false
	}
	if cause != nil {
		t.Errorf("lost: %v", cause)
	}
	return true
}

func TestRenewalsLostForLongerEndItBeforeTheServerDoes(t *testing.T) {
	t.Parallel()
	f := &dstest.Lossy{Client: dstest.Start(t)}
	for _, answers := range []bool{false, true} {
		// Between the end and the look at the server there is a tenth of the TTL,
		// which a busy machine may use up.
		ttl := 400 * time.Millisecond
		for !endsBeforeTheServerDoes(t, f, answers, ttl) && ttl < 10*time.Second {
			ttl *= 2
		}
		if ttl > 10*time.Second {
			t.Errorf("the machine is too busy for a TTL of %v", ttl/2)
		}
	}
}

// endsBeforeTheServerDoes reports false if the machine was too late for the
// test to say anything.
func endsBeforeTheServerDoes(t *testing.T, f *dstest.Lossy, answers bool, ttl time.Duration) bool {
	t.Helper()
	l := acquire(t, f, "job", lease.TTL(ttl))
	renewal := func(r command.Request) bool { return dstest.Runs(r, lease.RenewScript()) }
	f.Change(func() {
		if f.Drop = renewal; answers {
			f.Drop, f.Lose = nil, renewal
		}
	})
	end := time.Now().Add(l.Remaining())
	for l.Context().Err() == nil {
		if left := l.Remaining(); left > 0 {
			end = time.Now().Add(left)
		}
		time.Sleep(time.Millisecond)
	}
	// Our context has ended, and the server still keeps others out.
	s, err := lease.Inspect(t.Context(), f.Client, "job")
	late := time.Since(end) > ttl/20
	if !late && (err != nil || !s.Held || s.Token != l.Token()) {
		t.Errorf("Inspect at the end of the context: %+v, %v; want it still held", s, err)
	}
	var lost *lease.LostError
	if cause := context.Cause(l.Context()); !errors.As(cause, &lost) || lost.Reason != "expired" || !late && !errors.Is(cause, io.ErrUnexpectedEOF) {
		t.Errorf("the cause is %v", cause)
	}
	f.Change(func() { f.Drop, f.Lose = nil, nil })
	_ = l.Release(t.Context())
	return !late
}

// TestWaitersWakeOnRelease: they are told, so none waits for the end of the TTL
// or asks again and again. It measures from the start of Release to the return
// of the waiting Acquire.
func TestWaitersWakeOnRelease(t *testing.T) {
	s := serverstest.Start(t)
	a, b := dstest.Connect(t, s), dstest.Connect(t, s)
	n := dstest.Rounds(200, 2000)
	took := make([]time.Duration, 0, n)
	lag, before := dstest.Lag(t), wait.Counts()
	for range n {
		held := acquire(t, a, "job", lease.TTL(time.Minute))
		got := make(chan time.Time, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			l, err := lease.Acquire(context.Background(), b, "job", lease.TTL(time.Minute))
			got <- time.Now()
			if err != nil {
				t.Errorf("Acquire: %v", err)
				return
			}
			release(t, l)
		})
		time.Sleep(rand.N(3 * time.Millisecond))
		begin := time.Now()
		release(t, held)
		took = append(took, (<-got).Sub(begin))
		wg.Wait()
	}
	worst, after := lag(), wait.Counts()
	slices.Sort(took)
	t.Logf("woken after a release: p50 %v, p99 %v, max %v of %d; the machine itself was late by up to %v", took[n/2], took[n*99/100], took[n-1], n, worst)
	if after.Push == before.Push || after.Poll != before.Poll || after.Events != before.Events {
		t.Errorf("waited as %+v before and as %+v after, want pushes alone", before, after)
	}
	if over := took[n-1] - 2*worst; over > 10*time.Second || dstest.Long && over > 50*time.Millisecond {
		t.Errorf("a waiter woke %v after the release and the machine could run it, want at most 50 ms", over)
	}
}

// TestWaitersGetALeaseThatLapses, by their own clocks: this server tells nobody
// of keys that expire.
func TestWaitersGetALeaseThatLapses(t *testing.T) {
	t.Parallel()
	c := dstest.Connect(t, serverstest.Start(t, servers.Options{Args: []string{"--enable-debug-command", "yes"}}))
	dstest.Cmd(t, c, "DEBUG", "SET-ACTIVE-EXPIRE", 0)
	const ttl = time.Second
	dying, cancel := context.WithCancel(t.Context())
	if _, err := lease.Acquire(dying, c, "job", lease.TTL(ttl)); err != nil {
		t.Fatal(err)
	}
	lag, begin := dstest.Lag(t), time.Now()
	cancel() // its holder is dead: nobody renews, nobody releases
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	l, err := lease.Acquire(ctx, c, "job")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin) - 2*lag(); dstest.Long && took > ttl+60*time.Millisecond {
		t.Errorf("got it after %v, want TTL + 60 ms at most", took)
	}
	release(t, l)
}

func TestAWaiterThatGivesUpSaysWhoHeldIt(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job", lease.Owner("a"))
	defer release(t, l)
	ctx, f := untilAnswered(t, c, func(r command.Request) bool { return dstest.Runs(r, lease.AcquireScript()) })
	_, err := lease.Acquire(ctx, f, "job")
	var held *lease.HeldError
	if !errors.As(err, &held) || held.Owner != "a" || !errors.Is(err, enough) || !errors.Is(err, lease.ErrHeld) {
		t.Errorf("Acquire: %v", err)
	}
}

func TestAServerThatFreezesEndsLeasesInTime(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	const ttl = 2 * time.Second
	l := acquire(t, c, "job", lease.TTL(ttl))
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	lag, begin := dstest.Lag(t), time.Now()
	<-l.Context().Done()
	if took := time.Since(begin) - 2*lag(); took > ttl {
		t.Errorf("the context ended %v after the freeze, want less than the TTL", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// The server does not answer before it is resumed: that it returns is the test.
	if err := l.Release(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Release: %v, want it to end with its context", err)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	release(t, acquire(t, c, "job"))
}
