package semaphore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func acquire(t testing.TB, s *semaphore.Semaphore, weight int) *semaphore.Permit {
	t.Helper()
	p, err := s.Acquire(t.Context(), weight)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func release(t testing.TB, p *semaphore.Permit) {
	t.Helper()
	if err := p.Release(context.Background()); err != nil {
		t.Errorf("Release: %v", err)
	}
}

// full fails the test unless a permit of that weight does not fit.
func full(t testing.TB, s *semaphore.Semaphore, weight int) *semaphore.FullError {
	t.Helper()
	p, err := s.TryAcquire(t.Context(), weight)
	var e *semaphore.FullError
	if !errors.As(err, &e) || !errors.Is(err, semaphore.ErrFull) {
		t.Fatalf("TryAcquire(%d) returned %v, %v", weight, p, err)
	}
	return e
}

// used is what the server says.
func used(t testing.TB, s *semaphore.Semaphore) int {
	t.Helper()
	i, err := s.Inspect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return i.Used
}

// queued waits until n wait in the queue.
func queued(t testing.TB, c *redisx.Client, name string, n int64) {
	t.Helper()
	dstest.Eventually(t, 10*time.Second, fmt.Sprintf("%d in the queue", n), func() bool {
		return dstest.Int(t, c, "ZCARD", semaphore.OrderKey(name)) == n
	})
}

// nothingStays waits until a semaphore has left nothing but the last token.
func nothingStays(t testing.TB, c *redisx.Client, name string) {
	t.Helper()
	var keys []string
	dstest.Eventually(t, 5*time.Second, "no key but the fence", func() bool {
		keys = keys[:0]
		for _, k := range dstest.Cmd(t, c, "KEYS", "*"+name+"*").Elems() {
			if !strings.HasSuffix(k.Text(), ":fence") {
				keys = append(keys, k.Text())
			}
		}
		return len(keys) == 0
	})
}

func TestPermitsNeverWeighMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 8)
	a, b, d := acquire(t, s, 5), acquire(t, s, 2), acquire(t, s, 1)
	if e := full(t, s, 1); e.Used != 8 || e.Limit != 8 || e.Permits != 3 || e.Weight != 1 || e.Name != "gpu" || e.Waiting != 0 {
		t.Errorf("full: %+v", e)
	}
	release(t, b)
	if e := full(t, s, 3); e.Used != 6 || !strings.Contains(e.Error(), "6 of 8 in use, no room for 3") || !strings.Contains(e.Explain(), "Inspect") {
		t.Errorf("%v; %s", e, e.Explain())
	}
	b = acquire(t, s, 2)
	if b.Weight() != 2 || b.Token() <= d.Token() || d.Token() <= a.Token() {
		t.Errorf("%v, %v, %v", a, d, b)
	}
	for _, p := range []*semaphore.Permit{a, b, d} {
		release(t, p)
	}
	nothingStays(t, c, "gpu")
}

func TestAReleaseCountsOnce(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 3)
	a, b := acquire(t, s, 2), acquire(t, s, 1)
	release(t, a)
	release(t, a)
	if n := used(t, s); n != 1 {
		t.Errorf("%d in use after a double release", n)
	}
	d := acquire(t, s, 2)
	release(t, a) // again, when another has its place
	full(t, s, 1)
	release(t, b)
	release(t, d)
	nothingStays(t, c, "gpu")
}

// fields are those of a hash, as text.
func fields(t testing.TB, c *redisx.Client, key string) string {
	t.Helper()
	var all []string
	for _, v := range dstest.Cmd(t, c, "EVAL", "return redis.call('HGETALL', KEYS[1])", 1, key).Elems() {
		all = append(all, v.Text())
	}
	slices.Sort(all) // a hash has none
	return strings.Join(all, " ")
}

func TestADeniedCallCostsNothing(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 2)
	p := acquire(t, s, 2)
	before := fields(t, c, semaphore.LeaseKey("gpu"))
	for range 100 {
		full(t, s, 1)
	}
	if after := fields(t, c, semaphore.LeaseKey("gpu")); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if n := dstest.Int(t, c, "EXISTS", semaphore.OrderKey("gpu")); n != 0 {
		t.Error("who was denied is in the queue")
	}
	release(t, p)
	release(t, acquire(t, s, 2))
}

func TestAPermitThatNeverFitsIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 8)
	_, err := s.Acquire(t.Context(), 9)
	var never *lease.NeverFitsError
	if !errors.Is(err, semaphore.ErrNeverFits) || !errors.As(err, &never) || never.Weight != 9 || never.Limit != 8 || never.Explain() == "" {
		t.Errorf("Acquire(9) of 8: %v", err)
	}
	if err := s.With(t.Context(), 9, func(context.Context) error { t.Error("it ran"); return nil }); !errors.Is(err, semaphore.ErrNeverFits) {
		t.Errorf("With: %v", err)
	}
	adaptive := semaphore.New(c, "db", 8, semaphore.Adaptive(2, 20))
	if _, err := adaptive.TryAcquire(t.Context(), 3); !errors.Is(err, semaphore.ErrNeverFits) {
		t.Errorf("a weight above the least limit: %v", err)
	}
	for name, s := range map[string]*semaphore.Semaphore{
		"weight 0": s,
		"no name":  semaphore.New(c, "", 8),
		"limit":    semaphore.New(c, "gpu", 0),
		"least":    semaphore.New(c, "gpu", 5, semaphore.Adaptive(0, 9)),
		"first":    semaphore.New(c, "gpu", 10, semaphore.Adaptive(1, 9)),
		"window":   semaphore.New(c, "gpu", 5, semaphore.Window(time.Microsecond)),
	} {
		if p, err := s.TryAcquire(t.Context(), 0); err == nil || p != nil || !strings.HasPrefix(err.Error(), "semaphore: ") {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	nothingStays(t, c, "gpu")
}

// TestAHeavyPermitIsNotOvertaken: light ones that would fit wait behind it.
func TestAHeavyPermitIsNotOvertaken(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 4)
	a, b := acquire(t, s, 1), acquire(t, s, 1)
	var mu sync.Mutex
	var served []int
	var wg sync.WaitGroup
	for i, weight := range []int{4, 1, 2, 3} {
		wg.Go(func() {
			p, err := s.Acquire(context.Background(), weight)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			served = append(served, weight)
			mu.Unlock()
			time.Sleep(20 * time.Millisecond)
			release(t, p)
		})
		queued(t, c, "gpu", int64(i+1))
	}
	if e := full(t, s, 1); e.Waiting != 4 || e.Used != 2 {
		t.Errorf("TryAcquire past the queue: %v", e)
	}
	release(t, a)
	release(t, b)
	wg.Wait()
	if got := fmt.Sprint(served); got != "[4 1 2 3]" && got != "[4 2 1 3]" { // 1 and 2 come in together
		t.Errorf("served in the order %v", served)
	}
	nothingStays(t, c, "gpu")
}

// told fails the test if who waited came in when it asked again by itself, a
// second after it had asked, rather than at once. The machine may be slow now and
// then, so most of the times count.
func told(t testing.TB, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	if took[len(took)/2] > 500*time.Millisecond {
		t.Errorf("who waited came in after %v", took)
	}
}

// TestAReleaseTellsWhoFitsNow: while others still hold permits, at once.
func TestAReleaseTellsWhoFitsNow(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 3)
	held := []*semaphore.Permit{acquire(t, s, 1), acquire(t, s, 1), acquire(t, s, 1)}
	var took []time.Duration
	for range 20 {
		got := make(chan *semaphore.Permit, 1)
		go func() {
			p, err := s.Acquire(context.Background(), 1)
			if err != nil {
				t.Error(err)
			}
			got <- p
		}()
		queued(t, c, "gpu", 1)
		begin := time.Now()
		release(t, held[0])
		held = append(held[1:], <-got)
		took = append(took, time.Since(begin))
	}
	told(t, took)
	for _, p := range held {
		release(t, p)
	}
}

// TestAHeavyReleaseLetsInAllWhoFit: one tells the next.
func TestAHeavyReleaseLetsInAllWhoFit(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 4)
	var took []time.Duration
	for range 5 {
		heavy := acquire(t, s, 4)
		got := make(chan *semaphore.Permit, 4)
		for i := range 4 {
			go func() {
				p, err := s.Acquire(context.Background(), 1)
				if err != nil {
					t.Error(err)
				}
				got <- p
			}()
			queued(t, c, "gpu", int64(i+1))
		}
		time.Sleep(50 * time.Millisecond) // until they have asked for the last time
		begin := time.Now()
		release(t, heavy)
		var light []*semaphore.Permit
		for range 4 {
			light = append(light, <-got)
		}
		took = append(took, time.Since(begin))
		for _, p := range light {
			release(t, p)
		}
	}
	told(t, took)
}

