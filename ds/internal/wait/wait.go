package wait

import (
	"context"
	"time"

	"github.com/redisx/redisx/command"
)

// Until calls try until it is done, fails, or ctx ends. Between two tries it
// waits until the key may have changed, or until again has passed, as returned
// by the try before; 0 means that time alone changes nothing.
//
// It returns the error of try, or the cause of ctx. When a try is done, Until
// returns nil even if ctx has ended meanwhile: what was won is not dropped.
func Until(ctx context.Context, d command.Doer, key string, try func(ctx context.Context) (done bool, again time.Duration, err error)) error {
	// The first try is a try only: who finds the thing free at once has no
	// use for a watch, and saves its round trip.
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done, again, err := try(ctx)
	if err != nil || done {
		return err
	}
	var now interest
	defer func() { now.stop() }()
	poll := MinPoll
	for {
		before := now
		now = take(ctx, d, key, anyChange)
		before.stop()
		if now.rung == Poll {
			// Where nobody tells the pause comes first: nothing is lost by it,
			// and the try just before needs no repeat.
			if _, err := now.pause(ctx, again, poll, nil); err != nil {
				return err
			}
			poll = min(poll+poll/2, MaxPoll)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if done, again, err = try(ctx); err != nil || done {
			return err
		}
		if now.rung == Poll {
			continue
		}
		if _, err := now.pause(ctx, again, 0, nil); err != nil {
			return err
		}
	}
}
