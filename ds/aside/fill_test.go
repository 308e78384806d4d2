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

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/internal/dstest"
)

type user struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

func TestAMissIsComputedStoredAsPlainJSONAndThenRead(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	var runs atomic.Int32
	load := func(context.Context) (user, error) {
		runs.Add(1)
		return user{"ada", []string{"a", "b"}}, nil
	}
	for i := range 4 {
		u, err := aside.GetOrCompute(t.Context(), cs[i%2], "user:1", time.Minute, load)
		if err != nil || u.Name != "ada" || len(u.Tags) != 2 {
			t.Fatalf("call %d: %+v, %v", i, u, err)
		}
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("computed %d times", n)
	}
	if got := text(t, cs[0], "GET", "user:1"); got != `{"name":"ada","tags":["a","b"]}` {
		t.Errorf("GET user:1 = %s", got)
	}
	if ms := number(t, cs[0], "PTTL", "user:1"); ms <= 53_000 || ms > 60_000 {
		t.Errorf("PTTL = %d", ms)
	}
	if n := number(t, cs[0], "DBSIZE"); n != 2 {
		t.Errorf("%d keys, want the value and what is known of it", n)
	}
}

func TestTheServerEndsTheValueAfterItsTTL(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	var runs atomic.Int32
	call := func() int32 {
		v, err := aside.GetOrCompute(t.Context(), cs[0], "k", 200*time.Millisecond, func(context.Context) (int32, error) { return runs.Add(1), nil }, aside.Jitter(0), aside.Early(0))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	began := time.Now()
	if call() != 1 || call() != 1 {
		t.Fatal("computed twice")
	}
	eventually(t, "the value expires", func() bool { return call() == 2 })
	if d := time.Since(began); d < 200*time.Millisecond {
		t.Errorf("computed again after %v", d)
	}
}

func TestJitterShortensOnly(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	seen := map[int]bool{}
	for i := range 200 {
		key := fmt.Sprint("k", i)
		_, err := aside.GetOrCompute(t.Context(), cs[0], key, 100*time.Second, func(context.Context) (int, error) { return i, nil }, aside.Jitter(0.5))
		if err != nil {
			t.Fatal(err)
		}
		s := number(t, cs[0], "PTTL", key) / 1000
		if s < 49 || s > 100 {
			t.Fatalf("lives %d s, want 50 to 100", s)
		}
		seen[s/10] = true
	}
	if len(seen) < 5 {
		t.Errorf("200 lives fall into %d tenths of 5", len(seen))
	}
}

func TestNullAndZeroAreValues(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	runs := 0
	for range 2 {
		p, err := aside.GetOrCompute(t.Context(), cs[0], "p", time.Minute, func(context.Context) (*user, error) { runs++; return nil, nil })
		if p != nil || err != nil {
			t.Errorf("%v, %v", p, err)
		}
	}
	if runs != 1 {
		t.Errorf("computed %d times", runs)
	}
}

func TestEachCallerHasAValueOfItsOwn(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			u, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, func(ctx context.Context) (user, error) {
				return user{"ada", []string{"a"}}, dstest.Sleep(ctx, 20*time.Millisecond)
			})
			if err != nil || u.Tags[0] != "a" {
				t.Errorf("%+v, %v", u, err)
				return
			}
			u.Tags[0] = "mine" // the race detector watches
		})
	}
	wg.Wait()
}

func TestAValueSetByAnotherProgramMeanwhileWins(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	v, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, func(context.Context) (int, error) {
		text(t, cs[1], "SET", "k", "77")
		return 5, nil
	})
	if v != 77 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if got := text(t, cs[0], "GET", "k"); got != "77" {
		t.Errorf("GET k = %s", got)
	}
	if n := fills(t, cs[0]); n != 0 {
		t.Errorf("%d fills are left", n)
	}
}

func TestAFullServerCostsNobodyTheValue(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	full := func(context.Context) (int, error) {
		text(t, cs[0], "CONFIG", "SET", "maxmemory", "1")
		return 5, nil
	}
	v, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, full)
	if s := aside.StatsOf(cs[0]); v != 5 || err != nil || s.Unstored != 1 {
		t.Errorf("got %d, %v, %d unstored", v, err, s.Unstored)
	}
	if n := number(t, cs[0], "DBSIZE"); n != 0 {
		t.Errorf("%d keys are left: the release must work on a full server", n)
	}
	// Now not even the fill can be taken.
	v, err = aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, full)
	if s := aside.StatsOf(cs[0]); v != 5 || err != nil || s.Alone != 1 {
		t.Errorf("got %d, %v, %d alone", v, err, s.Alone)
	}
	if err := aside.Invalidate(t.Context(), cs[0], "k"); err != nil {
		t.Errorf("invalidate on a full server: %v", err)
	}
	if _, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, full, aside.Strict()); !command.IsCode(err, "OOM") {
		t.Errorf("strict: %v", err)
	}
	text(t, cs[0], "CONFIG", "SET", "maxmemory", "0")
	v, err = aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, full, aside.Strict())
	var e *aside.StoreError
	if v != 5 || !errors.As(err, &e) || !strings.Contains(e.Error(), "OOM") {
		t.Errorf("strict: got %d, %v", v, err)
	}
}

