package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func acquire(t testing.TB, d command.Doer, name string, opts ...lease.Option) *lease.Lease {
	t.Helper()
	l, err := lease.Acquire(t.Context(), d, name, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func release(t testing.TB, l *lease.Lease) {
	t.Helper()
	if err := l.Release(context.Background()); err != nil {
		t.Errorf("Release: %v", err)
	}
}

func TestALeaseFromBeginningToEnd(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	begin := time.Now()
	l := acquire(t, c, "job", lease.Owner("a"))
	if r := l.Remaining(); r > 9*time.Second || r < 9*time.Second-time.Since(begin) {
		t.Errorf("Remaining is %v, want 9 s of the 10 but for what has passed", r)
	}
	s, err := lease.Inspect(t.Context(), c, "job")
	if err != nil || !s.Held || s.Owner != "a" || s.Token != l.Token() || s.TTL != 10*time.Second || s.Left <= 10*time.Second/2 || time.Since(s.Since).Abs() > 5*time.Second {
		t.Errorf("Inspect: %+v, %v", s, err)
	}

	_, err = lease.TryAcquire(t.Context(), c, "job")
	var held *lease.HeldError
	if !errors.As(err, &held) || !errors.Is(err, lease.ErrHeld) || held.Owner != "a" || held.Token != l.Token() || held.TTL <= 10*time.Second/2 || !held.Since.Equal(s.Since) {
		t.Errorf("TryAcquire: %v", err)
	} else if !strings.Contains(held.Explain(), `a has held "job"`) {
		t.Errorf("Explain: %s", held.Explain())
	}

	ctx := l.Context()
	release(t, l)
	release(t, l)
	var lost *lease.LostError
	if ctx.Err() == nil || !errors.As(context.Cause(ctx), &lost) || lost.Reason != "released" || l.Remaining() != 0 {
		t.Errorf("after Release the cause is %v, Remaining %v", context.Cause(ctx), l.Remaining())
	}
	s, err = lease.Inspect(t.Context(), c, "job")
	if err != nil || s != (lease.Info{Name: "job", Token: l.Token()}) {
		t.Errorf("Inspect after Release: %+v, %v", s, err)
	}
	release(t, acquire(t, c, "job"))
}

func TestKeysDescribeThemselvesAndHaveATTL(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "a}b", lease.TTL(time.Minute))
	defer release(t, l)
	keys := dstest.Cmd(t, c, "KEYS", "*").Elems()
	if len(keys) != 2 {
		t.Fatalf("%d keys, want the lease and its fence", len(keys))
	}
	tags := map[string]bool{}
	for _, k := range keys {
		if ttl := dstest.Int(t, c, "PTTL", k.Text()); ttl <= 0 {
			t.Errorf("%s has a TTL of %d", k.Text(), ttl)
		}
		kind := dstest.Cmd(t, c, "HGET", k.Text(), "kind").Text()
		if v := dstest.Cmd(t, c, "HGET", k.Text(), "v").Text(); !strings.HasPrefix(kind, "lease") || v != "1" {
			t.Errorf("%s is of kind %q, version %q", k.Text(), kind, v)
		}
		tag, _, _ := strings.Cut(k.Text(), "}")
		tags[tag] = true
	}
	if len(tags) != 1 || !tags["{redisx:lease:a%7Db"] {
		t.Errorf("the hash tags are %v, want one", tags)
	}
}

func TestRenewalOutlivesManyTTLs(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	const ttl = 1500 * time.Millisecond
	l := acquire(t, c, "job", lease.TTL(ttl))
	for end := time.Now().Add(2 * ttl); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := lease.TryAcquire(t.Context(), c, "job"); !errors.Is(err, lease.ErrHeld) {
			t.Fatalf("TryAcquire: %v, want it held; cause %v", err, context.Cause(l.Context()))
		}
	}
	release(t, l)
}

func TestADeletedLeaseIsLostAtTheNextRenewal(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	for _, how := range [][]any{{"FLUSHALL"}, {"DEL", first(lease.Keys("job"))}} {
		l := acquire(t, c, "job", lease.TTL(3*time.Second))
		dstest.Cmd(t, c, how[0].(string), how[1:]...)
		<-l.Context().Done()
		var lost *lease.LostError
		if !errors.As(context.Cause(l.Context()), &lost) || lost.Reason != "gone" || lost.Token != l.Token() { // expired, if no renewal had told
			t.Errorf("%v: the cause is %v", how, context.Cause(l.Context()))
		}
		if err := l.Release(t.Context()); !errors.Is(err, lease.ErrLost) {
			t.Errorf("%v: Release: %v, want ErrLost", how, err)
		}
		if n := dstest.Int(t, c, "EXISTS", first(lease.Keys("job"))); n != 0 {
			t.Errorf("%v: the renewal made the key again", how)
		}
	}
}

func first(a, _ string) string { return a }

