package lease_test

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func free(t *testing.T, c *redisx.Client, names ...string) {
	t.Helper()
	for _, name := range names {
		dstest.Eventually(t, 5*time.Second, name+" free", func() bool {
			return dstest.Int(t, c, "EXISTS", first(lease.Keys(name))) == 0
		})
	}
}

func TestASetHoldsAllOrNone(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	s, err := lease.AcquireAll(t.Context(), c, []string{"c", "a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	tokens := s.Tokens()
	for _, name := range []string{"a", "b", "c"} {
		if _, err := lease.TryAcquire(t.Context(), c, name); !errors.Is(err, lease.ErrHeld) {
			t.Errorf("TryAcquire %s: %v", name, err)
		}
		if l := s.Lease(name); l == nil || l.Token() != tokens[name] || l.Token() == 0 {
			t.Errorf("the token of %s is %d", name, tokens[name])
		}
		if _, err := s.Lease(name).Do(s.Context(), raw("SET", name+":state", "1")); err != nil {
			t.Errorf("Do under %s: %v", name, err)
		}
	}
	if s.Lease("d") != nil || len(tokens) != 3 || s.Remaining() <= 0 {
		t.Errorf("tokens %v, remaining %v", tokens, s.Remaining())
	}
	for range 2 {
		if err := s.Release(s.Context()); err != nil {
			t.Errorf("Release: %v", err)
		}
	}
	if !errors.Is(context.Cause(s.Context()), lease.ErrLost) || s.Remaining() != 0 {
		t.Errorf("after Release the cause is %v", context.Cause(s.Context()))
	}
	free(t, c, "a", "b", "c")

	// One of them is held: the others are free again when the wait ends.
	b := acquire(t, c, "b", lease.Owner("other"))
	ctx, f := untilAnswered(t, c, func(r command.Request) bool {
		return dstest.Runs(r, lease.AcquireScript()) && r.Arg(2).Text() == first(lease.Keys("b"))
	})
	var held *lease.HeldError
	if _, err := lease.AcquireAll(ctx, f, []string{"c", "a", "b"}); !errors.As(err, &held) || held.Name != "b" || held.Owner != "other" || !errors.Is(err, enough) {
		t.Errorf("AcquireAll: %v", err)
	}
	free(t, c, "a", "c")
	release(t, b)
}

func TestNamesOfASetAreChecked(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	var twice *lease.DuplicateNameError
	if _, err := lease.AcquireAll(t.Context(), c, []string{"a", "b", "a"}); !errors.As(err, &twice) || twice.Name != "a" || !strings.Contains(twice.Explain(), `"a"`) {
		t.Errorf("AcquireAll: %v, want a DuplicateNameError", err)
	}
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, names := range [][]string{nil, {"a", ""}, many} {
		if _, err := lease.AcquireAll(t.Context(), c, names); err == nil {
			t.Errorf("%d names were accepted", len(names))
		}
	}
	if n := dstest.Int(t, c, "DBSIZE"); n != 0 {
		t.Errorf("%d keys left", n)
	}
}

// TestOverlappingSetsDoNotDeadlock lets many ask for some of a few names each,
// in any order.
func TestOverlappingSetsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	names := []string{"a", "b", "c", "d", "e"}
	var holders [5]atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	n := dstest.Rounds(25, 250)
	begin := time.Now()
	for i := range 4 {
		c := dstest.Connect(t, s)
		for range 6 {
			wg.Go(func() {
				for range n {
					some := slices.Clone(names)
					rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
					some = some[:2+rand.N(2)]
					var opts []lease.Option
					if i%2 == 0 {
						opts = append(opts, lease.Fair())
					}
					set, err := lease.AcquireAll(ctx, c, some, opts...)
					if err != nil {
						t.Errorf("AcquireAll %v: %v", some, err)
						return
					}
					for _, name := range some {
						if n := holders[slices.Index(names, name)].Add(1); n != 1 {
							t.Errorf("%d hold %s", n, name)
						}
					}
					for _, name := range some {
						holders[slices.Index(names, name)].Add(-1)
					}
					if err := set.Release(ctx); err != nil {
						t.Errorf("Release: %v", err)
					}
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d sets in %v", 24*n, time.Since(begin).Round(time.Millisecond))
}

func TestTheFirstLossEndsASet(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	type key struct{}
	parent := context.WithValue(t.Context(), key{}, "v")
	s, err := lease.AcquireAll(parent, c, []string{"a", "b", "c"}, lease.TTL(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if s.Context().Value(key{}) != "v" || s.Context().Err() != nil {
		t.Errorf("value %v, cause %v", s.Context().Value(key{}), context.Cause(s.Context()))
	}
	for _, name := range []string{"a", "b", "c"} {
		if _, err := lease.Acquire(s.Context(), c, name); !errors.Is(err, lease.ErrReentrant) {
			t.Errorf("Acquire %s within the set: %v, want ErrReentrant", name, err)
		}
	}
	dstest.Cmd(t, c, "DEL", first(lease.Keys("b")))
	select {
	case <-s.Context().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the loss of b did not end the set")
	}
	var lost *lease.LostError
	if !errors.As(context.Cause(s.Context()), &lost) || lost.Name != "b" || lost.Reason != "gone" {
		t.Errorf("the cause is %v, want the loss of b", context.Cause(s.Context()))
	}
	if err := s.Release(parent); !errors.As(err, &lost) || lost.Name != "b" {
		t.Errorf("Release: %v, want it to tell of the loss of b", err)
	}
	free(t, c, "a", "b", "c")
}

func TestALossEndsTheWaitForTheRest(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	z := acquire(t, c, "z")
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := lease.AcquireAll(context.Background(), c, []string{"a", "z"}, lease.TTL(2*time.Second))
		var lost *lease.LostError
		if !errors.As(err, &lost) || lost.Name != "a" {
			t.Errorf("AcquireAll: %v, want the loss of a", err)
		}
	})
	a := first(lease.Keys("a"))
	dstest.Eventually(t, 5*time.Second, "a held", func() bool { return dstest.Int(t, c, "EXISTS", a) == 1 })
	dstest.Cmd(t, c, "DEL", a)
	wg.Wait()
	release(t, z)
}

func TestASetWhoseContextEndsIsReleasedInTheBackground(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := lease.AcquireAll(ctx, c, []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	cancel(enough)
	if <-s.Context().Done(); context.Cause(s.Context()) != enough {
		t.Errorf("the cause is %v", context.Cause(s.Context()))
	}
	if err := s.Release(ctx); !errors.Is(err, enough) {
		t.Errorf("Release: %v", err)
	}
	free(t, c, "a", "b")
}

func ExampleAcquireAll() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	// A transfer needs both accounts. The order of the names does not matter.
	s, err := lease.AcquireAll(ctx, client, []string{"account:9", "account:4"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Release(ctx)
	fmt.Println(len(s.Tokens()), "tokens,", s.Context().Err())
	// Prints: 2 tokens, <nil>
}

func ExampleFair() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	l, err := lease.Acquire(ctx, client, "printer", lease.Owner("web-1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Release(ctx)

	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = lease.Acquire(soon, client, "printer", lease.Fair())
	var held *lease.HeldError
	if errors.As(err, &held) {
		fmt.Printf("held by %s, place %d of %d\n", held.Owner, held.Position, held.Waiting)
	}
	// Prints: held by web-1, place 1 of 1
}

func TestExamplesOfModes(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Fair", "held by web-1, place 1 of 1\n", ExampleFair},
		{"Shared", "readers: 2\nthe writer's token is greater: true\n", ExampleShared},
		{"AcquireAll", "2 tokens, <nil>\n", ExampleAcquireAll},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
