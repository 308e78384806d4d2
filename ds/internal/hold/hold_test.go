package hold

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ttl = 10 * time.Second

var errDown = errors.New("down")

func reasonOf(err error) Reason {
	var e *LostError
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// endsAt waits for the end of h and reports when it came, counted from start.
func endsAt(h *Hold, start time.Time) time.Duration {
	<-h.Context().Done()
	return time.Since(start)
}

func TestWithoutRenewalTheWindowClosesAMarginBeforeTheServer(t *testing.T) {
	for _, d := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, time.Second, ttl, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			h := Start(t.Context(), start, Options{TTL: d})
			defer h.Stop()
			if got, want := endsAt(h, start), d-Margin(d); got != want {
				t.Errorf("a TTL of %v ended after %v, want %v", d, got, want)
			}
			if r := reasonOf(h.Err()); r != Expired {
				t.Errorf("reason is %q, want %q", r, Expired)
			}
			if r := h.Remaining(); r != 0 {
				t.Errorf("Remaining is %v after the end, want 0", r)
			}
		})
	}
}

func TestTheWindowStartsBeforeTheRequestLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := time.Now()
		time.Sleep(3 * time.Second) // the request took that long
		h := Start(t.Context(), sent, Options{TTL: ttl})
		defer h.Stop()
		if got, want := h.Remaining(), ttl-Margin(ttl)-3*time.Second; got != want {
			t.Errorf("Remaining is %v, want %v", got, want)
		}
		if got, want := endsAt(h, sent), ttl-Margin(ttl); got != want {
			t.Errorf("ended %v after the request left, want %v", got, want)
		}
	})
}

func TestAGrantThatCameTooLateIsLostFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := time.Now()
		time.Sleep(ttl)
		h := Start(t.Context(), sent, Options{TTL: ttl, Renew: func(context.Context) error { return nil }})
		defer h.Stop()
		if h.Context().Err() == nil || reasonOf(h.Err()) != Expired {
			t.Errorf("Err is %v, want expired", h.Err())
		}
	})
}

func TestRenewalsKeepItForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		h := Start(t.Context(), time.Now(), Options{TTL: ttl, Renew: func(context.Context) error { n.Add(1); return nil }})
		time.Sleep(1000 * ttl)
		if err := h.Err(); err != nil {
			t.Errorf("lost: %v", err)
		}
		if got := n.Load(); got < 2700 || got > 3350 {
			t.Errorf("%d renewals in 1000 TTLs, want about 3000", got)
		}
		h.Stop()
		if r := reasonOf(context.Cause(h.Context())); r != Released {
			t.Errorf("reason is %q, want %q", r, Released)
		}
	})
}

func TestARenewalCountsFromWhenItLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last time.Time
		var n int
		h := Start(t.Context(), time.Now(), Options{TTL: ttl, Renew: func(ctx context.Context) error {
			if n++; n > 1 {
				return errDown
			}
			last = time.Now()
			time.Sleep(2 * time.Second) // a slow answer
			return nil
		}})
		defer h.Stop()
		<-h.Context().Done()
		if got, want := time.Since(last), ttl-Margin(ttl); got != want {
			t.Errorf("ended %v after the renewal left, want %v", got, want)
		}
		if !errors.Is(h.Err(), errDown) {
			t.Errorf("the cause %v does not hold the last error", h.Err())
		}
	})
}

func TestATransientErrorIsTriedAgainUntilTheWindowCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var n int
		h := Start(t.Context(), start, Options{TTL: ttl, Renew: func(context.Context) error { n++; return errDown }})
		defer h.Stop()
		if got, want := endsAt(h, start), ttl-Margin(ttl); got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
		if n < 5 || n > 14 {
			t.Errorf("%d attempts, want 5 to 14", n)
		}
	})
}

func TestATransientErrorThatEndsIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		h := Start(t.Context(), start, Options{TTL: ttl, Renew: func(context.Context) error {
			if time.Since(start) < 8*time.Second {
				return errDown
			}
			return nil
		}})
		defer h.Stop()
		time.Sleep(100 * ttl)
		if err := h.Err(); err != nil {
			t.Errorf("lost: %v", err)
		}
	})
}

func TestGoneIsLostAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		h := Start(t.Context(), start, Options{TTL: ttl, Renew: func(context.Context) error {
			return errors.Join(errors.New("not ours"), ErrGone)
		}})
		defer h.Stop()
		if got := endsAt(h, start); got > ttl*4/10 {
			t.Errorf("ended after %v, want it at the first renewal", got)
		}
		if r := reasonOf(h.Err()); r != Gone {
			t.Errorf("reason is %q, want %q", r, Gone)
		}
	})
}

func TestARenewalThatHangsDoesNotDelayTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		hung := make(chan struct{})
		h := Start(t.Context(), start, Options{TTL: ttl, Renew: func(context.Context) error {
			<-hung // obeys no context
			return nil
		}})
		if got, want := endsAt(h, start), ttl-Margin(ttl); got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
		close(hung)
		h.Stop()
		if r := reasonOf(h.Err()); r != Expired {
			t.Errorf("reason is %q, want %q: a late success must not bring it back", r, Expired)
		}
	})
}

// TestALateSuccessDoesNotReopenTheWindow has no timer that ended the hold: the
// process was stopped while the answer was on its way.
func TestALateSuccessDoesNotReopenTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := Start(t.Context(), time.Now(), Options{TTL: ttl, Renew: func(context.Context) error {
			time.Sleep(ttl - ttl/5)
			return nil
		}})
		defer h.Stop()
		h.expiry.Stop()
		// The answer came at 1.13 TTL, for a request of 0.33 TTL.
		time.Sleep(ttl * 118 / 100)
		if r := reasonOf(h.Err()); r != Expired {
			t.Errorf("Err is %v, want expired", h.Err())
		}
	})
}

func TestLoseEndsItAsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := Start(t.Context(), time.Now(), Options{TTL: ttl})
		h.Lose(Gone, errDown)
		if r := reasonOf(h.Err()); r != Gone || !errors.Is(h.Err(), errDown) || h.Context().Err() == nil {
			t.Errorf("Err is %v, want gone with the error", h.Err())
		}
		h.Lose(Gone, nil)
		h.Stop()
		if !errors.Is(h.Err(), errDown) {
			t.Errorf("a second end replaced the first: %v", h.Err())
		}
	})
}

func TestASleepOfTheMachineIsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		h := Start(t.Context(), time.Now(), Options{
			TTL:   ttl,
			Renew: func(context.Context) error { return nil },
			sleep: func() time.Duration { return time.Duration(slept.Load()) },
		})
		defer h.Stop()
		slept.Store(int64(Margin(ttl)))
		if err := h.Context().Err(); err != nil {
			t.Errorf("a gap within the margin ended it: %v", h.Err())
		}
		slept.Store(int64(Margin(ttl)) + 1)
		// No time passes: only the look at the clock can find it.
		if h.Context().Err() == nil {
			t.Error("a gap beyond the margin did not end it")
		}
		if r := reasonOf(h.Err()); r != Clock {
			t.Errorf("reason is %q, want %q", r, Clock)
		}
	})
}

func TestAWallClockSetBackIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := Start(t.Context(), time.Now(), Options{
			TTL:   ttl,
			Renew: func(context.Context) error { return nil },
			sleep: func() time.Duration { return -time.Hour },
		})
		defer h.Stop()
		time.Sleep(10 * ttl)
		if err := h.Err(); err != nil {
			t.Errorf("lost: %v", err)
		}
	})
}

// TestTheContextLooksAtTheClock plays a process that was stopped: time has
// passed, but no timer has run.
func TestTheContextLooksAtTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, ended := range map[string]func(ctx context.Context) bool{
			"Err":   func(ctx context.Context) bool { return ctx.Err() != nil },
			"Cause": func(ctx context.Context) bool { return context.Cause(ctx) != nil },
			"Done": func(ctx context.Context) bool {
				select {
				case <-ctx.Done():
					return true
				default:
					return false
				}
			},
		} {
			h := Start(t.Context(), time.Now(), Options{TTL: ttl})
			h.expiry.Stop()
			time.Sleep(ttl)
			if !ended(h.Context()) {
				t.Errorf("%s does not see the end", name)
			}
			h.Stop()
		}
	})
}

func TestTheParentEndsItWithItsOwnCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errParentsOwn := errors.New("enough")
		parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), "k", "v")) //nolint:staticcheck // a test
		var n atomic.Int64
		h := Start(parent, time.Now(), Options{TTL: ttl, Renew: func(context.Context) error { n.Add(1); return nil }})
		if v := h.Context().Value("k"); v != "v" {
			t.Errorf("the parent's value is %v, want v", v)
		}
		cancel(errParentsOwn)
		if err := h.Err(); err != errParentsOwn {
			t.Errorf("Err is %v, want the parent's cause", err)
		}
		time.Sleep(100 * ttl)
		if n.Load() != 0 {
			t.Errorf("renewed %d times after the parent ended", n.Load())
		}
		h.Stop()
		if err := context.Cause(h.Context()); err != errParentsOwn {
			t.Errorf("the cause is %v after Stop, want the parent's", err)
		}
	})
}

