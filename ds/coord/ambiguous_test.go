package coord_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/faultproxy"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// A latch has no second try of its own: the error says that the call may have
// run, and the caller repeats it.
func TestALostAnswerOfALatchMayBeAskedForAgain(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		lost := map[*command.Script]bool{}
		c := &dstest.Lossy{Client: dstest.Start(t, f), Lose: func(r command.Request) bool {
			for _, s := range []*command.Script{coord.LatchCreate, coord.LatchDone} {
				if dstest.Runs(r, s) && !lost[s] {
					lost[s] = true
					return true
				}
			}
			return false
		}}
		l := coord.NewLatch(c, "lossy")
		err := l.Create(t.Context(), 2)
		mayHaveRun(t, "Create", err)
		if err := l.Create(t.Context(), 2); err != nil {
			t.Errorf("Create again: %v", err)
		}
		_, err = l.Done(t.Context(), "a")
		mayHaveRun(t, "Done", err)
		for _, again := range []struct {
			member string
			left   int
		}{{"a", 1}, {"b", 0}} {
			if left, err := l.Done(t.Context(), again.member); err != nil || left != again.left {
				t.Errorf("Done of %s: %d left, %v, want %d", again.member, left, err, again.left)
			}
		}
		if i, err := l.Info(t.Context()); err != nil || !i.Open || i.Done != 2 {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

func mayHaveRun(t *testing.T, what string, err error) {
	t.Helper()
	var e *command.Error
	if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &e) || e.Outcome != command.Maybe || command.SafeToRetry(err) {
		t.Errorf("%s with a lost answer: %v, want it to say that it may have run", what, err)
	}
}

// An arrival whose answers are all lost is taken back: the party is told, and
// counts neither in this generation nor for the others.
func TestAnArrivalThatIsNeverAnsweredIsTakenBack(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		deaf := &dstest.Lossy{Client: c, Lose: func(r command.Request) bool { return dstest.Runs(r, coord.BarrierArrive) }}
		_, err := coord.NewBarrier(deaf, "deaf", 2, coord.Name("a")).Await(t.Context())
		mayHaveRun(t, "Await", err)
		dstest.Eventually(t, soon, "the arrival is taken back", func() bool {
			i, err := coord.InspectBarrier(t.Context(), c, "deaf")
			return err == nil && i.Generation == 2 && len(i.Arrived) == 0
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if g, err := coord.NewBarrier(c, "deaf", 2, coord.Name("b")).Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the other alone: %d, %v, want it to wait", g, err)
		}
	})
}

// Connections break while arrivals are on their way, and the parties stay in
// step all the same.
func TestPartiesStayInStepOverCutConnections(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		p, err := faultproxy.Start(s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		// A client that is cut again soon dials later and later: not too many.
		var cuts atomic.Int64
		most := int64(dstest.Rounds(5, 12))
		cut := func(r command.Request) {
			if dstest.Runs(r, coord.BarrierArrive) && rand.IntN(10) == 0 && cuts.Add(1) <= most {
				// Before, while or after the server runs it.
				time.AfterFunc(rand.N(500*time.Microsecond), func() { p.Apply(faultproxy.Fault{Kind: faultproxy.Cut}) })
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		last := int64(dstest.Rounds(100, 1000))
		var passed [2][]int64
		var errs [2]map[string]int
		var parties sync.WaitGroup
		// Both connect before the first cut.
		clients := [len(passed)]*redisx.Client{dstest.ConnectTo(t, "redis://"+p.Addr), dstest.ConnectTo(t, "redis://"+p.Addr)}
		for i := range passed {
			c := &dstest.Lossy{Client: clients[i], Before: cut}
			b := coord.NewBarrier(c, "cut", len(passed), coord.Name(fmt.Sprint(i)), coord.TTL(20*time.Second))
			parties.Go(func() { passed[i], errs[i] = passing(ctx, b, last) })
		}
		parties.Wait()
		t.Logf("%d generations passed, %d cuts, errors %v and %v", len(passed[0]), min(cuts.Load(), most), errs[0], errs[1])
		if !slices.Equal(passed[0], passed[1]) || len(passed[0]) == 0 || passed[0][len(passed[0])-1] < last {
			t.Errorf("the parties passed\n%v and\n%v", passed[0], passed[1])
		}
		if cuts.Load() == 0 {
			t.Error("nothing was cut")
		}
	})
}

// passing passes generations up to the last, over all errors, and returns which,
// and how often each kind of error came.
func passing(ctx context.Context, b *coord.Barrier, last int64) (passed []int64, errs map[string]int) {
	errs = map[string]int{}
	for ctx.Err() == nil {
		g, err := b.Await(ctx)
		switch {
		case err == nil:
			passed = append(passed, g)
			if g >= last {
				return passed, errs
			}
		case errors.Is(err, coord.ErrGenerationGone):
			errs["broken"]++
		case script.MayHaveRun(err):
			errs["unsure"]++
		default:
			errs["not run"]++
		}
	}
	return passed, errs
}
