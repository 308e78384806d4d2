package smart

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/wait"
)

// Result is what a wait saw last. The fields of Seen are those of the condition
// that Index names, or of the first one.
type Result struct {
	Seen
	// Index is which condition was met, the first of them if it was several: its
	// number among those on single keys, from left to right, from 0. It is -1
	// while the wait's condition was not met.
	Index int `json:"index"`
	// All is what was seen of each condition on a single key, in that order.
	All []Seen `json:"all"`
}

// WaitFor waits until c is met by what a read that began after the call has
// shown, and returns what it saw last, with an error as well.
//
// The errors: a *BudgetError when the budget ran out; one that wraps the error
// of ctx and its cause when ctx ended; ErrOverloaded, at once, when the bound on
// waiters is reached; and what the server says of the key that waiting does not
// mend, such as WRONGTYPE and NOPERM. Lost connections and
// servers that are loading end no wait: the keys are read again when the server
// is back.
func WaitFor(ctx context.Context, d command.Doer, c Condition, opts ...Option) (Result, error) {
	leaves, err := c.leaves(nil)
	if err != nil {
		return Result{Index: -1}, err
	}
	w, err := begin(ctx, d, leaves, opts)
	if err != nil {
		return Result{Index: -1}, err
	}
	defer w.end()
	for {
		met, err := w.judge(c)
		if met || err != nil {
			return w.result(met), err
		}
		if err := w.pause(ctx); err != nil {
			// What has come meanwhile is not dropped for a clock that was first.
			if met, _ = w.judge(c); met && ctx.Err() == nil {
				return w.result(true), nil
			}
			return w.result(false), w.ended(ctx, err)
		}
	}
}

// call is one wait, from its options to its end.
type call struct {
	*waiter
	opts  options
	start time.Time
	timer *time.Timer // of the budget, or nil
	done  func()
}

func begin(ctx context.Context, d command.Doer, leaves []*leaf, opts []Option) (*call, error) {
	o, err := build(opts)
	if err != nil {
		return nil, err
	}
	w := &call{opts: o, start: time.Now()}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("smart: %s: %w", nameOf(leaves), wait.Ended(ctx))
	}
	h, done, err := hubOf(d)
	if err != nil {
		return nil, fmt.Errorf("smart: %s: %w", nameOf(leaves), err)
	}
	if w.waiter, err = h.join(d, leaves, o.maxWaiters); err != nil {
		done()
		return nil, err
	}
	w.done = done
	if o.limited {
		w.timer = time.NewTimer(o.budget)
	}
	return w, nil
}

func (w *call) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.leave()
	w.done()
}

var errBudget = errors.New("the budget ran out")

// pause waits for a reading. It returns errBudget, errClosed, or why ctx ended.
func (w *call) pause(ctx context.Context) error {
	for i := range w.parts {
		if p := &w.parts[i]; p.seen.Exists {
			p.source.stay(p.judged)
		}
	}
	var budget <-chan time.Time
	if w.timer != nil {
		budget = w.timer.C
	}
	select {
	case <-w.wake:
		return nil
	case <-ctx.Done():
		return wait.Ended(ctx)
	case <-budget:
		return errBudget
	case <-w.hub.ctx.Done():
		return errClosed
	}
}

// result returns what was seen last.
func (w *waiter) result(met bool) Result {
	r := Result{Index: -1, All: make([]Seen, len(w.parts))}
	for i := range w.parts {
		r.All[i] = w.parts[i].seen
		if met && r.Index < 0 && r.All[i].Met {
			r.Index = i
		}
	}
	r.Seen = r.All[max(r.Index, 0)]
	return r
}

// ended returns the error of a wait that did not come to its end.
func (w *call) ended(ctx context.Context, why error) error {
	if ctx.Err() == nil && why == errBudget {
		return w.budgetError()
	}
	leaves := make([]*leaf, len(w.parts))
	for i := range w.parts {
		leaves[i] = w.parts[i].leaf
	}
	if why == errClosed {
		return why
	}
	return fmt.Errorf("smart: %s: not met after %v: %w", nameOf(leaves), time.Since(w.start).Round(time.Millisecond), wait.Ended(ctx))
}

func (w *call) budgetError() error {
	e := &BudgetError{Budget: w.opts.budget, Waited: time.Since(w.start), Last: w.result(false)}
	for i := range w.parts {
		s := w.parts[i].source
		if rung, ok := s.rung.Load().(wait.Rung); ok && slower(rung, e.Rung) {
			e.Rung = string(rung)
		}
		if err := s.fault.Load(); err != nil && e.Err == nil {
			e.Err = *err
		}
		if r := s.last.Load(); r != nil && r.since.After(e.Since) {
			e.Since = r.since
		}
	}
	return e
}

// slower reports whether changes are learnt of later on a rung than on another,
// or than on none.
func slower(rung wait.Rung, than string) bool {
	return than == "" || rung == wait.Poll || rung == wait.Events && than == string(wait.Push)
}

// nameOf names what is waited for.
func nameOf(leaves []*leaf) string {
	if len(leaves) == 1 {
		return leaves[0].key
	}
	return fmt.Sprintf("%s and %d more", leaves[0].key, len(leaves)-1)
}
