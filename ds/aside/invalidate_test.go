package aside_test

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
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/internal/servers"
)

const (
	oldValue = 1
	newValue = 2
)

// CA2: in each round a compute has read the old value when the source changes
// and the key is invalidated. From then on nobody may read the old value: not
// under the key, not from calls that begin then, in any process.
func TestAnInvalidatedComputeIsNeverReadable(t *testing.T) {
	t.Parallel()
	eachServer(t, invalidatedCompute)
}

func invalidatedCompute(t *testing.T, f servers.Flavor) {
	_, cs := setupOn(t, f, 3)
	const rounds = 1000
	overtaken := 0
	for round := range rounds {
		key := fmt.Sprint("k", round)
		var source atomic.Int32
		source.Store(oldValue)
		// In half of the rounds the compute ends after the invalidation, in
		// the others they race.
		forced := round%2 == 0
		read, finish := make(chan struct{}, 16), make(chan struct{})
		var runs atomic.Int32
		call := func(c command.Doer) (int32, error) {
			return aside.GetOrCompute(t.Context(), c, key, time.Minute, func(context.Context) (int32, error) {
				v := source.Load()
				if runs.Add(1) == 1 {
					read <- struct{}{}
					<-finish
				}
				return v, nil
			})
		}
		var wg sync.WaitGroup
		var before [3]int32
		for i := range before {
			wg.Go(func() { before[i], _ = call(cs[i]) })
		}
		<-read
		source.Store(newValue)
		if !forced {
			wg.Go(func() {
				time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
				close(finish)
			})
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		}
		if err := aside.Invalidate(t.Context(), cs[round%3], key); err != nil {
			t.Fatal(err)
		}
		// Whoever looks from now on sees no old value.
		for i := range cs {
			wg.Go(func() {
				if v, err := call(cs[i]); v != newValue || err != nil {
					t.Errorf("round %d: a call after the invalidation got %d, %v", round, v, err)
				}
			})
		}
		if forced {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			close(finish)
		}
		for range 5 {
			if got := text(t, cs[0], "GET", key); got == "1" {
				t.Errorf("round %d: the old value is readable", round)
			}
		}
		wg.Wait()
		if got := text(t, cs[0], "GET", key); got != "2" {
			t.Errorf("round %d: in the end the key holds %q", round, got)
		}
		for _, v := range before {
			if v != newValue {
				overtaken++
				break
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d/%d rounds without an old value; in %d the value was stored before the invalidation", rounds, rounds, overtaken)
}

// holdback is a client whose stores answer late: after they have run, it tells
// and waits.
type holdback struct {
	*redisx.Client
	stored chan struct{}
	answer chan struct{}
	once   sync.Once
}

func (h *holdback) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	reply, err := h.Client.Do(ctx, r)
	// The store is the only script with three keys and eight arguments.
	if strings.HasPrefix(r.Name(), "EVAL") && err == nil && r.Len() == 2+3+8 {
		h.once.Do(func() {
			close(h.stored)
			<-h.answer
		})
	}
	return reply, err
}

// The other half of CA2: the old value was stored and invalidated, and its
// flight is still about to land when a caller joins it.
func TestACallerTakesNoResultThatIsOlderThanItsCall(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	h := &holdback{Client: cs[0], stored: make(chan struct{}), answer: make(chan struct{})}
	var source atomic.Int32
	source.Store(oldValue)
	call := func() (int32, error) {
		return aside.GetOrCompute(t.Context(), h, "k", time.Minute, func(context.Context) (int32, error) { return source.Load(), nil })
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if v, err := call(); v != oldValue || err != nil {
			t.Errorf("the caller before the invalidation got %d, %v", v, err)
		}
	})
	<-h.stored
	source.Store(newValue)
	// From another process: this one's Group does not hear of it.
	if err := aside.Invalidate(t.Context(), cs[1], "k"); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		if v, err := call(); v != newValue || err != nil {
			t.Errorf("the caller after the invalidation got %d, %v", v, err)
		}
	})
	// Let it miss and join. Were it too slow for that, it could not fail.
	time.Sleep(100 * time.Millisecond)
	close(h.answer)
	wg.Wait()
}

func TestComputesThatAreAlwaysOvertakenEndInAnError(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	runs := 0
	_, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, func(ctx context.Context) (int, error) {
		runs++
		return 1, aside.Invalidate(ctx, cs[1], "k")
	})
	var e *aside.InvalidatedError
	if !errors.As(err, &e) || !errors.Is(err, aside.ErrInvalidated) || e.Tries != 8 || runs != 8 {
		t.Errorf("got %v after %d computes, want an InvalidatedError after 8", err, runs)
	}
	if n := number(t, cs[0], "DBSIZE"); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

