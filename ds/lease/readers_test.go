package lease_test

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
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func readersShareAndKeepWritersOut(t *testing.T, c *redisx.Client) {
	t.Helper()
	a := acquire(t, c, "doc", lease.Shared(), lease.Owner("a"), lease.TTL(20*time.Second))
	b := acquire(t, c, "doc", lease.Shared(), lease.Owner("b"), lease.Meta("pod-7"), lease.TTL(30*time.Second))
	if b.Token() <= a.Token() {
		t.Errorf("the tokens are %d and %d, want them to rise", a.Token(), b.Token())
	}
	_, err := lease.TryAcquire(t.Context(), c, "doc")
	var held *lease.HeldError
	if !errors.As(err, &held) || held.Readers != 2 || held.Owner != "b" || held.Meta != "pod-7" || held.Token != b.Token() || held.TTL <= 20*time.Second || time.Since(held.Since).Abs() > 5*time.Second {
		t.Fatalf("TryAcquire: %+v, %v", held, err)
	}
	if !strings.Contains(held.Error(), "2 in all") || !strings.Contains(held.Explain(), "2 readers") {
		t.Errorf("%v; %s", held, held.Explain())
	}
	release(t, b)
	if _, err := lease.TryAcquire(t.Context(), c, "doc"); !errors.As(err, &held) || held.Readers != 1 || held.Owner != "a" {
		t.Errorf("TryAcquire: %v, want it held by a", err)
	}
	release(t, a)
	release(t, a)
	w := acquire(t, c, "doc")
	if w.Token() <= b.Token() {
		t.Errorf("the writer's token %d is not above that of a reader, %d", w.Token(), b.Token())
	}
	if _, err := lease.TryAcquire(t.Context(), c, "doc", lease.Shared()); !errors.As(err, &held) || held.Readers != 0 || held.Token != w.Token() {
		t.Errorf("TryAcquire of a share: %v, want it held by the writer", err)
	}
	release(t, w)
	onlyFence(t, c, "doc")
}

func TestAWaitingWriterKeepsNewReadersOut(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	r := acquire(t, c, "doc", lease.Shared(), lease.TTL(3*time.Second))
	// One writer, then two readers, then one writer.
	var mu sync.Mutex
	var in []string
	var wg sync.WaitGroup
	together := make(chan struct{}, 2)
	wait := func(who string, opts ...lease.Option) {
		n := dstest.Int(t, c, "ZCARD", lease.OrderKey("doc"))
		wg.Go(func() {
			l, err := lease.Acquire(context.Background(), c, "doc", opts...)
			if err != nil {
				t.Errorf("%s: %v", who, err)
				return
			}
			mu.Lock()
			in = append(in, who)
			mu.Unlock()
			if who == "reader" {
				together <- struct{}{}
				if !dstest.Until(10*time.Second, func() bool { return len(together) == 2 }) {
					t.Error("the readers did not come in together")
				}
			}
			release(t, l)
		})
		inQueue(t, c, "doc", n+1)
	}
	wait("writer")
	if _, err := lease.TryAcquire(t.Context(), c, "doc", lease.Shared()); !errors.Is(err, lease.ErrHeld) {
		t.Errorf("TryAcquire of a share: %v, want it refused for the writer's sake", err)
	}
	wait("reader", lease.Shared())
	wait("reader", lease.Shared())
	wait("late writer")
	for range 2 {
		renewed(t, r) // the reader who is in stays in
	}
	release(t, r)
	wg.Wait()
	if got := strings.Join(in, ", "); got != "writer, reader, reader, late writer" {
		t.Errorf("they came in as: %s", got)
	}
	onlyFence(t, c, "doc")
}

