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
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// raceReleaseAndRenew returns how many rounds left a key behind, and how many
// renewals it saw.
func raceReleaseAndRenew(t *testing.T, c *redisx.Client, n int) (left, renewals int64) {
	const workers, ttl = 64, 90 * time.Millisecond
	var next, leaks, renewed atomic.Int64
	f := &faulty{Client: c}
	f.setFail(func(r command.Request) (error, error) {
		if is(r, lease.RenewDigest()) {
			renewed.Add(1)
		}
		return nil, nil
	})
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
	onServers(t, releaseRacedWithRenew)
}

func releaseRacedWithRenew(t *testing.T, s *servers.Server) {
	c := connect(t, s)
	n := rounds(6_000, 40_000) // of each flavor: more than 100 000 in all
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
	c := start(t)
	lease.Plant(t, "renew", "answer = why_not(answer, fence, id, ARGV[3 * i - 1])", "answer = redis.call('HSET', lease, 'id', id)")
	if left, _ := raceReleaseAndRenew(t, c, 500); left == 0 {
		t.Error("a renewal that re-creates the key was not found")
	}
}

// TestScriptsFlushedUnderway is LE11.
func TestScriptsFlushedUnderway(t *testing.T) {
	t.Parallel()
	onServers(t, scriptsFlushed)
}

func scriptsFlushed(t *testing.T, s *servers.Server) {
	c, admin := connect(t, s), connect(t, s)
	const workers = 4
	n := rounds(1000, 10_000)
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
	onServers(t, outOfMemory)
}

func outOfMemory(t *testing.T, s *servers.Server) {
	c := connect(t, s)
	l := acquire(t, c, "job", lease.TTL(time.Second))
	release(t, acquire(t, c, "warm"))
	cmd(t, c, "CONFIG", "SET", "maxmemory", "1")
	_, err := lease.Acquire(t.Context(), c, "other")
	if !command.IsCode(err, "OOM") || !strings.Contains(err.Error(), "other") {
		t.Errorf("Acquire: %v, want OOM", err)
	}
	time.Sleep(2 * time.Second) // two TTLs: it must renew
	if err := context.Cause(l.Context()); err != nil {
		t.Errorf("lost: %v", err)
	}
	if _, err := l.Do(t.Context(), command.Untyped("SET", "x", "1").Request()); !command.IsCode(err, "OOM") {
		t.Errorf("Do: %v, want OOM", err)
	}
	release(t, l)
	if s, err := lease.Inspect(t.Context(), c, "job"); err != nil || s.Held {
		t.Errorf("Inspect: %+v, %v; want it free", s, err)
	}
	cmd(t, c, "SCRIPT", "FLUSH")
	if keys := cmd(t, c, "KEYS", "*lease").Elems(); len(keys) != 0 {
		t.Errorf("keys left: %v", keys)
	}
}

func maybe(r command.Request) error {
	return &command.Error{Command: r.Name(), Node: "test", Phase: "read", Outcome: command.Maybe, Err: io.ErrUnexpectedEOF}
}

func TestALostAnswerIsAskedForOnceMore(t *testing.T) {
	t.Parallel()
	f := &faulty{Client: start(t)}
	release(t, acquire(t, f, "job")) // loads the scripts
	var asked atomic.Int64
	f.setFail(func(r command.Request) (error, error) {
		if is(r, lease.AcquireDigest()) && asked.Add(1) == 1 {
			return nil, maybe(r)
		}
		return nil, nil
	})
	l := acquire(t, f, "job")
	s, err := lease.Inspect(t.Context(), f.Client, "job")
	if err != nil || s.Token != l.Token() || asked.Load() != 2 {
		t.Errorf("Inspect: %+v, %v after %d requests; want the token %d after 2", s, err, asked.Load(), l.Token())
	}
	if last := number(t, f.Client, "HGET", second(lease.Keys("job")), "last"); last != l.Token() {
		t.Errorf("the fence stands at %d, the token is %d: granted twice", last, l.Token())
	}
	release(t, l)
}