func TestAnErrorOfAComputeInsideAComputeStaysItsOwn(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	v, err := aside.GetOrCompute(t.Context(), cs[0], "outer", time.Minute, func(ctx context.Context) (int, error) {
		return aside.GetOrCompute(ctx, cs[0], "inner", time.Minute, func(context.Context) (int, error) {
			text(t, cs[0], "CONFIG", "SET", "maxmemory", "1")
			return 5, nil
		}, aside.Strict())
	})
	e, ok := err.(*aside.StoreError)
	if v != 0 || !ok || e.Key != "inner" {
		t.Errorf("got %d, %v; want the error of inner, as the compute returned it", v, err)
	}
}

func TestWrongArgumentsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		option string
		ttl    time.Duration
		opt    aside.Option
	}{
		{"ttl", 0, aside.Jitter(0)},
		{"ttl", -time.Second, aside.Jitter(0)},
		{"ttl", time.Microsecond, aside.Jitter(0)},
		{"lease", time.Second, aside.Lease(time.Millisecond)},
		{"jitter", time.Second, aside.Jitter(1)},
		{"jitter", time.Second, aside.Jitter(-0.1)},
		{"early", time.Second, aside.Early(-1)},
		{"stale, stale if error or negative", time.Second, aside.Stale(-1)},
		{"memory", time.Second, aside.Memory(-1)},
		{"tags", time.Second, aside.Tags(strings.Split("a b c d e f g h i j k l m n o p q", " ")...)},
		{"codec", time.Second, aside.WithCodec(nil)},
	} {
		_, err := aside.GetOrCompute(t.Context(), nil, "k", tt.ttl, func(context.Context) (int, error) { return 0, nil }, tt.opt)
		var e *aside.OptionError
		if !errors.As(err, &e) || e.Option != tt.option || e.Explain() == "" {
			t.Errorf("%s: got %v", tt.option, err)
		}
	}
}

func TestWhatIsNoValueOfTheTypeIsAnErrorAndStays(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	text(t, cs[0], "SET", "k", "not json")
	number(t, cs[0], "SADD", "set", "x")
	compute := func(context.Context) (user, error) { t.Error("computed over a foreign value"); return user{}, nil }
	var e *aside.CodecError
	if _, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, compute); !errors.As(err, &e) || e.Op != "decode" || e.Key != "k" {
		t.Errorf("got %v", err)
	}
	if _, err := aside.GetOrCompute(t.Context(), cs[0], "set", time.Minute, compute); !command.IsCode(err, "WRONGTYPE") {
		t.Errorf("got %v", err)
	}
	_, err := aside.GetOrCompute(t.Context(), cs[0], "chan", time.Minute, func(context.Context) (chan int, error) { return nil, nil })
	if !errors.As(err, &e) || e.Op != "encode" {
		t.Errorf("got %v", err)
	}
	if n := fills(t, cs[0]); n != 0 {
		t.Errorf("%d fills are left", n)
	}
}

// On a cluster node a script with keys of two slots is refused.
func TestKeysOfAnyFormWorkOnACluster(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1, "--cluster-enabled", "yes")
	text(t, cs[0], "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	eventually(t, "the cluster is up", func() bool { return strings.Contains(text(t, cs[0], "CLUSTER", "INFO"), "cluster_state:ok") })
	for _, key := range []string{"", "user:1", "{user}:1", "a{u}b{v}", "{}", "a{}b", "a{}{b}", "}", "a}b", "a}{b}", "{", "{{a}}", "\x00\xff}"} {
		v, err := aside.GetOrCompute(t.Context(), cs[0], key, time.Minute, func(context.Context) (string, error) { return "v" + key, nil })
		if want := strings.ToValidUTF8("v"+key, "\ufffd"); v != want || err != nil {
			t.Errorf("Fill(%q) = %q, %v", key, v, err)
		}
		if err := aside.Invalidate(t.Context(), cs[0], key); err != nil {
			t.Errorf("Invalidate(%q): %v", key, err)
		}
	}
}

// plain is a Doer and nothing more.
type plain struct{ command.Doer }

func TestADoerThatAttachesNothingStillSharesThroughTheServer(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	var runs atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			v, err := aside.GetOrCompute(t.Context(), plain{cs[0]}, "k", time.Minute, func(ctx context.Context) (int, error) {
				runs.Add(1)
				return 5, dstest.Sleep(ctx, 50*time.Millisecond)
			})
			if v != 5 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	wg.Wait()
	if n := runs.Load(); n != 1 {
		t.Errorf("computed %d times", n)
	}
	_, err := aside.GetOrCompute(t.Context(), plain{cs[0]}, "panics", time.Minute, dstest.Explode)
	var p *coalesce.PanicError
	if !errors.As(err, &p) {
		t.Errorf("got %v", err)
	}
}