func TestALimitThatShrinksEvictsNobody(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 4)
	var held []*semaphore.Permit
	for range 4 {
		held = append(held, acquire(t, s, 1))
	}
	if err := s.SetLimit(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for i, p := range held[:3] {
		if e := full(t, s, 1); e.Used != 4-i || e.Limit != 2 {
			t.Errorf("with %d out: %v", 4-i, e)
		}
		if p.Context().Err() != nil {
			t.Errorf("permit %d was evicted: %v", i, context.Cause(p.Context()))
		}
		release(t, p)
	}
	p := acquire(t, s, 1)
	if e := full(t, s, 1); e.Used != 2 || e.Limit != 2 {
		t.Error(e)
	}
	// Two wait: for the one of weight 3 there will be no room any more.
	errs := make(chan error, 1)
	go func() {
		_, err := s.Acquire(context.Background(), 2)
		errs <- err
	}()
	queued(t, c, "gpu", 1)
	if err := s.SetLimit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, semaphore.ErrNeverFits) {
		t.Errorf("who waits when the limit shrinks below its weight: %v", err)
	}
	// It grows again: who waits comes in.
	got := make(chan *semaphore.Permit, 1)
	go func() {
		p, err := s.Acquire(context.Background(), 1)
		if err != nil {
			t.Error(err)
		}
		got <- p
	}()
	queued(t, c, "gpu", 1)
	if err := s.SetLimit(t.Context(), 0); err != nil { // the 4 of New
		t.Fatal(err)
	}
	q := <-got
	for _, p := range []*semaphore.Permit{held[3], p, q} {
		release(t, p)
	}
	nothingStays(t, c, "gpu")
}