func TestTheWindowStartsBeforeTheRequest(t *testing.T) {
	t.Parallel()
	f := &faulty{Client: start(t)}
	release(t, acquire(t, f, "job"))
	const ttl, slow = time.Second, 300 * time.Millisecond
	f.setFail(func(r command.Request) (error, error) {
		if is(r, lease.AcquireDigest()) {
			time.Sleep(slow)
		}
		return nil, nil
	})
	l := acquire(t, f, "job", lease.TTL(ttl))
	if r := l.Remaining(); r > ttl*9/10-slow {
		t.Errorf("a request that took %v left %v of trust, want %v at most", slow, r, ttl*9/10-slow)
	}
	release(t, l)
}

func TestAGrantThatCameTooLateIsNoLease(t *testing.T) {
	t.Parallel()
	f := &faulty{Client: start(t)}
	release(t, acquire(t, f, "job"))
	f.setFail(func(r command.Request) (error, error) {
		if is(r, lease.AcquireDigest()) {
			time.Sleep(600 * time.Millisecond)
		}
		return nil, nil
	})
	l, err := lease.Acquire(t.Context(), f, "job", lease.TTL(600*time.Millisecond))
	if l != nil || !errors.Is(err, lease.ErrLost) {
		t.Errorf("Acquire: %v, %v; want ErrLost", l, err)
	}
	eventually(t, 400*time.Millisecond, "its release", func() bool {
		return number(t, f.Client, "EXISTS", first(lease.Keys("job"))) == 0
	})
}

func second(_, b string) string { return b }

func TestAnUnseenGrantIsReleased(t *testing.T) {
	t.Parallel()
	f := &faulty{Client: start(t)}
	key, _ := lease.Keys("job")
	release(t, acquire(t, f, "job"))
	f.setFail(func(r command.Request) (error, error) {
		if is(r, lease.AcquireDigest()) {
			return nil, maybe(r)
		}
		return nil, nil
	})
	for name, try := range map[string]func(context.Context, command.Doer, string, ...lease.Option) (*lease.Lease, error){
		"Acquire": lease.Acquire, "TryAcquire": lease.TryAcquire,
	} {
		l, err := try(t.Context(), f, "job")
		if l != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%s: %v, %v; want the lost connection", name, l, err)
		}
		eventually(t, time.Second, name+": the release of the unseen grant", func() bool {
			return number(t, f.Client, "EXISTS", key) == 0
		})
	}
	// A Doer that owns no goroutines gets it done before the call returns.
	if _, err := lease.TryAcquire(t.Context(), onlyDo{f}, "job"); err == nil {
		t.Error("TryAcquire succeeded")
	}
	if n := number(t, f.Client, "EXISTS", key); n != 0 {
		t.Error("through a plain Doer the unseen grant stayed")
	}
}

// onlyDo hides all that a client is besides a Doer.
type onlyDo struct{ d command.Doer }

func (o onlyDo) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return o.d.Do(ctx, r)
}

func TestAReleaseWithALostAnswerCanBeRepeated(t *testing.T) {
	t.Parallel()
	f := &faulty{Client: start(t)}
	release(t, acquire(t, f, "job"))
	l := acquire(t, f, "job")
	f.setFail(func(r command.Request) (error, error) {
		if is(r, lease.ReleaseDigest()) {
			return nil, maybe(r)
		}
		return nil, nil
	})
	if err := l.Release(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, lease.ErrLost) {
		t.Errorf("Release: %v, want the lost connection", err)
	}
	f.setFail(nil)
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("the second Release: %v, want nil: the first may have done it", err)
	}
}

