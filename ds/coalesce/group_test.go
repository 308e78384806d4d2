package coalesce_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/internal/dstest"
)

var errGone = errors.New("the caller went home")

// result is what one call returned, and when.
type result struct {
	v   int
	err error
	at  time.Duration
}

// callers runs n calls at once and returns what they got. ctxOf may be nil.
func callers(n int, ctxOf func(i int) context.Context, call func(ctx context.Context) (int, error)) []result {
	out := make([]result, n)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			ctx := context.Background()
			if ctxOf != nil {
				ctx = ctxOf(i)
			}
			v, err := call(ctx)
			out[i] = result{v, err, time.Since(began)}
		})
	}
	wg.Wait()
	return out
}

// CO1.
func TestFirstCallerLeavesAndTheOthersGetTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		var runs atomic.Int32
		compute := func(ctx context.Context) (int, error) {
			runs.Add(1)
			return 7, dstest.Sleep(ctx, 100*time.Millisecond)
		}
		first, leave := context.WithCancelCause(t.Context())
		var v int
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { v, err = coalesce.Local(first, &g, "k", compute) })
		synctest.Wait() // the first is in
		time.AfterFunc(10*time.Millisecond, func() { leave(errGone) })
		others := callers(99, nil, func(ctx context.Context) (int, error) { return coalesce.Local(ctx, &g, "k", compute) })
		wg.Wait()
		if !errors.Is(err, errGone) || v != 0 {
			t.Errorf("the first got %d, %v, want its own cause", v, err)
		}
		for i, r := range others {
			if r.v != 7 || r.err != nil || r.at != 100*time.Millisecond {
				t.Fatalf("caller %d got %+v, want 7 after 100ms", i, r)
			}
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("computed %d times", n)
		}
	})
}

func TestACancelledCallerReturnsAtOnceFromAComputeThatDoesNotMind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := coalesce.Local(ctx, &g, "k", func(context.Context) (int, error) {
			time.Sleep(time.Hour)
			return 0, nil
		})
		if d := time.Since(began); d != 10*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("returned %v after %v", err, d)
		}
		g.Close()
		if d := time.Since(began); d != time.Hour {
			t.Errorf("Close returned after %v, before the compute had", d)
		}
	})
}

// CO2.
func TestTheComputeEndsWithItsLastCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		var ended time.Duration
		var cause error
		began := time.Now()
		out := callers(100, func(i int) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Millisecond)
			context.AfterFunc(ctx, cancel)
			return ctx
		}, func(ctx context.Context) (int, error) {
			return coalesce.Local(ctx, &g, "k", func(ctx context.Context) (int, error) {
				<-ctx.Done()
				ended, cause = time.Since(began), context.Cause(ctx)
				time.Sleep(time.Second) // winding down
				return 0, nil
			})
		})
		for i, r := range out {
			if !errors.Is(r.err, context.DeadlineExceeded) || r.at != time.Duration(i+1)*time.Millisecond {
				t.Fatalf("caller %d got %+v", i, r)
			}
		}
		synctest.Wait()
		if ended != 100*time.Millisecond || cause != coalesce.ErrAbandoned {
			t.Errorf("the compute's context ended after %v by %v, want at the last caller's 100ms, abandoned", ended, cause)
		}
		// The old compute is still winding down: nobody may join it.
		v, err := coalesce.Local(t.Context(), &g, "k", func(context.Context) (int, error) { return 8, nil })
		if v != 8 || err != nil {
			t.Errorf("the next call got %d, %v, want a compute of its own", v, err)
		}
		g.Close()
	})
}

func explode() (int, error) { panic(errGone) }

// CO3.
func TestAPanicBecomesEveryCallersErrorWithItsStack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fn    func() (int, error)
		value any
		stack string
		is    error
	}{
		{"panic", explode, errGone, "coalesce_test.explode", errGone},
		{"Goexit", func() (int, error) { runtime.Goexit(); return 1, nil }, nil, "runtime.Goexit", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g coalesce.Group
				out := callers(100, nil, func(ctx context.Context) (int, error) {
					return coalesce.Local(ctx, &g, "k", func(ctx context.Context) (int, error) {
						if err := dstest.Sleep(ctx, time.Millisecond); err != nil {
							return 0, err
						}
						return tt.fn()
					})
				})
				for i, r := range out {
					var p *coalesce.PanicError
					if !errors.As(r.err, &p) || p.Value != tt.value || !strings.Contains(string(p.Stack), tt.stack) || r.v != 0 {
						t.Fatalf("caller %d got %d, %v; want a PanicError of %v with %s in its stack", i, r.v, r.err, tt.value, tt.stack)
					}
					if tt.is != nil && !errors.Is(r.err, tt.is) {
						t.Fatalf("%v is not what was thrown", r.err)
					}
				}
				v, err := coalesce.Local(t.Context(), &g, "k", func(context.Context) (int, error) { return 9, nil })
				if v != 9 || err != nil {
					t.Errorf("the next call got %d, %v", v, err)
				}
			})
		})
	}
}

func TestAnErrorGoesToItsOwnFlightOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		var runs atomic.Int32
		call := func(ctx context.Context) (int, error) {
			return coalesce.Local(ctx, &g, "k", func(ctx context.Context) (int, error) {
				if err := dstest.Sleep(ctx, time.Millisecond); err != nil {
					return 0, err
				}
				return 0, fmt.Errorf("run %d", runs.Add(1))
			})
		}
		for want := range 3 {
			for _, r := range callers(10, nil, call) {
				if r.err == nil || r.err.Error() != fmt.Sprintf("run %d", want+1) {
					t.Fatalf("got %v, want the error of run %d as it is", r.err, want+1)
				}
			}
		}
	})
}

func TestForgetKeepsLaterCallersFromJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		var runs atomic.Int32
		call := func(ctx context.Context) (int, error) {
			return coalesce.Local(ctx, &g, "k", func(ctx context.Context) (int, error) {
				n := int(runs.Add(1))
				return n, dstest.Sleep(ctx, 10*time.Millisecond)
			})
		}
		var before, after []result
		var wg sync.WaitGroup
		wg.Go(func() { before = callers(10, nil, call) })
		synctest.Wait()
		g.Forget("k")
		g.Forget("another")
		wg.Go(func() { after = callers(10, nil, call) })
		wg.Wait()
		for i := range before {
			if before[i].v != 1 || after[i].v != 2 {
				t.Fatalf("before Forget %d, after it %d, want 1 and 2", before[i].v, after[i].v)
			}
		}
		// The end of the forgotten flight must not take the newer one out.
		if n := runs.Load(); n != 2 {
			t.Errorf("%d runs", n)
		}
	})
}

func TestTheEndOfAForgottenFlightLeavesTheNewerOneJoinable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		var runs atomic.Int32
		call := func(ctx context.Context) (int, error) {
			return coalesce.Local(ctx, &g, "k", func(ctx context.Context) (int, error) {
				n := int(runs.Add(1))
				return n, dstest.Sleep(ctx, time.Duration(n)*10*time.Millisecond)
			})
		}
		var wg sync.WaitGroup
		wg.Go(func() { call(t.Context()) })
		synctest.Wait()
		g.Forget("k")
		wg.Go(func() { call(t.Context()) })
		time.Sleep(15 * time.Millisecond) // run 1 has ended
		if v, err := call(t.Context()); v != 2 || err != nil {
			t.Errorf("got %d, %v, want to join run 2", v, err)
		}
		wg.Wait()
	})
}

func TestAFullGroupRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := coalesce.Group{Limit: 3}
		ctx, cancel := context.WithCancel(t.Context())
		stubborn := func(context.Context) (int, error) { time.Sleep(time.Minute); return 0, nil }
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { coalesce.Local(ctx, &g, fmt.Sprint("k", i/2), stubborn) })
		}
		synctest.Wait()
		var full *coalesce.OverloadError
		if _, err := coalesce.Local(t.Context(), &g, "k0", stubborn); !errors.As(err, &full) || full.Limit != 3 {
			t.Errorf("a fourth caller got %v", err)
		}
		cancel()
		wg.Wait()
		// Two computes run on, without callers: there is room for one more.
		ctx, cancel = context.WithCancel(t.Context())
		wg.Go(func() { coalesce.Local(ctx, &g, "k2", stubborn) })
		synctest.Wait()
		if _, err := coalesce.Local(t.Context(), &g, "k3", stubborn); !errors.As(err, &full) {
			t.Errorf("a fourth compute got %v", err)
		}
		cancel()
		wg.Wait()
		g.Close()
	})
}

func TestCloseEndsComputesAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		var cause error
		var returned atomic.Bool
		var err error
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err = coalesce.Local(t.Context(), &g, "k", func(ctx context.Context) (int, error) {
				<-ctx.Done()
				cause = context.Cause(ctx)
				time.Sleep(time.Second)
				returned.Store(true)
				return 0, ctx.Err()
			})
		})
		synctest.Wait()
		g.Close()
		if !returned.Load() {
			t.Error("Close did not wait for the compute")
		}
		wg.Wait()
		if cause != coalesce.ErrClosed || !errors.Is(err, coalesce.ErrClosed) {
			t.Errorf("the context's cause is %v, the caller's error %v", cause, err)
		}
		g.Close()
		if _, err := coalesce.Local(t.Context(), &g, "k", func(context.Context) (int, error) { return 1, nil }); !errors.Is(err, coalesce.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestOtherTypesDoNotJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, r := range callers(5, nil, func(ctx context.Context) (int, error) {
				return coalesce.Local(ctx, &g, "k", func(ctx context.Context) (int, error) { return 1, dstest.Sleep(ctx, time.Second) })
			}) {
				if r.v != 1 || r.err != nil {
					t.Errorf("int: %+v", r)
				}
			}
		})
		var runs atomic.Int32
		for range 5 {
			wg.Go(func() {
				v, err := coalesce.Local(t.Context(), &g, "k", func(ctx context.Context) (string, error) {
					runs.Add(1)
					return "one", dstest.Sleep(ctx, time.Second)
				})
				if v != "one" || err != nil {
					t.Errorf("string: %q, %v", v, err)
				}
			})
		}
		wg.Wait()
		if n := runs.Load(); n != 1 {
			t.Errorf("the strings were computed %d times", n)
		}
	})
}

type ctxKey struct{}

func TestTheComputeHasTheFirstCallersValuesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), ctxKey{}, "trace"), time.Minute)
		defer cancel()
		v, err := coalesce.Local(ctx, &g, "k", func(ctx context.Context) (any, error) {
			if _, ok := ctx.Deadline(); ok {
				t.Error("the compute has its caller's deadline")
			}
			if ctx.Value(ctxKey{}) != "trace" {
				t.Error("the compute lacks its caller's values")
			}
			return nil, nil
		})
		if v != nil || err != nil {
			t.Errorf("a nil of an interface type came back as %v, %v", v, err)
		}
		cancel()
		_, err = coalesce.Local(ctx, &g, "k", func(context.Context) (any, error) {
			t.Error("computed for a caller that had left before")
			return nil, nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestAComputeThatAsksForItsOwnKeyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		ask := func(ctx context.Context, key string, fn func(ctx context.Context) (int, error)) (int, error) {
			return coalesce.Local(ctx, &g, key, fn)
		}
		one := func(context.Context) (int, error) { return 1, nil }
		v, err := ask(t.Context(), "a", func(ctx context.Context) (int, error) {
			return ask(ctx, "b", func(ctx context.Context) (int, error) {
				if _, err := ask(ctx, "a", one); !errors.Is(err, coalesce.ErrReentrant) {
					t.Errorf("two levels down: %v", err)
				}
				g.Forget("b")
				if _, err := ask(ctx, "b", one); !errors.Is(err, coalesce.ErrReentrant) {
					t.Errorf("after Forget: %v", err)
				}
				var other coalesce.Group
				if v, err := coalesce.Local(ctx, &other, "a", one); v != 1 || err != nil {
					t.Errorf("of another Group: %d, %v", v, err)
				}
				return ask(ctx, "c", one)
			})
		})
		if v != 1 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
	})
}

// XX2, the part in the process.
func TestCallersThatLeaveAtRandomReturnAtOnceAndLeakNothing(t *testing.T) {
	const rounds, width = 200, 100
	synctest.Test(t, func(t *testing.T) {
		var g coalesce.Group
		late, served := 0, 0
		for range rounds {
			stays := make([]time.Duration, width)
			for i := range stays {
				stays[i] = time.Duration(rand.IntN(20)) * time.Millisecond
			}
			key := fmt.Sprint(rand.IntN(3))
			out := callers(width, func(i int) context.Context {
				ctx, cancel := context.WithTimeout(t.Context(), stays[i])
				context.AfterFunc(ctx, cancel)
				return ctx
			}, func(ctx context.Context) (int, error) {
				return coalesce.Local(ctx, &g, key, func(ctx context.Context) (int, error) {
					return 1, dstest.Sleep(ctx, 10*time.Millisecond)
				})
			})
			for i, r := range out {
				if r.at > stays[i] {
					late++
				}
				if r.err == nil {
					served++
				}
			}
		}
		g.Close()
		t.Logf("%d calls, %d served, %d late", rounds*width, served, late)
		if late > 0 || served == 0 {
			t.Errorf("%d of %d calls returned after their context had ended; %d served", late, rounds*width, served)
		}
	})
}
