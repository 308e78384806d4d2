package aside_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/internal/servers"
)

func TestATagInvalidatesAllItsValuesAndNoOthers(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	for _, opts := range [][]aside.Option{nil, {aside.Memory(1 << 20)}} {
		var runs atomic.Int64
		tagBy := aside.TagBy(func(key string) []string {
			if key < "m" {
				return []string{"all", "low"}
			}
			return []string{"high", "all", "all"}
		})
		a := aside.New(cs[0], time.Minute, counted(&runs), append(opts, tagBy)...)
		b := aside.New(plain{cs[1]}, time.Minute, counted(&runs), append(opts, tagBy)...) // no Batcher
		for range 3 {
			get(t, a, "a")
			get(t, b, "z")
		}
		if n := runs.Load(); n != 2 {
			t.Fatalf("%d computes", n)
		}
		if err := a.InvalidateTag(t.Context(), "low"); err != nil {
			t.Fatal(err)
		}
		if v := get(t, a, "a"); v != 3 {
			t.Errorf("a was %d after the invalidation of its tag", v)
		}
		if v := get(t, b, "z"); v != 2 {
			t.Errorf("z was %d after the invalidation of another tag", v)
		}
		if err := aside.InvalidateTag(t.Context(), cs[1], "all"); err != nil {
			t.Fatal(err)
		}
		if v := get(t, b, "z"); v <= 3 {
			t.Errorf("z was %d after the invalidation of its tag", v)
		}
		// The other client's memory is told by push.
		eventually(t, "a is computed anew", func() bool { return get(t, a, "a") > 3 })
		// An evicted generation is a miss, not a value that nobody can invalidate.
		n := runs.Load()
		number(t, cs[0], "DEL", "{redisx:aside:low}:tag")
		eventually(t, "a is computed anew", func() bool { return get(t, a, "a") > n })
		// So is a value of which nothing is known but itself.
		text(t, cs[0], "SET", "a", "1")
		eventually(t, "a is computed anew", func() bool { return get(t, a, "a") > n+1 })
		text(t, cs[0], "FLUSHALL")
	}
}

func TestTagsEndByThemselves(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	c := aside.New(cs[0], 100*time.Millisecond, func(context.Context, string) (int, error) { return 1, nil }, aside.Tags("a"), aside.Lease(50*time.Millisecond))
	get(t, c, "k")
	if n := number(t, cs[0], "DBSIZE"); n != 3 {
		t.Errorf("%d keys, want the value, what is known of it, and its tag", n)
	}
	eventually(t, "all keys have gone", func() bool { return number(t, cs[0], "DBSIZE") == 0 })
}

// CA2 for tags.
func TestAComputeIsNeverReturnedAfterItsTagWasInvalidated(t *testing.T) {
	t.Parallel()
	eachServer(t, invalidatedTag)
}

func invalidatedTag(t *testing.T, f servers.Flavor) {
	_, cs := setupOn(t, f, 3)
	const rounds = 300
	for round := range rounds {
		key := fmt.Sprint("k", round)
		var source atomic.Int32
		source.Store(oldValue)
		read, finish := make(chan struct{}, 16), make(chan struct{})
		var runs atomic.Int32
		call := func(c command.Doer) (int32, error) {
			return aside.GetOrCompute(t.Context(), c, key, time.Minute, func(context.Context) (int32, error) {
				v := source.Load()
				if runs.Add(1) == 1 {
					read <- struct{}{}
					<-finish
				}
				return v, nil
			}, aside.Tags("t"))
		}
		var wg sync.WaitGroup
		for i := range cs {
			wg.Go(func() { call(cs[i]) })
		}
		<-read
		source.Store(newValue)
		if round%2 == 0 {
			wg.Go(func() { close(finish) }) // the two race
		}
		if err := aside.InvalidateTag(t.Context(), cs[round%3], "t"); err != nil {
			t.Fatal(err)
		}
		for i := range cs {
			wg.Go(func() {
				if v, err := call(cs[i]); v != newValue || err != nil {
					t.Errorf("round %d: a call after the invalidation got %d, %v", round, v, err)
				}
			})
		}
		if round%2 == 1 {
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond) // let them join
			close(finish)
		}
		wg.Wait()
		if t.Failed() {
			return
		}
	}
}

func TestWithoutTheServerEachProcessComputesOnce(t *testing.T) {
	t.Parallel()
	s, cs := setup(t, 2)
	s.Kill()
	var runs atomic.Int64
	load := func(ctx context.Context, _ string) (int64, error) {
		return runs.Add(1), sleep(ctx, 300*time.Millisecond)
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := aside.New(cs[i%2], time.Minute, load, aside.Tags("t")).Get(t.Context(), "k"); err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	// Who hears late that the server is gone may find the first compute ended.
	if n := runs.Load(); n < 2 || n > 10 {
		t.Errorf("100 callers of 2 clients caused %d computes", n)
	}
	if n := aside.StatsOf(cs[0]).Alone + aside.StatsOf(cs[1]).Alone; int64(n) != runs.Load() {
		t.Errorf("%d computes counted, of %d", n, runs.Load())
	}
	_, err := aside.New(cs[0], time.Minute, load, aside.Strict()).Get(t.Context(), "k")
	var failed *command.Error
	if !errors.As(err, &failed) {
		t.Errorf("strict: %v", err)
	}
}

func TestComputesWithoutTheServerAreBounded(t *testing.T) {
	t.Parallel()
	s, cs := setup(t, 1)
	s.Kill()
	var at, most atomic.Int64
	c := aside.New(cs[0], time.Minute, func(ctx context.Context, _ string) (int, error) {
		if n := at.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer at.Add(-1)
		return 1, sleep(ctx, 20*time.Millisecond)
	})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() { get(t, c, fmt.Sprint("k", i)) })
	}
	wg.Wait()
	if n := most.Load(); n > 32 || n < 16 {
		t.Errorf("%d computes at once", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
