package aside_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/resp3"
)

// counted is a compute that returns how often it has run.
func counted(runs *atomic.Int64) func(context.Context, string) (int64, error) {
	return func(context.Context, string) (int64, error) { return runs.Add(1), nil }
}

func get[T any](t *testing.T, c *aside.Cache[T], key string) T {
	t.Helper()
	v, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get(%s): %v", key, err)
	}
	return v
}

func TestMemoryServesUntilTheServerTellsOfAChange(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	var runs atomic.Int64
	c := aside.New(cs[0], time.Minute, counted(&runs), aside.Memory(1<<20))
	for range 5 {
		if v := get(t, c, "k"); v != 1 {
			t.Fatalf("got %d", v)
		}
	}
	if s := aside.StatsOf(cs[0]); s.Memory != 3 || s.Server != 1 || s.Misses != 1 || s.Computes != 1 || s.Entries != 1 {
		t.Errorf("%+v, want one miss, one read and three values from memory", s)
	}
	text(t, cs[1], "SET", "k", "77") // another program
	eventually(t, "the other program's value", func() bool { return get(t, c, "k") == 77 })
	if err := aside.Invalidate(t.Context(), cs[1], "k"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new value", func() bool { return get(t, c, "k") == 2 })
	get(t, c, "k")
	// One's own invalidation needs no push.
	for want := int64(3); want < 100; want++ {
		if err := c.Invalidate(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if v := get(t, c, "k"); v != want {
				t.Fatalf("after an invalidation of its own the client got %d, want %d", v, want)
			}
		}
	}
}

func TestMemoryEndsWithTheValueAndWithTheConnection(t *testing.T) {
	t.Parallel()
	s, cs := setup(t, 1, "--enable-debug-command", "yes")
	// Nobody tells of the end of a key that the server does not look at.
	text(t, cs[0], "DEBUG", "SET-ACTIVE-EXPIRE", "0")
	var runs atomic.Int64
	c := aside.New(cs[0], 300*time.Millisecond, counted(&runs), aside.Memory(1<<20), aside.Jitter(0), aside.Early(0))
	began := time.Now()
	get(t, c, "k")
	get(t, c, "k")
	eventually(t, "the value ends", func() bool { return get(t, c, "k") == 2 })
	if d := time.Since(began); d < 290*time.Millisecond {
		t.Errorf("ended after %v", d)
	}
	long := aside.New(cs[0], time.Minute, counted(&runs), aside.Memory(1<<20))
	want := get(t, long, "long")
	get(t, long, "long")
	get(t, long, "long")
	if aside.StatsOf(cs[0]).Memory == 0 {
		t.Fatal("nothing was kept")
	}
	s.Kill()
	// Computed alone, because nothing may be served that nobody watches.
	eventually(t, "the memory is dropped", func() bool {
		v, err := long.Get(t.Context(), "long")
		return err == nil && v > want
	})
}

// deaf is a client that is told of no changes, and whose first read of a value
// is answered late: after it has run, it tells and waits.
type deaf struct {
	*redisx.Client
	read, answer chan struct{}
	once         sync.Once
}

type silence chan struct{}

func (s silence) Changed() <-chan struct{} { return s }
func (s silence) Stop()                    {}

func (d *deaf) Watch(context.Context, string) (command.Watch, error) {
	return silence(make(chan struct{})), nil
}

func (d *deaf) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	reply, err := d.Client.Do(ctx, r)
	if strings.HasSuffix(r.Name(), "_RO") && err == nil && d.read != nil {
		d.once.Do(func() {
			close(d.read)
			<-d.answer
		})
	}
	return reply, err
}