func TestStopWaitsForARenewalInFlightAndEndsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int64
		h := Start(t.Context(), time.Now(), Options{TTL: ttl, Renew: func(ctx context.Context) error {
			running.Add(1)
			defer running.Add(-1)
			<-ctx.Done()
			time.Sleep(time.Second)
			return ctx.Err()
		}})
		time.Sleep(ttl / 2)
		if running.Load() != 1 {
			t.Fatal("no renewal in flight")
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				h.Stop()
				if running.Load() != 0 {
					t.Error("Stop returned with a renewal in flight")
				}
			})
		}
		wg.Wait()
		if got := time.Since(begin); got != time.Second {
			t.Errorf("Stop took %v, want 1 s", got)
		}
	})
}

func TestNothingIsRenewedAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i := range 200 {
			var n atomic.Int64
			h := Start(t.Context(), time.Now(), Options{TTL: ttl, Renew: func(context.Context) error {
				n.Add(1)
				time.Sleep(time.Millisecond)
				return nil
			}})
			time.Sleep(time.Duration(i) * ttl / 50)
			h.Stop()
			before := n.Load()
			time.Sleep(3 * ttl)
			if n.Load() != before {
				t.Fatalf("renewed after Stop")
			}
		}
	})
}

func TestLostIsCalledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		cause := errors.New("mine")
		h := Start(t.Context(), time.Now(), Options{TTL: ttl, Lost: func(Reason, error) error { calls.Add(1); return cause }})
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				time.Sleep(ttl - Margin(ttl))
				if h.Err() != cause || h.Context().Err() != context.Canceled || context.Cause(h.Context()) != cause {
					t.Errorf("Err is %v, want the cause", h.Err())
				}
				h.Stop()
			})
		}
		wg.Wait()
		if calls.Load() != 1 {
			t.Errorf("Lost was called %d times", calls.Load())
		}
	})
}

func TestHoldsUnderRandomTimesNeverOutliveTheServer(t *testing.T) {
	// The server's end is simulated: it moves only when a renewal arrives.
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var mu sync.Mutex
			end := start.Add(ttl)
			delays := []time.Duration{0, time.Second, 4 * time.Second, 9 * time.Second}
			var n int
			h := Start(t.Context(), start, Options{TTL: ttl, Renew: func(ctx context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				n++
				there, back := delays[n%4]/2, delays[(n*7+3)%4]/2
				time.Sleep(there)
				if time.Now().After(end) {
					return ErrGone
				}
				end = time.Now().Add(ttl)
				time.Sleep(back)
				if n%3 == 0 {
					return errDown // renewed, but the answer was lost
				}
				return nil
			}})
			<-h.Context().Done()
			ended := time.Now()
			h.Stop()
			mu.Lock()
			defer mu.Unlock()
			if !ended.Before(end) {
				t.Errorf("trusted until %v, the server until %v", ended.Sub(start), end.Sub(start))
			}
		})
	}
}

func TestTheParentsCauseWinsWhicheverChildIsToldFirst(t *testing.T) {
	cause := errors.New("shutting down")
	for range 300 {
		parent, cancel := context.WithCancelCause(context.Background())
		for range 500 { // children that keep the parent busy between ours
			context.AfterFunc(parent, func() {})
		}
		h := Start(parent, time.Now(), Options{TTL: time.Minute})
		cancel(cause)
		<-h.Context().Done()
		if got := context.Cause(h.Context()); got != cause {
			t.Fatalf("the cause is %v, want the parent's", got)
		}
		h.Stop()
	}
}

// parent counts what is registered with it.
type parent struct {
	context.Context
	ended      chan struct{}
	registered atomic.Int64
}

func (p *parent) Done() <-chan struct{} { return p.ended }

func (p *parent) Value(any) any { return nil }

func (p *parent) AfterFunc(func()) func() bool {
	p.registered.Add(1)
	return sync.OnceValue(func() bool { p.registered.Add(-1); return true })
}

func TestALostHoldLeavesNothingAtItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &parent{Context: t.Context(), ended: make(chan struct{})}
		h := Start(p, time.Now(), Options{TTL: ttl})
		if p.registered.Load() == 0 {
			t.Error("the parent's end would not be seen")
		}
		<-h.Context().Done()
		synctest.Wait()
		if n := p.registered.Load(); n != 0 {
			t.Errorf("%d registrations are left", n)
		}
	})
}
