package aside_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/internal/dstest"
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

const (
	oldValue = 1
	newValue = 2
)

// CA2 for tags.
func TestAComputeIsNeverReturnedAfterItsTagWasInvalidated(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, invalidatedTag)
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
	const callers = 100
	misses := func() uint64 { return aside.StatsOf(cs[0]).Misses + aside.StatsOf(cs[1]).Misses }
	load := func(ctx context.Context, _ string) (int64, error) {
		// Who hears late that the server is gone would find this compute ended.
		for misses() < callers && ctx.Err() == nil {
			dstest.Sleep(ctx, time.Millisecond)
		}
		return runs.Add(1), dstest.Sleep(ctx, 300*time.Millisecond)
	}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if _, err := aside.New(cs[i%2], time.Minute, load, aside.Tags("t")).Get(t.Context(), "k"); err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if n := runs.Load(); n != 2 {
		t.Errorf("%d callers of 2 clients caused %d computes", callers, n)
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
	full := make(chan struct{})
	c := aside.New(cs[0], time.Minute, func(context.Context, string) (int, error) {
		most.Store(max(most.Load(), at.Add(1)))
		defer at.Add(-1)
		<-full
		return 1, nil
	})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() { get(t, c, fmt.Sprint("k", i)) })
	}
	eventually(t, "there is no place left, and all others wait", func() bool { return at.Load() >= 32 && aside.StatsOf(cs[0]).Misses == 200 })
	close(full)
	wg.Wait()
	if n := most.Load(); n != 32 {
		t.Errorf("%d computes at once", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A compute may take longer than the value it makes is to live: the generations
// of its tags are kept until it has ended.
func TestTagsLastAsLongAsTheCompute(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	var runs atomic.Int64
	v, err := aside.GetOrCompute(t.Context(), cs[0], "k", 200*time.Millisecond, func(ctx context.Context) (int64, error) {
		return runs.Add(1), dstest.Sleep(ctx, 2*time.Second)
	}, aside.Tags("t"), aside.Lease(time.Second))
	// A machine that stands still for a lease costs a compute, and no more.
	if err != nil || v > 3 {
		t.Errorf("got %d, %v", v, err)
	}
}

func TestTagsLastAsLongAsAValueWithATTLOfItsOwn(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	for _, ttl := range []time.Duration{time.Hour, math.MaxInt64} {
		_, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, func(ctx context.Context) (int, error) {
			aside.SetTTL(ctx, ttl)
			return 1, nil
		}, aside.Tags("t"))
		if err != nil {
			t.Fatal(err)
		}
		if tag, value := number(t, cs[0], "PTTL", "{redisx:aside:t}:tag"), number(t, cs[0], "PTTL", "k"); tag < value || value < 3_000_000 {
			t.Errorf("the tag lives %d ms, the value %d", tag, value)
		}
		if err := aside.Invalidate(t.Context(), cs[0], "k"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDurationsWithoutEndAreCut(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	const forever = time.Duration(math.MaxInt64)
	for _, opts := range [][]aside.Option{
		{aside.Jitter(0)}, {aside.Stale(forever), aside.StaleIfError(forever), aside.Negative(forever), aside.Lease(forever)}, {aside.Tags("t")},
	} {
		c := aside.New(cs[0], forever, func(context.Context, string) (int, error) { return 1, nil }, append(opts, aside.Strict())...)
		for range 2 {
			get(t, c, "k")
		}
		if ms := number(t, cs[0], "PTTL", "k"); ms < 1_000_000_000 {
			t.Errorf("the value lives %d ms", ms)
		}
		text(t, cs[0], "FLUSHALL")
	}
}

func TestTheComputeHearsThatItsTagWasInvalidated(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	var runs atomic.Int64
	var cause error
	v, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, func(ctx context.Context) (int, error) {
		if runs.Add(1) > 1 {
			return newValue, nil
		}
		if err := aside.InvalidateTag(ctx, cs[1], "t"); err != nil {
			return 0, err
		}
		cause = dstest.Sleep(ctx, 30*time.Second)
		return oldValue, nil
	}, aside.Tags("t"), aside.Lease(3*time.Second))
	if v != newValue || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if filler.Lost(cause) != "tag" {
		t.Errorf("the compute's context ended by %v", cause)
	}
}

// Who waits for a compute knows the generations from before it. What comes of it
// may be newer than they are.
func TestAValueOfAnInvalidationMeanwhileIsNotComputedAgain(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	var runs, denied atomic.Int64
	finish := make(chan struct{})
	call := func(d command.Doer) (int64, error) {
		return aside.GetOrCompute(t.Context(), d, "k", time.Minute, func(context.Context) (int64, error) {
			n := runs.Add(1)
			if n == 1 {
				<-finish
			}
			return n, nil
		}, aside.Tags("t"))
	}
	want := func(d command.Doer) {
		if v, err := call(d); v != 2 || err != nil {
			t.Errorf("got %d, %v; want the compute after the invalidation", v, err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { want(cs[0]) })
	eventually(t, "the first compute runs", func() bool { return runs.Load() == 1 })
	wg.Go(func() {
		want(&dstest.Lossy{Client: cs[1], Lose: func(r command.Request) bool {
			if dstest.Runs(r, aside.TakeScript) {
				denied.Add(1)
			}
			return false
		}})
	})
	eventually(t, "the other process waits", func() bool { return denied.Load() > 0 })
	if err := aside.InvalidateTag(t.Context(), cs[0], "t"); err != nil {
		t.Fatal(err)
	}
	close(finish)
	wg.Wait()
	if n := runs.Load(); n != 2 {
		t.Errorf("%d computes", n)
	}
}

// On a full server nothing is stored, but keys can be invalidated.
func TestOnAFullServerNoResultIsOlderThanItsCall(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	text(t, cs[0], "CONFIG", "SET", "maxmemory", "1")
	var source, runs atomic.Int64
	source.Store(oldValue)
	read, finish := make(chan struct{}), make(chan struct{})
	call := func(want int64) {
		v, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, func(context.Context) (int64, error) {
			v := source.Load()
			if runs.Add(1) == 1 {
				close(read)
				<-finish
			}
			return v, nil
		})
		if v != want || err != nil {
			t.Errorf("got %d, %v, want %d", v, err, want)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { call(oldValue) })
	<-read
	source.Store(newValue)
	if err := aside.Invalidate(t.Context(), cs[1], "k"); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { call(newValue) })
	eventually(t, "the second has missed", func() bool { return aside.StatsOf(cs[0]).Misses == 2 })
	time.Sleep(50 * time.Millisecond) // let it join; were it too slow for that, it could not fail
	close(finish)
	wg.Wait()
}
