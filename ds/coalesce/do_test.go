package coalesce_test

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
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/internal/dstest"
)

type user struct {
	Name string
	Tags []string
}

func TestNullAndZeroAreValues(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	runs := 0
	for range 2 {
		p, err := run(t.Context(), cs[0], "p", func(context.Context) (*user, error) { runs++; return nil, nil })
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
			u, err := run(t.Context(), cs[0], "k", func(ctx context.Context) (user, error) {
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

func TestAFullServerGivesTheValueBesideTheError(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	v, err := run(t.Context(), cs[0], "k", func(context.Context) (int, error) {
		text(t, cs[0], "CONFIG", "SET", "maxmemory", "1")
		return 5, nil
	})
	var e *coalesce.StoreError
	if v != 5 || !errors.As(err, &e) || !e.Computed || !strings.Contains(e.Error(), "OOM") {
		t.Errorf("got %d, %v", v, err)
	}
	if n := number(t, cs[0], "DBSIZE"); n != 0 {
		t.Errorf("%d keys are left: the release must work on a full server", n)
	}
	if err := coalesce.Forget(t.Context(), cs[0], "k"); err != nil {
		t.Errorf("invalidate on a full server: %v", err)
	}
}

func TestAnErrorOfAComputeInsideAComputeStaysItsOwn(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	v, err := run(t.Context(), cs[0], "outer", func(ctx context.Context) (int, error) {
		return run(ctx, cs[0], "inner", func(context.Context) (int, error) {
			text(t, cs[0], "CONFIG", "SET", "maxmemory", "1")
			return 5, nil
		})
	})
	var e *coalesce.StoreError
	if v != 0 || !errors.As(err, &e) || e.Key != valueKey("inner") {
		t.Errorf("got %d, %v; want the error of inner, as the compute returned it", v, err)
	}
}

func TestWrongArgumentsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		option string
		opt    coalesce.Option
	}{
		{"lease", coalesce.Lease(time.Millisecond)},
		{"keep", coalesce.Keep(0)},
		{"codec", coalesce.WithCodec(nil)},
	} {
		_, err := coalesce.Do(t.Context(), nil, "k", func(context.Context) (int, error) { return 0, nil }, tt.opt)
		var e *coalesce.OptionError
		if !errors.As(err, &e) || e.Option != tt.option || e.Explain() == "" {
			t.Errorf("%s: got %v", tt.option, err)
		}
	}
}

func TestWhatIsNoValueOfTheTypeIsAnErrorAndStays(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	text(t, cs[0], "SET", valueKey("k"), "not json")
	number(t, cs[0], "SADD", valueKey("set"), "x")
	compute := func(context.Context) (user, error) { t.Error("computed over a foreign value"); return user{}, nil }
	var e *coalesce.CodecError
	if _, err := run(t.Context(), cs[0], "k", compute); !errors.As(err, &e) || e.Op != "decode" || e.Key != valueKey("k") {
		t.Errorf("got %v", err)
	}
	if _, err := run(t.Context(), cs[0], "set", compute); !command.IsCode(err, "WRONGTYPE") {
		t.Errorf("got %v", err)
	}
	_, err := run(t.Context(), cs[0], "chan", func(context.Context) (chan int, error) { return nil, nil })
	if !errors.As(err, &e) || e.Op != "encode" {
		t.Errorf("got %v", err)
	}
	if n := fills(t, cs[0]); n != 0 {
		t.Errorf("%d fills are left", n)
	}
}

// plain is a Doer and nothing more.
type plain struct{ command.Doer }

func TestADoerThatAttachesNothingStillSharesThroughTheServer(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	var g coalesce.Group
	defer g.Close()
	for _, opts := range [][]coalesce.Option{nil, {coalesce.In(&g)}} {
		var runs atomic.Int32
		key := fmt.Sprint("k", len(opts))
		for _, r := range callers(20, nil, func(ctx context.Context) (int, error) {
			return run(ctx, plain{cs[0]}, key, func(ctx context.Context) (int, error) {
				runs.Add(1)
				return 5, dstest.Sleep(ctx, 50*time.Millisecond)
			}, opts...)
		}) {
			if r.v != 5 || r.err != nil {
				t.Errorf("%+v", r)
			}
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("computed %d times", n)
		}
		_, err := run(t.Context(), plain{cs[0]}, "panics", dstest.Explode, opts...)
		var p *coalesce.PanicError
		if !errors.As(err, &p) {
			t.Errorf("got %v", err)
		}
	}
}

func TestDoSharesOneRunAndForgetStartsAnew(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 3)
	var runs atomic.Int32
	call := func(ctx context.Context, c command.Doer) (int32, error) {
		return coalesce.Do(ctx, c, "report", func(ctx context.Context) (int32, error) {
			n := runs.Add(1)
			return n, dstest.Sleep(ctx, 50*time.Millisecond)
		}, coalesce.Namespace("app"), coalesce.Keep(time.Minute))
	}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			if v, err := call(t.Context(), cs[i%3]); v != 1 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		})
	}
	wg.Wait()
	if ms := number(t, cs[0], "PTTL", "{app:coalesce:report}:value"); ms < 50_000 || ms > 60_000 {
		t.Errorf("the result lives %d ms", ms)
	}
	if err := coalesce.Forget(t.Context(), cs[2], "report", coalesce.Namespace("app")); err != nil {
		t.Fatal(err)
	}
	if v, err := call(t.Context(), cs[0]); v != 2 || err != nil {
		t.Errorf("after Forget: %d, %v", v, err)
	}
}
