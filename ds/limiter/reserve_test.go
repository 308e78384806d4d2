package limiter_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/servers"
)

// TestAReservationIsSettledForWhatItCameTo: reserve 4000, settle 1200.
func TestAReservationIsSettledForWhatItCameTo(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l := limiter.New(c, "10000/d", limiter.Using(algorithm))
		key := string(algorithm)
		r, err := l.Reserve(t.Context(), key, 4000)
		if err != nil {
			t.Fatal(err)
		}
		left(t, l, key, 6000)
		if info, err := limiter.Inspect(t.Context(), c, key); err != nil || info.Reserved != 4000 || info.Left != 6000 {
			t.Errorf("%s: Inspect = %+v, %v", key, info, err)
		}
		if d, err := l.AllowN(t.Context(), key, 6001); err != nil || d.Allowed || d.RetryAfter <= 0 || d.RetryAfter > time.Minute {
			t.Errorf("%s: more than is left beside a reservation: %+v, %v", key, d, err)
		}
		if err := r.Settle(t.Context(), 1200); err != nil {
			t.Fatal(err)
		}
		left(t, l, key, 8800)
		for _, end := range []error{r.Settle(t.Context(), 1200), r.Settle(t.Context(), 0)} {
			if !errors.Is(end, limiter.ErrNotReserved) {
				t.Errorf("%s: settled twice: %v", key, end)
			}
		}
		if err := r.Cancel(t.Context()); err != nil {
			t.Errorf("%s: Cancel after Settle: %v", key, err)
		}
		r.Forget() // the answer was lost, and the caller tries again
		if err := r.Settle(t.Context(), 1200); !errors.Is(err, limiter.ErrNotReserved) {
			t.Errorf("%s: settled twice on the server: %v", key, err)
		}
		left(t, l, key, 8800)
	}
}

func left(t *testing.T, l *limiter.Limiter, key string, want int) {
	t.Helper()
	if d, err := l.Peek(t.Context(), key); err != nil || d.Remaining < want || d.Remaining > want+5 {
		t.Errorf("%s: %d left (%v), want %d", key, d.Remaining, err, want)
	}
}

func TestACancelledReservationLeavesNothing(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), ended} {
		l := limiter.New(c, "10/d")
		r, err := l.Reserve(t.Context(), "k", 10)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reserve(t.Context(), "k", 1); !errors.Is(err, limiter.ErrLimited) {
			t.Errorf("Reserve beside all that there is: %v", err)
		}
		if err := r.Cancel(ctx); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			if d, err := l.Peek(t.Context(), "k"); err == nil && d.Remaining == 10 && d.ResetAfter == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatal("what was cancelled is still reserved")
			}
		}
		if n := raw(t, c, "EXISTS", "{redisx:limiter:k}:bucket:reserved"); n != "0" && ctx.Err() == nil {
			if raw(t, c, "HLEN", "{redisx:limiter:k}:bucket:reserved") != "2" { // kind and v
				t.Error("the reservation is still there")
			}
		}
	}
}

// TestWhatIsUsedBeyondTheReservationIsWaitedFor by those who come later.
func TestWhatIsUsedBeyondTheReservationIsWaitedFor(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l, key := limiter.New(c, "10/d", limiter.Using(algorithm)), string(algorithm)
		if d, err := l.AllowN(t.Context(), key, 6); err != nil || !d.Allowed {
			t.Fatal(err)
		}
		r, err := l.Reserve(t.Context(), key, 4)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Settle(t.Context(), 1_000_000_000); err != nil {
			t.Fatal(err)
		}
		d, err := l.Peek(t.Context(), key)
		if err != nil || d.Allowed || d.Remaining != 0 || d.ResetAfter <= 0 || d.ResetAfter > 48*time.Hour {
			t.Errorf("%s: after an overdraft: %+v, %v, want it denied, and full within two periods", key, d, err)
		}
	}
}

// TestAReservationOfTheDeadLapses: its calls count as used in full, and drain.
func TestAReservationOfTheDeadLapses(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l := limiter.New(c, "10/500ms", limiter.Using(algorithm), limiter.Lapse(200*time.Millisecond))
		key := string(algorithm)
		r, err := l.Reserve(t.Context(), key, 10)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for { // denied until it has lapsed, and then until it has drained
			d, err := l.Allow(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if d.Allowed {
				break
			}
			if time.Since(begun) > 5*time.Second {
				t.Fatalf("%s: still denied: %+v", key, d)
			}
			time.Sleep(min(d.RetryAfter, 50*time.Millisecond))
		}
		if took := time.Since(begun); took < 195*time.Millisecond {
			t.Errorf("%s: admitted after %v, though it was reserved for 200 ms", key, took)
		}
		if err := r.Settle(t.Context(), 1); !errors.Is(err, limiter.ErrNotReserved) {
			t.Errorf("%s: Settle after the lapse: %v", key, err)
		}
		if d, err := l.Peek(t.Context(), key); err != nil || d.Remaining > 9 {
			t.Errorf("%s: %+v, %v: the lapse has given more than there is", key, d, err)
		}
	}
}

// TestNothingOfReservationsStaysForEver: state and reservations have an end.
func TestNothingOfReservationsStaysForEver(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l := limiter.New(c, "10/50ms", limiter.Using(algorithm), limiter.Lapse(100*time.Millisecond))
		if _, err := l.Reserve(t.Context(), string(algorithm), 3); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(5 * time.Second); raw(t, c, "DBSIZE") != "0"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s keys are left", raw(t, c, "DBSIZE"))
		}
	}
}

// TestSettlingWorksOnAFullServer: who gives back must never be refused.
func TestSettlingWorksOnAFullServer(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, servers.Options{Args: []string{"--maxmemory-policy", "noeviction"}})
	for _, algorithm := range everyAlgorithm {
		l, key := limiter.New(c, "10/d", limiter.Using(algorithm)), string(algorithm)
		r, err := l.Reserve(t.Context(), key, 10)
		if err != nil {
			t.Fatal(err)
		}
		raw(t, c, "CONFIG", "SET", "maxmemory", "1")
		if err := r.Settle(t.Context(), 2); err != nil {
			t.Errorf("%s: Settle on a full server: %v", key, err)
		}
		raw(t, c, "CONFIG", "SET", "maxmemory", "0")
		left(t, l, key, 8)
	}
}

func TestImpossibleReservationsAreRefused(t *testing.T) {
	t.Parallel()
	var sent failing
	l := limiter.New(&sent, "10/s")
	for cost, want := range map[int]error{0: limiter.ErrCost, -1: limiter.ErrCost, 11: limiter.ErrNeverFits} {
		if _, err := l.Reserve(t.Context(), "k", cost); !errors.Is(err, want) {
			t.Errorf("Reserve(%d): %v, want %v", cost, err, want)
		}
		if err := l.WaitN(t.Context(), "k", cost); !errors.Is(err, want) {
			t.Errorf("WaitN(%d): %v, want %v", cost, err, want)
		}
	}
	if sent.n != 0 {
		t.Errorf("%d requests were sent", sent.n)
	}
}