// A client's own invalidation counts at once, also for a value whose read has
// already run.
func TestNothingIsKeptThatWasInvalidatedWhileItWasRead(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	var runs atomic.Int64
	get(t, aside.New(cs[0], time.Minute, counted(&runs)), "k")
	d := &deaf{Client: cs[0], read: make(chan struct{}), answer: make(chan struct{})}
	c := aside.New(d, time.Minute, counted(&runs), aside.Memory(1<<20))
	var wg sync.WaitGroup
	wg.Go(func() {
		if v := get(t, c, "k"); v != 1 {
			t.Errorf("the call before the invalidation got %d", v)
		}
	})
	<-d.read
	if err := c.Invalidate(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	close(d.answer)
	wg.Wait()
	if v := get(t, c, "k"); v != 2 {
		t.Errorf("the call after it got %d", v)
	}
}

func TestWhatIsReadIsKeptWhenSomethingElseIsInvalidated(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	var runs atomic.Int64
	get(t, aside.New(cs[0], time.Minute, counted(&runs)), "k")
	d := &deaf{Client: cs[0], read: make(chan struct{}), answer: make(chan struct{})}
	c := aside.New(d, time.Minute, counted(&runs), aside.Memory(1<<20))
	var wg sync.WaitGroup
	wg.Go(func() { get(t, c, "k") })
	<-d.read
	if err := errors.Join(c.Invalidate(t.Context(), "other"), c.InvalidateTag(t.Context(), "other")); err != nil {
		t.Fatal(err)
	}
	close(d.answer)
	wg.Wait()
	if s := aside.StatsOf(d); s.Entries != 1 {
		t.Errorf("%d values are kept", s.Entries)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	c := aside.New(cs[0], time.Minute, func(_ context.Context, key string) (string, error) { return key + fmt.Sprintf("%01000d", 0), nil }, aside.Memory(100_000))
	for i := range 300 {
		for range 3 {
			get(t, c, fmt.Sprint("k", i))
		}
	}
	if s := aside.StatsOf(cs[0]); s.Bytes > 100_000 || s.Entries < 50 || s.Entries > 66 || s.Memory < 280 {
		t.Errorf("%d values, %d bytes, %d from memory", s.Entries, s.Bytes, s.Memory)
	}
	big := aside.New(cs[0], time.Minute, func(context.Context, string) (string, error) { return fmt.Sprintf("%0200000d", 0), nil }, aside.Memory(100_000))
	for range 3 {
		get(t, big, "big")
	}
	if s := aside.StatsOf(cs[0]); s.Bytes > 100_000 {
		t.Errorf("%d bytes with a value that does not fit", s.Bytes)
	}
	c.Invalidate(t.Context(), "k299")
	text(t, cs[0], "FLUSHALL")
	eventually(t, "all are read anew", func() bool { get(t, c, "k298"); return aside.StatsOf(cs[0]).Computes > 301 })
}

// fragile is a codec whose decoder panics once.
type fragile struct{ broken *atomic.Bool }

func (fragile) Encode(any) ([]byte, error) { return []byte("v"), nil }

func (f fragile) Decode(_ []byte, v any) error {
	if f.broken.Swap(false) {
		panic("a value of before")
	}
	*v.(*string) = "v"
	return nil
}

// TestACodecThatPanickedKeepsNobodyFromMemory: the panic is its caller's, and the
// key may be kept by whoever comes next.
func TestACodecThatPanickedKeepsNobodyFromMemory(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	codec := fragile{new(atomic.Bool)}
	c := aside.New(cs[0], time.Hour, func(context.Context, string) (string, error) { return "v", nil },
		aside.Memory(1<<20), aside.WithCodec(codec))
	get(t, c, "k") // computed: what is kept is read
	codec.broken.Store(true)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		c.Get(t.Context(), "k")
	}()
	get(t, c, "k")
	get(t, c, "k")
	if s := aside.StatsOf(cs[0]); s.Memory != 1 || s.Entries != 1 {
		t.Errorf("%d calls were served from memory, which has %d values", s.Memory, s.Entries)
	}
}

func TestAHitInMemoryAllocatesNothing(t *testing.T) {
	_, cs := setup(t, 1)
	load := func(context.Context, string) (user, error) { return user{"ada", []string{"a"}}, nil }
	c := aside.New(cs[0], time.Hour, load, aside.Memory(1<<20))
	ctx := t.Context()
	get(t, c, "k")
	get(t, c, "k")
	fn := func(ctx context.Context) (user, error) { return load(ctx, "") }
	for what, call := range map[string]func(){
		"Get": func() { c.Get(ctx, "k") },
		"GetOrCompute": func() {
			aside.GetOrCompute(ctx, cs[0], "k", time.Hour, fn, aside.Memory(1<<20), aside.Stale(time.Second))
		},
	} {
		before := aside.StatsOf(cs[0]).Memory
		if n := testing.AllocsPerRun(1000, call); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
		if got := aside.StatsOf(cs[0]).Memory - before; got != 1001 {
			t.Errorf("%s: %d of 1001 calls were served from memory", what, got)
		}
	}
}

func TestAHitOnTheServerIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	for _, opts := range [][]aside.Option{nil, {aside.Tags("a", "b", "c")}} {
		d := &counter{Client: cs[0]}
		c := aside.New(d, time.Hour, func(context.Context, string) (int, error) { return 1, nil }, opts...)
		get(t, c, fmt.Sprint("k", len(opts)))
		get(t, c, fmt.Sprint("k", len(opts)))
		d.trips.Store(0)
		get(t, c, fmt.Sprint("k", len(opts)))
		if n := d.trips.Load(); n != 1 {
			t.Errorf("%d round trips with %d options", n, len(opts))
		}
	}
}

