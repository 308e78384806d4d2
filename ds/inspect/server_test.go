package inspect_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/inspect"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

const foreign = 200_000

// crowd puts many keys of others on the server, half of them with a hash tag.
func crowd(t testing.TB, run func(script string)) {
	t.Helper()
	run(`for i = 1, 100000 do
		redis.call('SET', 'session:' .. i, 'x')
		redis.call('HSET', '{user:' .. i .. ':cart}:items', 'kind', 'apple')
	end`)
}

func TestAServerFullOfOthersKeysIsSearchedInBoundedMemory(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	crowd(t, func(script string) { dstest.Cmd(t, c, "EVAL", script, 0) })
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	var most int64
	began, found := time.Now(), 0
	for o, err := range inspect.Find(t.Context(), c, inspect.Rate(4_000_000)) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Problem != "" {
			t.Errorf("%s %s: %s", o.Kind, o.Name, o.Problem)
		}
		most = max(most, heap()-before)
		if found++; found > 2*len(says) {
			t.Fatalf("found %s %s", o.Kind, o.Name)
		}
	}
	most = max(most, heap()-before)
	t.Logf("%d keys in %v, %d bytes kept", foreign, time.Since(began), most)
	if found != len(says) {
		t.Errorf("found %d objects, want %d", found, len(says))
	}
	if most > 1<<20 {
		t.Errorf("the search kept %d bytes", most)
	}
	// 200 000 keys, and the 100 000 with a tag are asked what they are.
	if took := time.Since(began); took < 550*time.Millisecond {
		t.Errorf("it took %v, which is faster than the rate", took)
	}
}

func TestAServerThatGoesAwayEndsTheSearchWithWhatWasFound(t *testing.T) {
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	l := limiter.New(c, "10/h")
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		if _, err := l.Allow(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	crowd(t, func(script string) { dstest.Cmd(t, c, "EVAL", script, 0) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	found := 0
	var broken *inspect.ScanError
	for r, err := range inspect.Reports(ctx, c, inspect.OfKind("limiter"), inspect.Rate(100_000)) {
		switch {
		case err == nil:
			if found++; found == 1 {
				s.Kill()
			}
			if r.Says == "" {
				t.Errorf("%s says nothing", r.Name)
			}
		case !errors.As(err, &broken):
			t.Fatalf("%v is no *ScanError", err)
		}
	}
	if broken == nil || ctx.Err() != nil {
		t.Fatalf("the search of a dead server ended with %v", broken)
	}
	if found == 0 || broken.Found != found || broken.Visited == 0 || broken.Visited > foreign || broken.Explain() == "" {
		t.Errorf("found %d; the error says %+v", found, broken)
	}
}

func TestAFrozenServerIsLeftWhenTheContextEnds(t *testing.T) {
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	leave(t, c)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	defer s.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// The server answers nothing more: that these return is the test.
	found, e := broken(t, ctx, c)
	if e == nil || !errors.Is(e, context.DeadlineExceeded) || len(found) != 0 {
		t.Errorf("found %v, %v", found, e)
	}
	if _, err := inspect.Lookup(ctx, c, "video:42"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lookup: %v", err)
	}
	if _, err := inspect.Explain(ctx, c, inspect.Object{Kind: "lease", Name: "video:42"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("explain: %v", err)
	}
}
