package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
)

// lineUp starts n callers who wait for the lease, one behind the other. Each
// tells what came of it.
func lineUp(t *testing.T, ctx context.Context, d command.Doer, name string, n int, then func(i int, l *lease.Lease, err error)) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	before, _ := lease.Line(d, name)
	for i := range n {
		wg.Go(func() {
			l, err := lease.Acquire(ctx, d, name)
			then(i, l, err)
		})
		dstest.Eventually(t, 10*time.Second, fmt.Sprintf("%d in line", before+i+1), func() bool {
			callers, _ := lease.Line(d, name)
			return callers == before+i+1
		})
	}
	return &wg
}

// TestCallersOfAClientAreServedInTheirOrderByOneAttemptEach: without a line each
// release would bring an attempt of each who waits.
func TestCallersOfAClientAreServedInTheirOrderByOneAttemptEach(t *testing.T) {
	t.Parallel()
	const callers = 50
	var attempts atomic.Int64
	c := &dstest.Lossy{Client: dstest.Start(t), Before: func(r command.Request) {
		if dstest.Runs(r, lease.AcquireScript()) {
			keys, _ := strconv.Atoi(r.Arg(1).Text())
			attempts.Add(int64(keys / 2))
		}
	}}
	held := acquire(t, c, "job")
	var order []int // guarded by the lease
	wg := lineUp(t, context.Background(), c, "job", callers, func(i int, l *lease.Lease, err error) {
		if err != nil {
			t.Errorf("caller %d: %v", i, err)
			return
		}
		order = append(order, i)
		release(t, l)
	})
	attempts.Store(0)
	release(t, held)
	wg.Wait()
	if len(order) != callers || !slices.IsSorted(order) {
		t.Errorf("served in the order %v", order)
	}
	// One when it has become the first, and one upon the release.
	if n := attempts.Load(); n > 3*callers {
		t.Errorf("%d attempts for %d grants", n, callers)
	}
	if n, _ := lease.Line(c, "job"); n != 0 {
		t.Errorf("%d are left in line", n)
	}
}

func TestALateComerDoesNotOvertakeTheLine(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	held := acquire(t, c, "job", lease.Owner("first"))
	var order []int
	then := func(i int, l *lease.Lease, err error) {
		if err != nil {
			t.Errorf("caller %d: %v", i, err)
			return
		}
		order = append(order, i)
		release(t, l)
	}
	wg := lineUp(t, context.Background(), c, "job", 3, then)
	release(t, held)
	l, err := lease.Acquire(t.Context(), c, "job")
	then(3, l, err)
	wg.Wait()
	if !slices.Equal(order, []int{0, 1, 2, 3}) {
		t.Errorf("served in the order %v", order)
	}
}

// TestWhoLeavesTheLineKnowsWhoHasTheLease: also when it has never asked by
// itself, and when the holder is another than when it did.
func TestWhoLeavesTheLineKnowsWhoHasTheLease(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	acquire(t, c, "job", lease.Owner("a"))
	errs := make([]error, 4)
	wait := func(ctx context.Context, i int) *sync.WaitGroup {
		return lineUp(t, ctx, c, "job", 1, func(_ int, _ *lease.Lease, err error) { errs[i] = err })
	}
	contexts, cancels := make([]context.Context, 4), make([]context.CancelFunc, 4)
	waits := make([]*sync.WaitGroup, 4)
	for i := range 4 {
		contexts[i], cancels[i] = context.WithCancel(t.Context())
		waits[i] = wait(contexts[i], i)
	}
	leave := func(i int, owner string) {
		t.Helper()
		cancels[i]()
		waits[i].Wait()
		var held *lease.HeldError
		if !errors.As(errs[i], &held) || !errors.Is(errs[i], context.Canceled) || held.Owner != owner {
			t.Errorf("caller %d got %v, want that %s has it", i, errs[i], owner)
		}
	}
	leave(2, "a") // from the middle, where it has never asked
	leave(0, "a") // the first: now it is the turn of 1
	taken, err := lease.TakeOver(t.Context(), c, "job", lease.Owner("b"))
	if err != nil {
		t.Fatal(err)
	}
	dstest.Eventually(t, 10*time.Second, "the first hears of b", func() bool {
		_, owner := lease.Line(c, "job")
		return owner == "b"
	})
	leave(3, "b")
	release(t, taken)
	waits[1].Wait()
	if errs[1] != nil {
		t.Errorf("who was left: %v", errs[1])
	}
	cancels[1]()
}

// TestWhatWasSeenBeforeACallerCameIsNotToldToIt: it may have had its end before.
func TestWhatWasSeenBeforeACallerCameIsNotToldToIt(t *testing.T) {
	t.Parallel()
	c := &dstest.Lossy{Client: dstest.Start(t)}
	acquire(t, c, "job", lease.Owner("a"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := lineUp(t, ctx, c, "job", 1, func(_ int, l *lease.Lease, err error) {
		if err == nil {
			release(t, l)
		}
	})
	dstest.Eventually(t, 10*time.Second, "the first sees a", func() bool {
		_, owner := lease.Line(c, "job")
		return owner == "a"
	})
	gate := make(chan struct{})
	c.Change(func() {
		c.Before = func(r command.Request) {
			if dstest.Runs(r, lease.AcquireScript()) {
				<-gate // the first learns of nothing more
			}
		}
	})
	taken, err := lease.TakeOver(t.Context(), c.Client, "job", lease.Owner("b"))
	if err != nil {
		t.Fatal(err)
	}
	late, leave := context.WithCancel(t.Context())
	second := lineUp(t, late, c, "job", 1, func(_ int, _ *lease.Lease, err error) {
		var held *lease.HeldError
		if !errors.As(err, &held) || held.Owner != "b" {
			t.Errorf("who came after the take-over got %v", err)
		}
	})
	leave()
	second.Wait()
	close(gate)
	release(t, taken)
	first.Wait()
}

func TestAFailureOfTheFirstLetsAllInLineAskForThemselves(t *testing.T) {
	t.Parallel()
	c := &dstest.Lossy{Client: dstest.Start(t)}
	held := acquire(t, c, "job")
	var failed atomic.Int64
	wg := lineUp(t, context.Background(), c, "job", 20, func(i int, l *lease.Lease, err error) {
		if err == nil {
			t.Errorf("caller %d has the lease", i)
			release(t, l)
			return
		}
		failed.Add(1)
	})
	c.Change(func() {
		c.Drop = func(r command.Request) bool { return dstest.Runs(r, lease.AcquireScript()) }
	})
	release(t, held)
	wg.Wait()
	if n := failed.Load(); n != 20 {
		t.Errorf("%d of 20 were told", n)
	}
	c.Change(func() { c.Drop = nil })
	release(t, acquire(t, c, "job"))
}

func TestTheLineDoesNotHideThatOneWouldWaitForOneself(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	held := acquire(t, c, "job")
	ctx, cancel := context.WithCancel(t.Context())
	wg := lineUp(t, ctx, c, "job", 1, func(int, *lease.Lease, error) {})
	if _, err := lease.Acquire(held.Context(), c, "job"); !errors.Is(err, lease.ErrReentrant) {
		t.Errorf("Acquire inside of the lease: %v", err)
	}
	cancel()
	wg.Wait()
	release(t, held)
}
