package intent

import (
	"context"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/smart"
)

// WaitFor waits until the string at key is until, or is as until says: ok is
// false, and v "", when there is none. It returns what was seen last, with an
// error as well.
//
// When the budget runs out first, the error is a *smart.BudgetError, whose
// Explain says what was seen, since when, and what to do; a budget of zero or
// less is none, and only ctx ends the wait. The other errors are those of
// smart.WaitFor. For other types, and for several keys, use that.
func WaitFor[P string | func(v string, ok bool) bool](ctx context.Context, d command.Doer, key string, until P, budget time.Duration) (string, error) {
	var met func(v string, ok bool) bool
	switch p := any(until).(type) {
	case string:
		met = func(v string, ok bool) bool { return ok && v == p }
	case func(v string, ok bool) bool:
		met = p
	}
	var opts []smart.Option
	if budget > 0 {
		opts = append(opts, smart.Budget(budget))
	}
	r, err := smart.WaitFor(ctx, d, smart.Key(key, met), opts...)
	return r.Value, err
}
