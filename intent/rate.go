package intent

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/limiter"
)

// RateLimit admits a call or returns a *limiter.LimitedError, whose RetryAfter
// says when to come again. The rate is written as in "100/m", "50/s burst 100" or
// "5/500ms"; key is what it applies to, such as a user or a route. All options of
// package limiter are taken.
//
// Errors other than *limiter.LimitedError are no decision: *limiter.RateError for
// a rate that cannot be read, and those of the client. Whether to let the call
// pass then is for you to say, or for limiter.OnError. But limiter.Local keeps its
// buckets in a Limiter, and here each call has a new one: it would admit all.
func RateLimit(ctx context.Context, d command.Doer, key, rate string, opts ...limiter.Option) error {
	decision, err := limiter.New(d, rate, opts...).Allow(ctx, key)
	if err != nil {
		return err
	}
	return decision.Err()
}

// Burst sets how many calls RateLimit admits at once: at least 1. The default is
// the rate's count.
func Burst(n int) limiter.Option { return limiter.Burst(n) }