func TestALateReleaseDoesNotTouchTheNextHolder(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	a := acquire(t, c, "job")
	dstest.Cmd(t, c, "DEL", first(lease.Keys("job")))
	b := acquire(t, c, "job", lease.Owner("b"))
	defer release(t, b)
	for range 2 {
		if err := a.Release(t.Context()); !errors.Is(err, lease.ErrLost) {
			t.Errorf("Release: %v, want ErrLost", err)
		}
	}
	if err := a.Renew(t.Context()); err == nil {
		t.Error("the late holder could renew")
	}
	if s, err := lease.Inspect(t.Context(), c, "job"); err != nil || s.Token != b.Token() || s.Owner != "b" {
		t.Errorf("Inspect: %+v, %v; want b", s, err)
	}
}

func TestAForeignKeyInTheWayIsAnErrorAndStays(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	key, fence := lease.Keys("job")
	for _, k := range []string{key, fence} {
		dstest.Cmd(t, c, "SET", k, "mine")
		if _, err := lease.Acquire(t.Context(), c, "job"); !command.IsCode(err, "WRONGTYPE") {
			t.Errorf("Acquire: %v, want WRONGTYPE", err)
		}
		if got := dstest.Cmd(t, c, "GET", k).Text(); got != "mine" {
			t.Errorf("%s holds %q", k, got)
		}
		dstest.Cmd(t, c, "DEL", k)
		if n := dstest.Int(t, c, "DBSIZE"); n != 0 {
			t.Errorf("%d keys left", n)
		}
	}
}

func TestTokensRiseOverEverything(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	_, fence := lease.Keys("job")
	var last int64
	grant := func(after string) {
		t.Helper()
		l := acquire(t, c, "job")
		if l.Token() <= last {
			t.Errorf("after %s: token %d, not above %d", after, l.Token(), last)
		}
		last = l.Token()
		release(t, l)
	}
	for range 50 {
		grant("a release")
		dstest.Cmd(t, c, "FLUSHALL")
		grant("FLUSHALL")
		dstest.Cmd(t, c, "DEL", fence)
		grant("eviction of the fence")
	}
	dstest.Cmd(t, c, "EVAL", "return redis.call('HSET',KEYS[1],'id','x','owner','x','token',ARGV[1],'since','1','ttl','1') + redis.call('PEXPIRE',KEYS[1],20)",
		1, first(lease.Keys("job")), last)
	grant("expiry")
	// The server's clock set back by an hour, as the fence sees it.
	last += time.Hour.Microseconds()
	dstest.Cmd(t, c, "HSET", fence, "last", last)
	grant("a clock set back")
	grant("one more")
	if ttl := dstest.Int(t, c, "PTTL", fence); ttl < (6 * 24 * time.Hour).Milliseconds() {
		t.Errorf("the fence lives for another %d ms only", ttl)
	}
}

func TestTheSameContextTwiceIsReentrantNotADeadlock(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	other := connectAgain(t, c)
	err := lease.With(ctx, c, "outer", func(ctx context.Context, _ *lease.Lease) error {
		return lease.With(ctx, c, "inner", func(ctx context.Context, _ *lease.Lease) error {
			for _, name := range []string{"outer", "inner"} {
				// Also through another client: the server knows the holder.
				for _, d := range []command.Doer{c, other} {
					if _, err := lease.Acquire(ctx, d, name); !errors.Is(err, lease.ErrReentrant) {
						t.Errorf("Acquire %s: %v, want ErrReentrant", name, err)
					}
					if _, err := lease.TryAcquire(ctx, d, name); !errors.Is(err, lease.ErrReentrant) {
						t.Errorf("TryAcquire %s: %v, want ErrReentrant", name, err)
					}
				}
			}
			l, err := lease.Acquire(ctx, c, "outer", lease.Namespace("other"))
			if err == nil {
				release(t, l)
			}
			return err
		})
	})
	if err != nil {
		t.Error(err)
	}
}

func connectAgain(t testing.TB, c *redisx.Client) *redisx.Client {
	t.Helper()
	port := strings.TrimSpace(dstest.Cmd(t, c, "CONFIG", "GET", "port").Elems()[1].Text())
	again, err := redisx.Connect(t.Context(), "redis://127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	return again
}

func TestWithReleasesWhateverHappens(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	mine := errors.New("mine")
	free := func() {
		t.Helper()
		if s, err := lease.Inspect(t.Context(), c, "job"); err != nil || s.Held {
			t.Errorf("Inspect: %+v, %v; want it free", s, err)
		}
	}
	if err := lease.With(t.Context(), c, "job", func(context.Context, *lease.Lease) error { return mine }); err != mine {
		t.Errorf("With: %v, want fn's error", err)
	}
	free()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = lease.With(t.Context(), c, "job", func(context.Context, *lease.Lease) error { panic("mine") })
	}()
	free()
	err := lease.With(t.Context(), c, "job", func(ctx context.Context, l *lease.Lease) error {
		dstest.Cmd(t, c, "FLUSHALL")
		return nil
	})
	if !errors.Is(err, lease.ErrLost) {
		t.Errorf("With: %v, want ErrLost: fn may have run beside another holder", err)
	}
	err = lease.With(t.Context(), c, "job", func(ctx context.Context, l *lease.Lease) error { return l.Release(ctx) })
	if err != nil {
		t.Errorf("With: %v, want a release by the lease's own context to do", err)
	}
	free()
}

