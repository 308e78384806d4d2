package aside_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
)

// XX2.
//
// It is not parallel: the tests beside it would be what makes its calls late.
func TestCallsThatAreCancelledAtRandomReturnAtOnceAndLeaveNothing(t *testing.T) {
	dstest.Servers(t, cancelledCalls)
}

func cancelledCalls(t *testing.T, f servers.Flavor) {
	_, cs := setupOn(t, f, 2)
	opts := [][]aside.Option{nil, {aside.Memory(1 << 20), aside.Tags("t"), aside.Stale(10 * time.Millisecond), aside.Lease(200 * time.Millisecond)}}
	var served atomic.Int64
	dstest.Cancelled(t, 20, dstest.Rounds(250, 5_000), func(ctx context.Context, w int) {
		key := fmt.Sprint("k", w%4/2, rand.IntN(4))
		_, err := aside.GetOrCompute(ctx, cs[w%2], key, 5*time.Millisecond, func(ctx context.Context) (int, error) {
			return 1, dstest.Sleep(ctx, time.Millisecond)
		}, opts[w%4/2]...)
		switch {
		case err == nil:
			served.Add(1)
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("got %v", err)
		}
	})
	if served.Load() == 0 {
		t.Error("nobody was served")
	}
	// Closing waits for the flights, and then the server holds nothing.
	if err := cs[1].Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the fills and values are gone", func() bool { return number(t, cs[0], "DBSIZE") == 0 })
}

// A server that is frozen says nothing at all, and so does one whose network has
// gone.
func TestCallsEndWithTheirContextsWhenTheServerIsFrozen(t *testing.T) {
	t.Parallel()
	s, cs := setup(t, 1)
	get(t, aside.New(cs[0], time.Minute, func(context.Context, string) (int, error) { return 1, nil }), "k")
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	for i, opts := range [][]aside.Option{nil, {aside.Tags("t")}, {aside.Memory(1 << 20)}, {aside.Strict()}} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := aside.GetOrCompute(ctx, cs[0], "k", time.Minute, func(context.Context) (int, error) { return 2, nil }, opts...)
		if deadline, _ := ctx.Deadline(); !errors.Is(err, context.DeadlineExceeded) || time.Since(deadline) > 2*time.Second {
			t.Errorf("options %d: %v, %v after the deadline", i, err, time.Since(deadline))
		}
		cancel()
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
}
