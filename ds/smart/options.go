package smart

import (
	"fmt"
	"time"
)

// defaultMaxWaiters is as many watches as a client has.
const defaultMaxWaiters = 100_000

// Option changes how a wait is done.
type Option func(*options)

type options struct {
	budget     time.Duration
	limited    bool
	maxWaiters int
}

// Budget bounds the wait, by the local monotonic clock from the call on. When
// it runs out the error is a *BudgetError, with what was seen last. It must be
// above zero. The default is none: only the context ends the wait.
func Budget(d time.Duration) Option { return func(o *options) { o.budget, o.limited = d, true } }

// MaxWaiters makes the call fail at once, with ErrOverloaded, where the
// client would wait for more than n conditions with it. Each condition of AnyOf
// and AllOf counts. The default is 100 000; n must be above zero.
func MaxWaiters(n int) Option { return func(o *options) { o.maxWaiters = n } }

func build(opts []Option) (options, error) {
	o := options{maxWaiters: defaultMaxWaiters}
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case o.limited && o.budget <= 0:
		return o, fmt.Errorf("smart: a budget of %v is not above zero", o.budget)
	case o.maxWaiters <= 0:
		return o, fmt.Errorf("smart: at most %d waiters are none", o.maxWaiters)
	}
	return o, nil
}