func TestTheComputeHearsOfItsInvalidationAtTheNextRenewal(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	const lease = 600 * time.Millisecond
	var first atomic.Bool
	var cause error
	var heard time.Duration
	v, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, func(ctx context.Context) (int, error) {
		if !first.CompareAndSwap(false, true) {
			return newValue, nil
		}
		if err := aside.Invalidate(ctx, cs[1], "k"); err != nil {
			return 0, err
		}
		began := time.Now()
		<-ctx.Done()
		heard, cause = time.Since(began), context.Cause(ctx)
		return oldValue, nil
	}, aside.Lease(lease))
	if v != newValue || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	var lost *aside.LostError
	if !errors.As(cause, &lost) || lost.Reason != "gone" || heard > lease/2 {
		t.Errorf("the compute's context ended after %v by %v", heard, cause)
	}
}

// A frozen server is like a network that is gone: the fill can lapse unseen.
func TestAComputeThatCannotRenewIsNotStored(t *testing.T) {
	t.Parallel()
	s, cs := setup(t, 1)
	const lease = 400 * time.Millisecond
	var runs atomic.Int32
	var cause error
	v, err := aside.GetOrCompute(t.Context(), cs[0], "k", time.Minute, func(ctx context.Context) (int, error) {
		if runs.Add(1) > 1 {
			return newValue, nil
		}
		if err := s.Pause(); err != nil {
			return 0, err
		}
		began := time.Now()
		<-ctx.Done()
		cause = context.Cause(ctx)
		if d := time.Since(began); d > lease {
			t.Errorf("the compute heard of it after %v, when the server may have let others in", d)
		}
		return oldValue, s.Resume()
	}, aside.Lease(lease))
	if v != newValue || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	var lost *aside.LostError
	if !errors.As(cause, &lost) || lost.Reason != "expired" {
		t.Errorf("the compute's context ended by %v", cause)
	}
	if got := text(t, cs[0], "GET", "k"); got != "2" {
		t.Errorf("the key holds %q", got)
	}
}

// XX2.
//
// It is not parallel: the tests beside it would be what makes its calls late.
func TestCallsThatAreCancelledAtRandomReturnAtOnceAndLeaveNothing(t *testing.T) {
	eachServer(t, cancelledCalls)
}

func cancelledCalls(t *testing.T, f servers.Flavor) {
	_, cs := setupOn(t, f, 2)
	const workers, calls = 20, 250
	opts := [][]aside.Option{nil, {aside.Memory(1 << 20), aside.Tags("t"), aside.Stale(10 * time.Millisecond), aside.Lease(200 * time.Millisecond)}}
	var late, served, slowest, stalls atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { // sees how late the machine is by itself
			for range calls {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(4000))*time.Microsecond)
				deadline, _ := ctx.Deadline()
				<-ctx.Done()
				if time.Since(deadline) > 20*time.Millisecond {
					stalls.Add(1)
				}
				cancel()
			}
		})
		wg.Go(func() {
			for range calls {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(4000))*time.Microsecond)
				deadline, _ := ctx.Deadline()
				key := fmt.Sprint("k", w%4/2, rand.IntN(4))
				_, err := aside.GetOrCompute(ctx, cs[w%2], key, 5*time.Millisecond, func(ctx context.Context) (int, error) {
					return 1, sleep(ctx, time.Millisecond)
				}, opts[w%4/2]...)
				over := time.Since(deadline)
				cancel()
				switch {
				case err == nil:
					served.Add(1)
				case !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("got %v", err)
				}
				if over > 20*time.Millisecond {
					late.Add(1)
				}
				for old := slowest.Load(); int64(over) > old && !slowest.CompareAndSwap(old, int64(over)); old = slowest.Load() {
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d calls, %d served, slowest return %v after its deadline; %d late, and %d of as many that only waited for their deadline",
		workers*calls, served.Load(), time.Duration(slowest.Load()), late.Load(), stalls.Load())
	if served.Load() == 0 {
		t.Error("nobody was served")
	}
	// The machine may stall some; a call that waits for something is no stall.
	if n := late.Load(); n > workers*calls/100+3*stalls.Load() {
		t.Errorf("%d calls returned more than 20ms late", n)
	}
	// Closing waits for the flights, and then the server holds nothing.
	cs[1].Close()
	eventually(t, "the fills and values are gone", func() bool { return number(t, cs[0], "DBSIZE") == 0 })
}
