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
	d       command.Doer
	r       command.Request
	key     string
	classes string
	poll    time.Duration
	now     interest // of the last read
}

// NewReader returns a Reader of r, a read with one key that d may be sent again
// and again. Its answer changes with events of the classes alone, in the letters
// of notify-keyspace-events; what else may change it, the caller looks for.
func NewReader(d command.Doer, r command.Request, classes string) *Reader {
	key, _ := r.FirstKey()
	return &Reader{d: d, r: r, key: key, classes: classes, poll: MinPoll, now: interest{rung: Poll}}
}

// Read runs the read. What changes after the server has run it ends the next
// Wait. The caller releases the reply.
func (rd *Reader) Read(ctx context.Context) (command.Reply, error) {
	before := rd.now
	rd.now = interest{rung: Poll}
	defer before.stop() // behind the next: see command.EventWatcher
	if d, ok := rd.d.(command.Tracker); ok {
		reply, watch, err := d.Track(ctx, rd.r)
		if watch != nil {
			rd.now = interest{Push, watch}
			return reply, err
		}
		rd.now = takeEvents(ctx, rd.d, rd.key, rd.classes)
	} else {
		rd.now = take(ctx, rd.d, rd.key, rd.classes)
	}
	if ctx.Err() != nil {
		return command.Reply{}, context.Cause(ctx)
	}
	return rd.d.Do(ctx, rd.r)
}

// Rung returns how the next change will be learnt of.
func (rd *Reader) Rung() Rung { return rd.now.rung }

// Wait returns when the key may have changed since the last Read, when again
// has passed (0: time alone changes nothing), when early is told, or with the
// cause of ctx. Where nobody tells of changes time passes sooner, after a pause
// that grows from MinPoll to MaxPoll until Reset; where the server publishes them,
// after MaxSilence at most.
func (rd *Reader) Wait(ctx context.Context, again time.Duration, early <-chan struct{}) (Why, error) {
	poll := rd.poll
	if rd.now.rung == Poll {
		rd.poll = min(poll+poll/2, MaxPoll)
	}
	return rd.now.pause(ctx, again, poll, early)
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
func (rd *Reader) Stop() { rd.now.stop() }