// TestRenewalsLostForLessThanTheTTLAreBridged and the test below lose the
// answers (the server has renewed) and the requests (it has not).
func TestRenewalsLostForLessThanTheTTLAreBridged(t *testing.T) {
	t.Parallel()
	f := &faulty{Client: start(t)}
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
func bridgesOutages(t *testing.T, f *faulty, ttl time.Duration) bool {
	t.Helper()
	lag := machineLag(t)
	l := acquire(t, f, "job", lease.TTL(ttl))
	for i := range 4 {
		outage := time.Now().Add(ttl * 2 / 5)
		f.setFail(func(r command.Request) (error, error) {
			switch lost := time.Now().Before(outage) && is(r, lease.RenewDigest()); {
			case lost && i%2 == 0:
				return maybe(r), nil
			case lost:
				return nil, maybe(r)
			}
			return nil, nil
		})
		time.Sleep(ttl * 3 / 2)
	}
	cause := context.Cause(l.Context())
	if cause != nil && lag() > ttl/20 {
		_ = l.Release(t.Context())
		return false
	}
	if cause != nil {
		t.Errorf("lost: %v", cause)
	}
	release(t, l)
	return true
}

func TestRenewalsLostForLongerEndItBeforeTheServerDoes(t *testing.T) {
	t.Parallel()
	f := &faulty{Client: start(t)}
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
func endsBeforeTheServerDoes(t *testing.T, f *faulty, answers bool, ttl time.Duration) bool {
	t.Helper()
	l := acquire(t, f, "job", lease.TTL(ttl))
	f.setFail(func(r command.Request) (error, error) {
		switch {
		case !is(r, lease.RenewDigest()):
			return nil, nil
		case answers:
			return nil, maybe(r)
		}
		return maybe(r), nil
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
	f.setFail(nil)
	_ = l.Release(t.Context())
	return !late
}

// TestWaitersWakeOnRelease measures from the start of Release to the return of
// the waiting Acquire.
func TestWaitersWakeOnRelease(t *testing.T) {
	s := serverstest.Start(t)
	a, b := connect(t, s), connect(t, s)
	n := rounds(200, 2000)
	took := make([]time.Duration, 0, n)
	lag := machineLag(t)
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
	worst := lag()
	slices.Sort(took)
	t.Logf("woken after a release: p50 %v, p99 %v, max %v of %d; the machine itself was late by up to %v", took[n/2], took[n*99/100], took[n-1], n, worst)
	if over := took[n-1] - 2*worst; over > 50*time.Millisecond {
		t.Errorf("a waiter woke %v after the release and the machine could run it, want at most 50 ms", over)
	}
}

func TestWaitersGetALeaseThatLapses(t *testing.T) {
	t.Parallel()
	c := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lease.Acquire(ctx, c, "job", lease.TTL(200*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	lag, begin := machineLag(t), time.Now()
	cancel() // its holder is dead: nobody renews, nobody releases
	l := acquire(t, c, "job")
	if took := time.Since(begin) - 2*lag(); took > 260*time.Millisecond {
		t.Errorf("got it after %v, want TTL + 60 ms at most", took)
	}
	release(t, l)
}

// machineLag watches by how much timers run late for anyone, until the function
// it returns is called, which tells the worst. What nobody on this machine
// could have met is not held against the code under test.
func machineLag(t *testing.T) func() time.Duration {
	stop := make(chan struct{})
	var worst time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		const nap = time.Millisecond
		for {
			begin := time.Now()
			select {
			case <-stop:
				return
			case <-time.After(nap):
				worst = max(worst, time.Since(begin)-nap)
			}
		}
	})
	end := sync.OnceValue(func() time.Duration { close(stop); wg.Wait(); return worst })
	t.Cleanup(func() { end() })
	return end
}

func TestAWaiterThatGivesUpSaysWhoHeldIt(t *testing.T) {
	t.Parallel()
	c := start(t)
	l := acquire(t, c, "job", lease.Owner("a"))
	defer release(t, l)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := lease.Acquire(ctx, c, "job")
	var held *lease.HeldError
	if !errors.As(err, &held) || held.Owner != "a" || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, lease.ErrHeld) {
		t.Errorf("Acquire: %v", err)
	}
}

func TestAServerThatFreezesEndsLeasesInTime(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := connect(t, s)
	const ttl = 500 * time.Millisecond
	l := acquire(t, c, "job", lease.TTL(ttl))
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	lag, begin := machineLag(t), time.Now()
	<-l.Context().Done()
	if took := time.Since(begin) - 2*lag(); took > ttl {
		t.Errorf("the context ended %v after the freeze, want less than the TTL", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	lag, begin = machineLag(t), time.Now()
	err := l.Release(ctx)
	if took := time.Since(begin) - 2*lag(); !errors.Is(err, context.DeadlineExceeded) || took > 100*time.Millisecond {
		t.Errorf("Release: %v after %v, want it to end with its context", err, took)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	release(t, acquire(t, c, "job"))
}
