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

const (
	// MaxSilence is the longest pause on the rung of events: nothing is published
	// when a database is flushed, or the server has stopped publishing.
	MaxSilence = 5 * time.Second
	// minAgain keeps a hint of almost nothing from becoming a busy loop.
	minAgain = time.Millisecond
	// anyChange are the classes of all events but those of modules' types, which
	// no primitive has. The end of a life is among them: who waits with Until need
	// not know of it.
	anyChange = "g$lshztxe"
)

// Rung is a way of learning that a key may have changed.
type Rung string

// The rungs, from the highest.
const (
	Push   Rung = "push"   // the server tells who has read it
	Events Rung = "events" // the server publishes it
	Poll   Rung = "poll"   // asking again and again
)

var pushes, events, polls atomic.Int64

// Stats counts pauses between two tries, by rung.
type Stats struct{ Push, Events, Poll int64 }

// Counts returns how often this process has waited for a change, by rung.
func Counts() Stats {
	return Stats{Push: pushes.Load(), Events: events.Load(), Poll: polls.Load()}
}

// interest is what is left of a key's last look: who tells of the next change.
type interest struct {
	rung  Rung
	watch command.Watch // nil on Poll
}

// take notes the interest in key on the highest rung that d has just now. What
// the caller reads after that, and what it is told, miss no change between them.
func take(ctx context.Context, d command.Doer, key, classes string) interest {
	if w, ok := d.(command.Watcher); ok {
		if watch, err := w.Watch(ctx, key); err == nil {
			return interest{Push, watch}
		}
	}
	return takeEvents(ctx, d, key, classes)
}

func takeEvents(ctx context.Context, d command.Doer, key, classes string) interest {
	if w, ok := d.(command.EventWatcher); ok && ctx.Err() == nil {
		if watch, err := w.WatchEvents(ctx, key, classes); err == nil {
			return interest{Events, watch}
		}
	}
	return interest{rung: Poll} // whether the server answers at all, a read will say
}

// stop forgets the interest.
func (i *interest) stop() {
	if i.watch != nil {
		i.watch.Stop()
	}
	*i = interest{rung: Poll}
}

// pause waits for a change, until again has passed (0: time alone changes
// nothing), or for early. Without an interest it lasts poll at most.
func (i *interest) pause(ctx context.Context, again, poll time.Duration, early <-chan struct{}) (Why, error) {
	var changed <-chan struct{}
	switch i.rung {
	case Push:
		pushes.Add(1)
	case Events:
		events.Add(1)
		again = sooner(MaxSilence/2+rand.N(MaxSilence/2), again)
	default:
		polls.Add(1)
		again = sooner(jitter(poll), again)
	}
	if i.watch != nil {
		changed = i.watch.Changed()
	}
	var timeout <-chan time.Time
	if again > 0 {
		timer := time.NewTimer(max(again, minAgain))
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

// sooner returns the shorter of a pause and what the last look said, if it said
// anything.
func sooner(pause, again time.Duration) time.Duration {
	if again > 0 {
		return min(pause, again)
	}
	return pause
}

// jitter spreads d over the half below it and the half above, within the
// bounds, so that those who began together do not go on together.
func jitter(d time.Duration) time.Duration {
	d = d/2 + rand.N(d+1)
	return min(max(d, MinPoll), MaxPoll)
}