func TestTheContextOfAcquireIsTheParent(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	l, err := lease.Acquire(ctx, c, "job", lease.TTL(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cancel(enough)
	if <-l.Context().Done(); context.Cause(l.Context()) != enough {
		t.Errorf("the cause is %v", context.Cause(l.Context()))
	}
	if err := l.Release(ctx); !errors.Is(err, enough) {
		t.Errorf("Release: %v, want it to say that ctx has ended", err)
	}
	dstest.Eventually(t, 10*time.Second, "the release in the background", func() bool {
		return dstest.Int(t, c, "EXISTS", first(lease.Keys("job"))) == 0
	})
}

func TestWithoutReleaseAnEndedContextEndsTheRenewal(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lease.Acquire(ctx, c, "job", lease.TTL(time.Second)); err != nil {
		t.Fatal(err)
	}
	cancel()
	dstest.Eventually(t, 10*time.Second, "the end of the TTL", func() bool {
		return dstest.Int(t, c, "EXISTS", first(lease.Keys("job"))) == 0
	})
}

func TestClosingTheClientEndsItsLeases(t *testing.T) {
	t.Parallel()
	c, err := redisx.Connect(t.Context(), serverstest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	l := acquire(t, c, "job")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	var lost *lease.LostError
	if !errors.As(context.Cause(l.Context()), &lost) || lost.Reason != "closed" || !strings.Contains(lost.Explain(), "closed") {
		t.Errorf("the cause is %v", context.Cause(l.Context()))
	}
	if err := l.Release(t.Context()); err == nil {
		t.Error("Release through a closed client succeeded")
	}
	if _, err := lease.Acquire(t.Context(), c, "job"); err == nil {
		t.Error("Acquire through a closed client succeeded")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	never := &dstest.Lossy{Drop: func(r command.Request) bool {
		t.Errorf("%s was sent", r.Name())
		return true
	}}
	for _, tt := range []struct {
		name  string
		lease string
		opt   lease.Option
	}{
		{"an empty name", "", lease.TTL(time.Second)},
		{"a TTL too short to renew in", "job", lease.TTL(49 * time.Millisecond)},
		{"a TTL longer than a day", "job", lease.TTL(25 * time.Hour)},
		{"a TTL that no PEXPIRE can say", "job", lease.TTL(time.Second + 1)},
		{"an owner of a page", "job", lease.Owner(strings.Repeat("x", 257))},
	} {
		if l, err := lease.Acquire(t.Context(), never, tt.lease, tt.opt); err == nil || l != nil {
			t.Errorf("%s was accepted", tt.name)
		}
	}
}

func TestAServerThatEvictsIsRefused(t *testing.T) {
	t.Parallel()
	c := dstest.Connect(t, serverstest.Start(t, servers.Options{Args: []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}}))
	_, err := lease.Acquire(t.Context(), c, "job")
	var unsafe *lease.UnsafeServerError
	if !errors.As(err, &unsafe) || unsafe.Policy != "allkeys-lru" {
		t.Errorf("Acquire: %v, want an UnsafeServerError", err)
	}
	if n := dstest.Int(t, c, "DBSIZE"); n != 0 {
		t.Errorf("%d keys left", n)
	}
	release(t, acquire(t, c, "job", lease.AllowEviction()))
	dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	release(t, acquire(t, c, "job"))
}

func TestEveryErrorExplainsItself(t *testing.T) {
	t.Parallel()
	type explainer interface {
		error
		Explain() string
	}
	for _, e := range []explainer{
		&lease.HeldError{Name: "job", Owner: "a"},
		&lease.FencedError{Name: "job", Token: 7},
		&lease.FencedError{Name: "job", Token: 7, Holder: "b", HolderToken: 8},
		&lease.LostError{Name: "job", Token: 7, Reason: "expired", Err: errors.New("timeout")},
		&lease.LostError{Name: "job", Token: 7, Reason: "gone"},
		&lease.LostError{Name: "job", Token: 7, Reason: "clock"},
		&lease.LostError{Name: "job", Token: 7, Reason: "released"},
		&lease.LostError{Name: "job", Token: 7, Reason: "closed"},
	} {
		if s := e.Error(); !strings.HasPrefix(s, "lease: job") {
			t.Errorf("%T says %q", e, s)
		}
		if s := e.Explain(); !strings.Contains(s, `"job"`) || strings.Contains(s, "%!") || len(s) < 60 {
			t.Errorf("%T explains %q", e, s)
		}
	}
	if got := fmt.Sprint(errors.Is(&lease.HeldError{Err: context.Canceled}, context.Canceled), errors.Is(&lease.HeldError{}, context.Canceled)); got != "true false" {
		t.Errorf("a HeldError wraps why waiting ended: %s", got)
	}
}