// TestALimitThatGrowsLetsInAtOnce: who waits is told.
func TestALimitThatGrowsLetsInAtOnce(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 2)
	held := acquire(t, s, 1)
	var took []time.Duration
	for range 5 {
		if err := s.SetLimit(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		got := make(chan *semaphore.Permit, 1)
		go func() {
			p, err := s.Acquire(context.Background(), 1)
			if err != nil {
				t.Error(err)
			}
			got <- p
		}()
		queued(t, c, "gpu", 1)
		time.Sleep(50 * time.Millisecond) // until it has asked for the last time
		begin := time.Now()
		if err := s.SetLimit(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		p := <-got
		took = append(took, time.Since(begin))
		release(t, p)
	}
	told(t, took)
	release(t, held)
}

// TestEachLimitIsItsCallersWord is the rule where processes were given different
// limits and the server keeps none.
func TestEachLimitIsItsCallersWord(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	wide, narrow := semaphore.New(c, "gpu", 4), semaphore.New(c, "gpu", 2)
	a := acquire(t, narrow, 2)
	full(t, narrow, 1)
	b := acquire(t, wide, 2)
	full(t, wide, 1)
	release(t, a)
	if e := full(t, narrow, 1); e.Used != 2 || e.Limit != 2 {
		t.Error(e)
	}
	// Who waits by the narrow one keeps its place before those of the wide one.
	got := make(chan *semaphore.Permit, 1)
	go func() {
		p, err := narrow.Acquire(context.Background(), 1)
		if err != nil {
			t.Error(err)
		}
		got <- p
	}()
	queued(t, c, "gpu", 1)
	full(t, wide, 1)
	release(t, b)
	p := <-got
	// What the server keeps counts for both.
	if err := narrow.SetLimit(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	d, e := acquire(t, wide, 1), acquire(t, narrow, 1)
	full(t, wide, 1)
	for _, p := range []*semaphore.Permit{p, d, e} {
		release(t, p)
	}
}

func TestAPermitWithinAPermitIsRefused(t *testing.T) {
	t.Parallel()
	s := semaphore.New(dstest.Start(t), "gpu", 8)
	err := s.With(t.Context(), 1, func(ctx context.Context) error {
		_, err := s.Acquire(ctx, 1)
		return err
	})
	if !errors.Is(err, lease.ErrReentrant) {
		t.Errorf("With: %v", err)
	}
}

func TestWithReleasesAlsoAfterAPanic(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 1)
	mine := errors.New("mine")
	if err := s.With(t.Context(), 1, func(context.Context) error { return mine }); err != mine {
		t.Errorf("With: %v", err)
	}
	func() {
		defer func() { recover() }()
		_ = s.With(t.Context(), 1, func(context.Context) error { panic("x") })
	}()
	if n := used(t, s); n != 0 {
		t.Errorf("%d in use", n)
	}
	p := acquire(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int64
	asking := &dstest.Lossy{Client: c, Before: func(r command.Request) {
		if strings.HasPrefix(r.Name(), "EVAL") && asked.Add(1) == 2 {
			cancel() // who asks again has heard the first answer
		}
	}}
	err := semaphore.New(asking, "gpu", 1).With(ctx, 1, func(context.Context) error { t.Error("it ran"); return nil })
	var e *semaphore.FullError
	if !errors.As(err, &e) || e.Position != 1 || e.Waiting != 1 || !errors.Is(err, context.Canceled) || !strings.Contains(e.Error(), "place 1 of 1") {
		t.Errorf("With: %v", err)
	}
	release(t, p)
}

// TestALostPermitEndsItsContextAndFreesItsPlace: who does not renew is out after
// a TTL, and the fenced write of who does not know it is refused.
func TestALostPermitEndsItsContextAndFreesItsPlace(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s := semaphore.New(c, "gpu", 2, semaphore.TTL(300*time.Millisecond))
	stay := acquire(t, s, 1)
	ctx, die := context.WithCancel(t.Context())
	dead, err := s.Acquire(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	die() // from here on nobody renews it
	p := acquire(t, s, 1)
	if _, err := dead.Do(t.Context(), command.Set("k", "v")); !errors.Is(err, lease.ErrFenced) {
		t.Errorf("Do of a lapsed permit: %v", err)
	}
	if err := dead.Release(t.Context()); !errors.Is(err, lease.ErrLost) {
		t.Errorf("Release of a lapsed permit: %v", err)
	}
	if n := used(t, s); n != 2 || stay.Context().Err() != nil {
		t.Errorf("%d in use; %v", n, context.Cause(stay.Context()))
	}
	// One lapses, and nobody has come by to take it out: it writes no more, and
	// its holder hears of it.
	dstest.Cmd(t, c, "ZADD", semaphore.ReadersKey("gpu"), "XX", 1, mustHolding(t, s, p).ID)
	if _, err := p.Do(t.Context(), command.Set("k", "v")); !errors.Is(err, lease.ErrFenced) {
		t.Errorf("Do of one that has lapsed and is not taken out: %v", err)
	}
	<-p.Context().Done()
	if !errors.Is(context.Cause(p.Context()), lease.ErrLost) {
		t.Errorf("cause %v", context.Cause(p.Context()))
	}
	release(t, stay)
}

// mustHolding returns what the server tells of a permit.
func mustHolding(t *testing.T, s *semaphore.Semaphore, p *semaphore.Permit) semaphore.Holding {
	t.Helper()
	i, err := s.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range i.Holding {
		if h.Token == p.Token() {
			return h
		}
	}
	t.Fatalf("%v is not in %+v", p, i)
	return semaphore.Holding{}
}

func TestInspectTellsWhoHoldsAndWhoWaits(t *testing.T) {
	t.Parallel()
	serverstest.Each(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		a := semaphore.New(c, "gpu", 8, semaphore.Owner("node-A"))
		b := semaphore.New(c, "gpu", 8, semaphore.Owner("node-B"))
		if i, err := a.Inspect(t.Context()); err != nil || i.Explain() != "0 of 8 held" {
			t.Errorf("free: %+v, %v", i, err)
		}
		p, q := acquire(t, a, 2), acquire(t, b, 6)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = b.With(context.Background(), 1, func(context.Context) error { return nil })
		}()
		queued(t, c, "gpu", 1)
		i, err := semaphore.Inspect(t.Context(), c, "gpu")
		if err != nil || i.Used != 8 || i.Limit != 8 || i.Permits != 2 || i.Waiting != 1 || i.Next != "node-B" || i.Kept || len(i.Holding) != 2 {
			t.Fatalf("Inspect: %+v, %v", i, err)
		}
		h := i.Holding[0]
		if h.Owner != "node-A" || h.Weight != 2 || h.Token != p.Token() || h.Left < 8*time.Second || h.Left > 10*time.Second || time.Since(h.Since).Abs() > time.Minute {
			t.Errorf("holding: %+v", h)
		}
		want := fmt.Sprintf("8 of 8 held: node-A (2) since %s, node-B (6) since %s; 1 waiting, next is node-B",
			h.Since.UTC().Format("15:04:05Z"), i.Holding[1].Since.UTC().Format("15:04:05Z"))
		if i.Explain() != want {
			t.Errorf("Explain: %s, want %s", i.Explain(), want)
		}
		// The lease below it is explained, too.
		l, err := lease.Inspect(t.Context(), c, "semaphore:gpu")
		if err != nil || l.Readers != 2 || l.Owner != "node-A" && l.Owner != "node-B" {
			t.Errorf("the lease: %+v, %v", l, err)
		}
		if err := a.SetLimit(t.Context(), 9); err != nil {
			t.Fatal(err)
		}
		<-done
		if i, err := b.Inspect(t.Context()); err != nil || i.Limit != 9 || !i.Kept || !strings.Contains(i.Explain(), "of 9 held") {
			t.Errorf("Inspect: %+v, %v", i, err)
		}
		release(t, p)
		release(t, q)
	})
}
