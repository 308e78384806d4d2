package fill

import (
	"context"
	_ "embed" // the scripts
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
)

// Limits and defaults.
const (
	// DefaultLease is how long a fill outlives the last word of its process.
	DefaultLease = 5 * time.Second
	// MinLease is the shortest lease of a fill.
	MinLease = 50 * time.Millisecond

	// releaseTimeout bounds a release. One that gets no answer lapses.
	releaseTimeout = time.Second
)

var (
	//go:embed renew.lua
	renewSource string
	//go:embed release.lua
	releaseSource string

	renewScript   = command.NewScript(renewSource)
	releaseScript = command.NewScript(releaseSource)
)

// Keep keeps the fill at key, which a request took that left at sent, until the
// hold is stopped. With each renewal goes also, if not nil: an error of it that
// wraps hold.ErrGone ends the fill, too. lost builds the cause with which its
// context ends otherwise.
func Keep(ctx context.Context, d command.Doer, key, token string, lease time.Duration, sent time.Time, also func(ctx context.Context) error, lost func(hold.Reason, error) error) *hold.Hold {
	return hold.Start(ctx, sent, hold.Options{
		TTL: lease,
		Renew: func(ctx context.Context) error {
			n, err := command.RunScript(ctx, d, renewScript, command.AsInt, []string{key}, command.Str(token), command.Int(lease.Milliseconds()))
			switch {
			case err != nil:
				return err
			case n == 0:
				return hold.ErrGone
			case also != nil:
				return also(ctx)
			}
			return nil
		},
		Lost: lost,
	})
}

// Release gives the fill back, so that the next one need not wait until it
// lapses, and reports whether it was still ours. It does so also when ctx has
// ended, for a second at most.
func Release(ctx context.Context, d command.Doer, key, token string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	n, err := command.RunScript(ctx, d, releaseScript, command.AsInt, []string{key}, command.Str(token))
	return err == nil && n == 1
}