func TestAStaleValueIsServedWhileOneProcessComputes(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 3)
	var runs, at, most atomic.Int64
	served := make(chan struct{}) // all that do not wait for the compute
	load := func(context.Context, string) (int64, error) {
		n := runs.Add(1)
		if a := at.Add(1); a > most.Load() {
			most.Store(a)
		}
		defer at.Add(-1)
		if n > 1 {
			<-served
		}
		return n, nil
	}
	var caches []*aside.Cache[int64]
	for _, c := range cs {
		caches = append(caches, aside.New(c, 200*time.Millisecond, load, aside.Stale(time.Minute), aside.Early(0), aside.Jitter(0)))
	}
	get(t, caches[0], "k")
	eventually(t, "the value is stale", func() bool {
		i, err := aside.Inspect(t.Context(), cs[0], "k")
		return err == nil && i.State == "value" && i.Fresh <= 0
	})
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if v, err := caches[i%3].Get(ctx, "k"); v != 1 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	wg.Wait()
	close(served)
	eventually(t, "the next value", func() bool { return get(t, caches[1], "k") == 2 })
	if runs.Load() != 2 || most.Load() != 1 {
		t.Errorf("%d computes, %d at once", runs.Load(), most.Load())
	}
}

func TestAStaleValueIsServedWhenTheComputeFails(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	var runs atomic.Int64
	var failed atomic.Pointer[time.Time] // when it did so first
	errDown := errors.New("database down")
	load := func(context.Context, string) (int64, error) {
		if n := runs.Add(1); n > 1 {
			now := time.Now()
			failed.CompareAndSwap(nil, &now)
			return 0, errDown
		}
		return 1, nil
	}
	a := aside.New(cs[0], 100*time.Millisecond, load, aside.StaleIfError(2*time.Second), aside.Early(0), aside.Jitter(0))
	b := aside.New(cs[1], 100*time.Millisecond, load, aside.StaleIfError(2*time.Second), aside.Early(0), aside.Jitter(0))
	began := time.Now()
	get(t, a, "k")
	eventually(t, "the value is stale and a compute has failed", func() bool { get(t, a, "k"); return runs.Load() == 2 })
	// The server keeps that it failed: no other process tries either.
	for {
		get(t, a, "k")
		get(t, b, "k")
		n := runs.Load()
		i, err := aside.Inspect(t.Context(), cs[0], "k")
		if time.Since(*failed.Load()) > 990*time.Millisecond { // the server counts whole ones
			break
		}
		if n != 2 {
			t.Fatalf("%d computes within the second after a failure", n)
		}
		if err != nil || i.Quiet <= 0 || i.Computes != 1 || i.Here.Failed != 1 || i.Here.Stale == 0 {
			t.Fatalf("%+v, %v", i, err)
		}
	}
	eventually(t, "the stale value has gone", func() bool { _, err := a.Get(t.Context(), "k"); return errors.Is(err, errDown) })
	if d := time.Since(began); d < 2*time.Second {
		t.Errorf("served for %v", d)
	}
}

