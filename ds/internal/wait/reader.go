package wait

import (
	"context"
	"time"

	"github.com/redisx/redisx/command"
)

// Why is the reason for which a Reader's Wait returned.
type Why string

// The reasons.
const (
	Changed Why = "changed" // the server told
	Passed  Why = "passed"  // it is time
	Early   Why = "early"   // the caller was told otherwise
)

// Reader is one read of one key, done again whenever its answer may have
// changed. It is for one goroutine at a time; NewReader makes one.
type Reader struct {
	d     command.Doer
	r     command.Request
	key   string
	poll  time.Duration
	watch command.Watch // of the last read; nil: nobody tells
}

// NewReader returns a Reader of r, a read with one key that d may be sent again
// and again.
func NewReader(d command.Doer, r command.Request) *Reader {
	key, _ := r.FirstKey()
	return &Reader{d: d, r: r, key: key, poll: MinPoll}
}

// Read runs the read. What changes after the server has run it ends the next
// Wait. The caller releases the reply.
func (rd *Reader) Read(ctx context.Context) (command.Reply, error) {
	rd.Stop()
	switch d := rd.d.(type) {
	case command.Tracker:
		reply, watch, err := d.Track(ctx, rd.r)
		if watch != nil {
			rd.watch = watch
			return reply, err
		}
	case command.Watcher:
		if watch, err := d.Watch(ctx, rd.key); err == nil {
			rd.watch = watch
		}
	}
	if ctx.Err() != nil {
		return command.Reply{}, context.Cause(ctx)
	}
	// Whether the server answers at all, the read itself will say.
	return rd.d.Do(ctx, rd.r)
}

// Rung returns how the next change will be learnt of.
func (rd *Reader) Rung() Rung {
	if rd.watch != nil {
		return Push
	}
	return Poll
}

// Wait returns when the key may have changed since the last Read, when again
// has passed (0: time alone changes nothing), when early is told, or with the
// cause of ctx. Where nobody tells of changes time passes sooner, after a pause
// that grows from MinPoll to MaxPoll until Reset.
func (rd *Reader) Wait(ctx context.Context, again time.Duration, early <-chan struct{}) (Why, error) {
	if rd.watch != nil {
		if again > 0 {
			again = max(again, minAgain)
		}
		return pause(ctx, rd.watch.Changed(), again, early)
	}
	poll := rd.poll
	rd.poll = min(poll+poll/2, MaxPoll)
	return pause(ctx, nil, hint(jitter(poll), again), early)
}

// Rest is the Wait after a read that failed: there is nothing to be told of, so
// only time passes.
func (rd *Reader) Rest(ctx context.Context) error {
	rd.Stop()
	_, err := rd.Wait(ctx, 0, nil)
	return err
}

// Reset makes the next pause a short one: what has just changed is likely to
// change again.
func (rd *Reader) Reset() { rd.poll = MinPoll }

// Stop forgets the interest in the next change. The Reader may go on.
func (rd *Reader) Stop() {
	if rd.watch != nil {
		rd.watch.Stop()
		rd.watch = nil
	}
}
