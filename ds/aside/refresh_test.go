package aside_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/internal/dstest"
)

// aged has key hold the value 1, stale since just now.
func aged(t *testing.T, c *aside.Cache[int64], key string) {
	t.Helper()
	get(t, c, key)
	eventually(t, "the value is stale", func() bool {
		_, err := c.Get(t.Context(), key)
		return err == nil && inspected(t, c, key).Fresh <= 0
	})
}

func TestClosingTheClientEndsRefreshes(t *testing.T) {
	t.Parallel()
	s, cs := setup(t, 1)
	own := dstest.Connect(t, s)
	var runs atomic.Int64
	cause := make(chan error, 1)
	c := aside.New(own, 50*time.Millisecond, func(ctx context.Context, _ string) (int64, error) {
		if n := runs.Add(1); n == 1 {
			return n, nil
		}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return 0, context.Cause(ctx)
	}, aside.Stale(time.Minute), aside.Jitter(0), aside.Early(0))
	get(t, c, "k")
	eventually(t, "a refresh runs", func() bool { get(t, c, "k"); return runs.Load() == 2 })
	own.Close()
	if err := <-cause; !errors.Is(err, coalesce.ErrClosed) && !errors.Is(err, coalesce.ErrAbandoned) {
		t.Errorf("the compute ended by %v", err)
	}
	if n := fills(t, cs[0]); n != 0 {
		t.Errorf("%d fills are left", n)
	}
	if _, err := c.Get(t.Context(), "k"); err == nil {
		t.Error("a closed client has answered")
	}
}

// Nobody waits for a refresh, so nobody would notice one that never ends.
func TestARefreshThatHangsEndsWithItsValue(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	var runs atomic.Int64
	cause := make(chan error, 1)
	c := aside.New(cs[0], 50*time.Millisecond, func(ctx context.Context, _ string) (int64, error) {
		n := runs.Add(1)
		if n != 2 {
			return n, nil
		}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return 0, context.Cause(ctx)
	}, aside.Stale(300*time.Millisecond), aside.Jitter(0), aside.Early(0), aside.Lease(time.Second))
	began := time.Now()
	get(t, c, "k")
	eventually(t, "a refresh runs", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // too late for a refresh, it would wait itself
		defer cancel()
		_, _ = c.Get(ctx, "k")
		return runs.Load() >= 2
	})
	if err := <-cause; !errors.Is(err, coalesce.ErrAbandoned) {
		t.Errorf("the compute ended by %v", err)
	}
	if d := time.Since(began); d < 400*time.Millisecond {
		t.Errorf("it ended after %v, want the value's 350ms and a lease", d)
	}
	if v := get(t, c, "k"); v < 3 {
		t.Errorf("got %d", v)
	}
}

func TestARefreshThatWasInvalidatedStoresNothing(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	var runs atomic.Int64
	started, finish := make(chan struct{}), make(chan struct{})
	c := aside.New(cs[0], 50*time.Millisecond, func(context.Context, string) (int64, error) {
		n := runs.Add(1)
		if n == 2 {
			close(started)
			<-finish
		}
		return n, nil
	}, aside.Stale(time.Minute), aside.Jitter(0), aside.Early(0))
	get(t, c, "k")
	eventually(t, "a refresh runs", func() bool { get(t, c, "k"); return runs.Load() == 2 })
	<-started
	if err := aside.Invalidate(t.Context(), cs[1], "k"); err != nil {
		t.Fatal(err)
	}
	close(finish)
	if v := get(t, c, "k"); v < 3 {
		t.Errorf("got %d, which was computed before the invalidation", v)
	}
	if got := text(t, cs[1], "GET", "k"); got == "1" || got == "2" {
		t.Errorf("GET k = %s", got)
	}
}

func inspected[T any](t *testing.T, c *aside.Cache[T], key string) aside.Info {
	t.Helper()
	i, err := c.Inspect(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestInspectExplainsAKey(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	var runs atomic.Int64
	c := aside.New(cs[0], 200*time.Millisecond, func(ctx context.Context, key string) (int64, error) {
		if key == "absent" {
			return 0, aside.ErrNotFound
		}
		if n := runs.Add(1); n == 1 {
			return n, dstest.Sleep(ctx, 20*time.Millisecond)
		}
		return 0, errors.New("down")
	}, aside.Stale(time.Minute), aside.Negative(time.Minute), aside.Jitter(0), aside.Early(0))
	check := func(key, state string, words ...string) aside.Info {
		t.Helper()
		i := inspected(t, c, key)
		for _, w := range words {
			if i.State != state || !strings.Contains(i.Explain(), w) {
				t.Errorf("%s: state %s, %q, want %s and %q", key, i.State, i.Explain(), state, w)
			}
		}
		return i
	}
	check("k", "none", "no value; and nobody computes it")
	get(t, c, "k")
	i := check("k", "value", "a value of 1 bytes, ")
	if !strings.Contains(i.Explain(), "computed in "+i.Took.String()) {
		t.Errorf("%q does not tell of a compute of %v", i.Explain(), i.Took)
	}
	if i.Took < 20*time.Millisecond || i.Computes != 1 || i.Spent != i.Took || i.Expires < time.Minute || i.Here.Computes != 1 || i.Here.Misses != 1 {
		t.Errorf("%+v", i)
	}
	aged(t, c, "k")
	eventually(t, "a refresh has failed", func() bool { get(t, c, "k"); return inspected(t, c, "k").Quiet > 0 })
	check("k", "value", "stale for ", "its last refresh failed")
	c.Get(t.Context(), "absent")
	check("absent", "absent", "known to be absent for another ")
	get(t, aside.New(cs[0], time.Minute, counted(&runs)), "fresh")
	check("fresh", "value", "fresh for another ")
	text(t, cs[1], "SET", "other", "5")
	check("other", "foreign", "a value of 1 bytes that another program has set")

	finish, done := make(chan struct{}), make(chan struct{})
	go func() { // ends with the test
		defer close(done)
		aside.GetOrCompute(context.Background(), cs[0], "slow", time.Minute, func(context.Context) (int, error) { <-finish; return 1, nil })
	}()
	defer func() { close(finish); <-done }()
	eventually(t, "it is being computed", func() bool { return inspected(t, c, "slow").Filler != "" })
	i = check("slow", "none", "no value; computed by ", "which lapses in ")
	if i.Lapses <= 0 || i.Lapses > aside.DefaultLease || i.Since.IsZero() {
		t.Errorf("%+v", i)
	}
	if b, err := json.Marshal(i); err != nil || !strings.Contains(string(b), `"filler":"`) {
		t.Errorf("%s, %v", b, err)
	}
}
