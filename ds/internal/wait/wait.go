package wait

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
)

// Bounds of the pause between two tries while polling.
const (
	MinPoll = 10 * time.Millisecond
	MaxPoll = 250 * time.Millisecond
)

// minAgain keeps a hint of almost nothing from becoming a busy loop.
const minAgain = time.Millisecond

// Rung is a way of learning that a key may have changed.
type Rung string

// The rungs.
const (
	Push Rung = "push" // the server tells
	Poll Rung = "poll" // asking again and again
)

var pushes, polls atomic.Int64

// Stats counts pauses between two tries, by rung.
type Stats struct{ Push, Poll int64 }

// Counts returns how often this process has waited for a change, by rung.
func Counts() Stats { return Stats{Push: pushes.Load(), Poll: polls.Load()} }

// RungOf returns the rung that Until tries first with d.
func RungOf(d command.Doer) Rung {
	if _, ok := d.(command.Watcher); ok {
		return Push
	}
	return Poll
}

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
	watcher, _ := d.(command.Watcher)
	poll := MinPoll
	for {
		var watch command.Watch
		if watcher != nil {
			watch, err = watcher.Watch(ctx, key)
			if err != nil {
				watch = nil // whether the server answers at all, try will say
			}
		}
		if watch == nil {
			// Without a push the pause comes first: nothing is lost by it,
			// and the try just before needs no repeat.
			if _, err := pause(ctx, nil, hint(jitter(poll), again), nil); err != nil {
				return err
			}
			poll = min(poll+poll/2, MaxPoll)
		}
		done, again, err = tryWatched(ctx, watch, try)
		if err != nil || done {
			return err
		}
	}
}

// tryWatched tries, and when that is not done and a watch is there, waits on
// it. It stops the watch.
func tryWatched(ctx context.Context, watch command.Watch, try func(ctx context.Context) (bool, time.Duration, error)) (bool, time.Duration, error) {
	if watch != nil {
		defer watch.Stop()
	}
	if ctx.Err() != nil {
		return false, 0, context.Cause(ctx)
	}
	done, again, err := try(ctx)
	if err != nil || done || watch == nil {
		return done, again, err
	}
	if again > 0 {
		again = max(again, minAgain)
	}
	_, err = pause(ctx, watch.Changed(), again, nil)
	return false, again, err
}

// hint returns the shorter of a pause and what the last try said, if it said
// anything.
func hint(pause, again time.Duration) time.Duration {
	if again > 0 && again < pause {
		return max(again, minAgain)
	}
	return pause
}

// jitter spreads d over the half below it and the half above, within the
// bounds, so that those who began together do not go on together.
func jitter(d time.Duration) time.Duration {
	d = d/2 + rand.N(d+1)
	return min(max(d, MinPoll), MaxPoll)
}

// pause waits for a change, for d, or for early; a d of 0 is without end. A nil
// changed means that nobody tells.
func pause(ctx context.Context, changed <-chan struct{}, d time.Duration, early <-chan struct{}) (Why, error) {
	if changed == nil {
		polls.Add(1)
	} else {
		pushes.Add(1)
	}
	var timeout <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
		return Changed, nil
	case <-timeout:
		return Passed, nil
	case <-early:
		return Early, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
