package limiter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/wait"
)

// attachment is what limiters leave with a client: goodbyes, and stocks.
type attachment struct{}

// wait takes a slot and returns when it has come.
func (e *engine) wait(ctx context.Context, names, keys []string, cost int) error {
	if cost == 0 {
		return fmt.Errorf("%w: 0 for a call that waits", ErrCost)
	}
	most := e.o.maxWait
	if end, ok := ctx.Deadline(); ok {
		most = min(most, max(time.Until(end), 0))
	}
	for _, r := range e.rules {
		most = min(most, r.longest)
	}
	if e.o.shadow {
		most = 0
	}
	d, v, err := e.decide(ctx, names, keys, ask{calls: cost, most: most})
	if err != nil {
		return err
	}
	if !d.Allowed {
		return d.Err()
	}
	if v.wait <= 0 || !v.admitted {
		return nil
	}
	// The clock starts when the answer is here, so the call is never early.
	timer := time.NewTimer(v.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
	}
	e.giveBack(ctx, keys, cost, v.tickets)
	return fmt.Errorf("limiter: %s: %w", names[0], wait.Ended(ctx))
}

// giveBack takes a slot back that will not be used. Nobody waits for it: without
// it, the slot passes.
func (e *engine) giveBack(ctx context.Context, keys []string, cost int, tickets []int64) {
	keys = slices.Clone(keys)
	_ = e.after(ctx, func(ctx context.Context) { _, _ = e.undo(ctx, keys, cost, tickets) })
}

// after runs what its caller does not wait for. The error says that the client is
// closed.
func (e *engine) after(ctx context.Context, f func(ctx context.Context)) error {
	left, err := owned.By(e.d, attachment{})
	if err == nil {
		left.After(ctx, f)
	}
	return err
}

// turn is a mutex that is waited for only as long as a context lasts.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take returns when the turn is the caller's. One that is free is taken also when
// ctx has ended: what is asked of the server then says that nothing was sent.
func (t turn) take(ctx context.Context, key string) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("limiter: %s: %w", key, wait.Ended(ctx))
	}
}

func (t turn) pass() { <-t }

// undo returns of how many rules nothing is lost.
func (e *engine) undo(ctx context.Context, keys []string, cost int, tickets []int64) (int64, error) {
	if len(tickets) != 3*len(e.rules) {
		return 0, nil
	}
	args := make([]command.Arg, 0, 1+4*len(e.rules))
	args = append(args, command.Int(int64(cost)))
	for i, r := range e.rules {
		args = append(args, command.Str(r.text))
		for _, n := range tickets[3*i : 3*i+3] {
			args = append(args, command.Int(n))
		}
	}
	return command.RunScript(ctx, e.d, undoScript, command.AsInt, keys, args...)
}
