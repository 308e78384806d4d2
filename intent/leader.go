package intent

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
)

// Leader keeps fn running in one process at a time: it waits until this process
// leads the election of that name, runs fn, and resigns when fn returns, also
// when it panics. After a loss, and after an error that may pass, it campaigns
// anew and runs fn again.
//
// fn gets a context that ends before anybody else leads, and should return then.
// Leader returns what fn returned, once it has returned without a loss; when ctx
// ends while others lead, a *coord.NotLeaderError that says who does and wraps
// the cause; an error that asking again does not mend, such as NOPERM, at once.
//
// All options of package coord are taken that count for elections: coord.Name,
// coord.TTL, coord.Weight, coord.Healthy. Inside fn, the same election is
// lease.ErrReentrant. Where writes must be fenced, use Election.Lead, which has the
// term.
func Leader(ctx context.Context, d command.Doer, name string, fn func(ctx context.Context) error, opts ...coord.Option) error {
	return coord.NewElection(d, name, append([]coord.Option{coord.Again()}, opts...)...).
		Lead(ctx, func(ctx context.Context, _ *coord.Term) error { return fn(ctx) })
}