func TestThatThereIsNothingIsKeptForAWhile(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	var runs, found atomic.Int64
	load := func(context.Context, string) (*user, error) {
		runs.Add(1)
		if found.Load() == 0 {
			return nil, fmt.Errorf("no row: %w", aside.ErrNotFound)
		}
		return nil, nil // a value: nil is not nothing
	}
	var caches []*aside.Cache[*user]
	for _, c := range cs {
		caches = append(caches, aside.New(c, time.Minute, load, aside.Negative(time.Minute)))
	}
	for i := range 10 {
		_, err := caches[i%2].Get(t.Context(), "k")
		var e *aside.NotFoundError
		if !errors.Is(err, aside.ErrNotFound) || !errors.As(err, &e) || e.Key != "k" || e.Left <= 0 || e.Left > time.Minute {
			t.Fatalf("got %v", err)
		}
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("%d computes", n)
	}
	if n := number(t, cs[0], "EXISTS", "k"); n != 0 {
		t.Error("the value key is there")
	}
	if i, err := aside.Inspect(t.Context(), cs[0], "k"); err != nil || i.State != "absent" {
		t.Errorf("%+v, %v", i, err)
	}
	number(t, cs[0], "PEXPIRE", "{k}:redisx:aside:k", 1) // the minute is over
	found.Store(1)
	eventually(t, "it is looked for again", func() bool { v, err := caches[1].Get(t.Context(), "k"); return v == nil && err == nil })
	if got := text(t, cs[0], "GET", "k"); got != "null" {
		t.Errorf("GET k = %q", got)
	}
	// What is found to be gone is dropped, be it fresh or not.
	found.Store(0)
	if err := caches[0].Invalidate(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	_, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, func(ctx context.Context) (*user, error) { return load(ctx, "") })
	if !errors.Is(err, aside.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if n := number(t, cs[0], "DBSIZE"); n != 0 {
		t.Errorf("%d keys without Negative", n)
	}
	// Another program may know better.
	caches[0].Get(t.Context(), "k")
	text(t, cs[1], "SET", "k", `{"name":"ada"}`)
	if v := get(t, caches[0], "k"); v == nil || v.Name != "ada" {
		t.Errorf("got %v", v)
	}
}

func TestTheComputeMaySetTheTTL(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	if aside.SetTTL(t.Context(), time.Second) {
		t.Error("a context of no compute took a ttl")
	}
	for ttl, want := range map[time.Duration][2]int{time.Hour: {3_590_000, 3_600_000}, 20 * time.Second: {10_000, 20_000}, 0: {-2, -2}, -1: {-2, -2}} {
		key := fmt.Sprint("k", ttl)
		v, err := aside.GetOrCompute(t.Context(), cs[0], key, time.Minute, func(ctx context.Context) (int, error) {
			if !aside.SetTTL(ctx, ttl) {
				t.Error("the compute's context did not take a ttl")
			}
			return 5, nil
		})
		if ms := number(t, cs[0], "PTTL", key); v != 5 || err != nil || ms < want[0] || ms > want[1] {
			t.Errorf("ttl %v: got %d, %v, and it lives %d ms", ttl, v, err, ms)
		}
	}
}

// counter counts the round trips of a client.
type counter struct {
	*redisx.Client
	trips atomic.Int64
}

func (c *counter) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	c.trips.Add(1)
	return c.Client.Do(ctx, r)
}

func (c *counter) DoBatch(ctx context.Context, rs []command.Request, got func(i int, v resp3.View, err error)) error {
	c.trips.Add(1)
	return c.Client.DoBatch(ctx, rs, got)
}
