package intent_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/intent"
)

// TestTheEndOfAContextIsToldWithItsCause: whoever waits hears both why its context
// ended (errgroup gives a cause, too) and that it did.
func TestTheEndOfAContextIsToldWithItsCause(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	c, other := cs[0], cs[1]
	in := make(chan struct{}, 5)
	enter := func(ctx context.Context) error {
		in <- struct{}{}
		<-ctx.Done()
		return nil
	}
	enterValue := func(ctx context.Context) (string, error) { return "", enter(ctx) }
	held, leave := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer leave()
	limit := func(d command.Doer) *limiter.Limiter { return limiter.New(d, "1/30m", limiter.MaxWait(time.Hour)) }
	calls := map[string]func(ctx context.Context, d command.Doer) error{
		"LeaseLock": func(ctx context.Context, d command.Doer) error { return intent.LeaseLock(ctx, d, "k", enter) },
		"Leader":    func(ctx context.Context, d command.Doer) error { return intent.Leader(ctx, d, "k", enter) },
		"Semaphore": func(ctx context.Context, d command.Doer) error { return intent.Semaphore(ctx, d, "k", 1, enter) },
		"Once": func(ctx context.Context, d command.Doer) error {
			_, err := intent.Once(ctx, d, "k", enterValue)
			return err
		},
		"GetOrCompute": func(ctx context.Context, d command.Doer) error {
			_, err := intent.GetOrCompute(ctx, d, "value", time.Minute, enterValue)
			return err
		},
	}
	for _, call := range calls {
		others.Go(func() { _ = call(held, other) })
		<-in
	}
	if err := limit(c).Wait(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	calls["WaitFor"] = func(ctx context.Context, d command.Doer) error {
		_, err := intent.WaitFor(ctx, d, "nothing", "done", time.Minute)
		return err
	}
	calls["Acquire, Fair"] = func(ctx context.Context, d command.Doer) error {
		_, err := lease.Acquire(ctx, d, "k", lease.Fair())
		return err
	}
	calls["Wait"] = func(ctx context.Context, d command.Doer) error { return limit(d).Wait(ctx, "k") }
	for what, call := range calls {
		for _, after := range []time.Duration{0, 50 * time.Millisecond} {
			why := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			if after == 0 {
				cancel(why)
			} else {
				time.AfterFunc(after, func() { cancel(why) })
			}
			told := make(chan error, 1)
			go func() { told <- call(ctx, c) }()
			select {
			case err := <-told:
				if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
					t.Errorf("%s, cancelled after %v: %v", what, after, err)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s, cancelled after %v, goes on", what, after)
			}
		}
	}
}