func TestReadersNeverMeetAWriter(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	admin := dstest.Connect(t, s)
	var readers, writers, most, reads, writes atomic.Int64
	var last atomic.Int64 // the writer's token
	stop := time.Now().Add(time.Duration(dstest.Rounds(2, 20)) * time.Second)
	var wg sync.WaitGroup
	for i := range 4 {
		c := dstest.Connect(t, s)
		for j := range 4 {
			wg.Go(func() {
				for time.Now().Before(stop) {
					opts := []lease.Option{lease.TTL(10 * time.Second)}
					write := (i+j)%4 == 0
					if !write {
						opts = append(opts, lease.Shared())
					}
					l, err := lease.Acquire(context.Background(), c, "doc", opts...)
					if err != nil {
						t.Errorf("Acquire: %v", err)
						return
					}
					if write {
						writes.Add(1)
						if n := writers.Add(1); n != 1 || readers.Load() != 0 {
							t.Errorf("%d writers and %d readers at once", n, readers.Load())
						}
						if before := last.Swap(l.Token()); before >= l.Token() {
							t.Errorf("a writer got token %d after %d", l.Token(), before)
						}
					} else {
						reads.Add(1)
						most.Store(max(most.Load(), readers.Add(1)))
						if n := writers.Load(); n != 0 {
							t.Errorf("a reader beside %d writers", n)
						}
						if l.Token() <= last.Load() {
							t.Errorf("a reader got token %d after a writer's %d", l.Token(), last.Load())
						}
					}
					time.Sleep(rand.N(2 * time.Millisecond))
					if write {
						writers.Add(-1)
					} else {
						readers.Add(-1)
					}
					release(t, l)
					if rand.N(50) == 0 { // the fence may go, the exclusion stays
						dstest.Cmd(t, admin, "DEL", second(lease.Keys("doc")))
					}
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d reads, up to %d together, %d writes", reads.Load(), most.Load(), writes.Load())
	if most.Load() < 2 || writes.Load() == 0 {
		t.Error("nothing was shared, or nothing was written")
	}
	onlyFence(t, admin, "doc")
}

func TestAShareIsRenewedAndALostOneDoesNotComeBack(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	const ttl = 2 * time.Second
	a, b := acquire(t, c, "doc", lease.Shared(), lease.TTL(ttl)), acquire(t, c, "doc", lease.Shared(), lease.TTL(ttl))
	for end := time.Now().Add(2 * ttl); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := lease.TryAcquire(t.Context(), c, "doc"); !errors.Is(err, lease.ErrHeld) {
			t.Fatalf("TryAcquire: %v; causes %v, %v", err, context.Cause(a.Context()), context.Cause(b.Context()))
		}
	}
	// One share is deleted by hand: it alone is lost.
	dstest.Cmd(t, c, "ZREM", lease.ReadersKey("doc"), lease.ID(a))
	<-a.Context().Done()
	var lost *lease.LostError
	if !errors.As(context.Cause(a.Context()), &lost) || lost.Reason != "gone" || lost.Token != a.Token() {
		t.Errorf("the cause is %v, want gone", context.Cause(a.Context()))
	}
	if _, err := a.Do(t.Context(), raw("SET", "late", "1")); !errors.Is(err, lease.ErrFenced) {
		t.Errorf("Do of a lost share: %v, want ErrFenced", err)
	}
	if err := a.Release(t.Context()); !errors.Is(err, lease.ErrLost) {
		t.Errorf("Release of a lost share: %v, want ErrLost", err)
	}
	if _, err := b.Do(t.Context(), raw("SET", "seen", "1")); err != nil || b.Context().Err() != nil {
		t.Errorf("Do of the other: %v, cause %v", err, context.Cause(b.Context()))
	}
	// The lease is deleted, and a writer gets it, before anybody renews.
	w := acquire(t, c, "writers")
	key, _ := lease.Keys("doc")
	dstest.Cmd(t, c, "EVAL", "redis.call('DEL', KEYS[1], KEYS[3]) redis.call('RENAME', KEYS[2], KEYS[1])", 3,
		key, first(lease.Keys("writers")), lease.ReadersKey("doc"))
	<-b.Context().Done()
	if !errors.As(context.Cause(b.Context()), &lost) || lost.Reason != "not owner" {
		t.Errorf("the cause is %v, want not owner", context.Cause(b.Context()))
	}
	if err := b.Release(t.Context()); !errors.Is(err, lease.ErrLost) {
		t.Errorf("Release: %v, want ErrLost", err)
	}
	if id := dstest.Cmd(t, c, "HGET", key, "id").Text(); id != lease.ID(w) {
		t.Errorf("the readers' ends disturbed the writer: %q has the lease", id)
	}
	dstest.Cmd(t, c, "DEL", key)
	if n := dstest.Int(t, c, "EXISTS", "late"); n != 0 {
		t.Error("a lost share could write")
	}
	onlyFence(t, c, "doc")
}

func TestADeadReaderCostsAWriterItsTTL(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	dying, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	const ttl = 2 * time.Second
	acquire(t, dying, "doc", lease.Shared(), lease.TTL(ttl))
	alive := acquire(t, c, "doc", lease.Shared(), lease.TTL(time.Minute))
	if err := dying.Close(); err != nil { // its leases are not released
		t.Fatal(err)
	}
	lag, begin := dstest.Lag(t), time.Now()
	served := line(t, c, "doc", 1)
	dstest.Eventually(t, 10*time.Second, "the dead share gone", func() bool {
		var held *lease.HeldError
		_, err := lease.TryAcquire(t.Context(), c, "doc")
		return errors.As(err, &held) && held.Readers == 1
	})
	release(t, alive)
	served()
	if took := time.Since(begin) - 2*lag(); took > ttl+beat {
		t.Errorf("the writer waited %v for a reader with a TTL of %v", took, ttl)
	}
	onlyFence(t, c, "doc")

	// And with no other reader: by the end of the lease itself.
	gone, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, gone, "doc", lease.Shared(), lease.TTL(ttl))
	gone.Close()
	lag, begin = dstest.Lag(t), time.Now()
	release(t, acquire(t, c, "doc"))
	if took := time.Since(begin) - 2*lag(); took > ttl+beat {
		t.Errorf("the writer waited %v for a reader with a TTL of %v", took, ttl)
	}
}

func TestAShareCannotBeUpgraded(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := lease.With(ctx, c, "doc", func(ctx context.Context, _ *lease.Lease) error {
		for _, opts := range [][]lease.Option{{}, {lease.Shared()}, {lease.Fair()}} {
			if _, err := lease.Acquire(ctx, c, "doc", opts...); !errors.Is(err, lease.ErrReentrant) {
				t.Errorf("Acquire: %v, want ErrReentrant", err)
			}
			if _, err := lease.TryAcquire(ctx, c, "doc", opts...); !errors.Is(err, lease.ErrReentrant) {
				t.Errorf("TryAcquire: %v, want ErrReentrant", err)
			}
		}
		return nil
	}, lease.Shared())
	if err != nil {
		t.Error(err)
	}
	err = lease.With(ctx, c, "doc", func(ctx context.Context, _ *lease.Lease) error {
		if _, err := lease.Acquire(ctx, c, "doc", lease.Shared()); !errors.Is(err, lease.ErrReentrant) {
			t.Errorf("Acquire of a share in the exclusive lease: %v, want ErrReentrant", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	onlyFence(t, c, "doc")
}

func TestAShareWhoseAnswerIsLostIsGrantedOnce(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	release(t, acquire(t, c, "other", lease.Shared())) // the server knows the scripts
	asked := 0
	asks := func(r command.Request) bool { return dstest.Runs(r, lease.QueueScript()) }
	f := &dstest.Lossy{
		Client: c,
		Before: func(r command.Request) {
			if !asks(r) {
				return
			}
			// Before it asks again a writer has come: who is in stays in.
			if asked++; asked == 2 {
				ticket(t, c, "doc", "writer", time.Minute, 0)
			}
		},
		Lose: func(r command.Request) bool { return asks(r) && asked == 1 },
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	l, err := lease.Acquire(ctx, f, "doc", lease.Shared())
	if err != nil {
		t.Fatal(err)
	}
	if n := dstest.Int(t, c, "ZCARD", lease.ReadersKey("doc")); n != 1 || asked != 2 {
		t.Errorf("%d readers after %d requests, want 1 after 2", n, asked)
	}
	release(t, l)
}

func TestSharesAreReleasedWhenTheServerIsOutOfMemory(t *testing.T) {
	t.Parallel()
	c := dstest.Connect(t, serverstest.Start(t, servers.Options{Args: []string{"--maxmemory-policy", "noeviction"}}))
	a := acquire(t, c, "doc", lease.Shared(), lease.TTL(4*time.Second))
	b := acquire(t, c, "doc", lease.Shared())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := lease.Acquire(context.Background(), c, "doc"); !command.IsCode(err, "OOM") {
			t.Errorf("a writer that waits: %v, want OOM", err)
		}
	})
	inQueue(t, c, "doc", 1)
	dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory", "1")
	for range 2 {
		renewed(t, a)
	}
	if _, err := lease.Acquire(t.Context(), c, "other", lease.Shared()); !command.IsCode(err, "OOM") {
		t.Errorf("Acquire: %v, want OOM", err)
	}
	release(t, a)
	release(t, b)
	wg.Wait()
	onlyFence(t, c, "doc")
}

func ExampleShared() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	r1, _ := lease.Acquire(ctx, client, "catalog", lease.Shared())
	r2, _ := lease.Acquire(ctx, client, "catalog", lease.Shared())
	_, err = lease.TryAcquire(ctx, client, "catalog") // a writer
	var held *lease.HeldError
	if errors.As(err, &held) {
		fmt.Println("readers:", held.Readers)
	}
	r1.Release(ctx)
	r2.Release(ctx)
	w, err := lease.TryAcquire(ctx, client, "catalog")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Release(ctx)
	fmt.Println("the writer's token is greater:", w.Token() > r2.Token())
	// Prints: readers: 2
	// the writer's token is greater: true
}

// TestModesOnEachServer runs what servers could see differently.
func TestModesOnEachServer(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, f servers.Flavor) {
		t.Parallel()
		for rule, test := range map[string]func(t *testing.T, c *redisx.Client){
			"readers share and keep writers out":                   readersShareAndKeepWritersOut,
			"fair waiters are served in the order of their coming": fairWaitersAreServedInOrder,
			"a foreign key in the way of one share ends no others": foreignKeyInTheWayOfAShare,
		} {
			t.Run(rule, func(t *testing.T) { test(t, dstest.Start(t, f)) })
		}
	}
	if dstest.Long {
		serverstest.Each(t, run)
	} else {
		serverstest.EachRequired(t, run)
	}
}

func foreignKeyInTheWayOfAShare(t *testing.T, c *redisx.Client) {
	t.Helper()
	const ttl = 3 * time.Second
	var others []*lease.Lease
	for i := range 20 {
		others = append(others, acquire(t, c, fmt.Sprintf("doc:%d", i), lease.Shared(), lease.TTL(ttl)))
	}
	l := acquire(t, c, "doc", lease.Shared(), lease.TTL(ttl))
	dstest.Cmd(t, c, "SET", lease.ReadersKey("doc"), "mine")
	<-l.Context().Done()
	if cause := context.Cause(l.Context()); !command.IsCode(cause, "WRONGTYPE") || !errors.Is(cause, lease.ErrLost) {
		t.Errorf("the cause is %v, want WRONGTYPE in it", cause)
	}
	if err := l.Release(t.Context()); !command.IsCode(err, "WRONGTYPE") {
		t.Errorf("Release: %v, want WRONGTYPE", err)
	}
	for _, l := range others {
		if err := context.Cause(l.Context()); err != nil {
			t.Errorf("another share was lost: %v", err)
		}
		release(t, l)
	}
}
