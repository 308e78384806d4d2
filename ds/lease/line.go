package lease

import (
	"container/list"
	"context"
	"io"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
)

// lines are where callers of one client line up who wait for the same lease
// without a queue: only the first of a line asks the server. A release then costs
// one attempt of each process that waits, however many of its goroutines do, and
// none of them overtakes another.
type lines struct {
	mu sync.Mutex
	of map[lineKey]*line
}

// lineKey is what callers have in common who line up.
type lineKey struct {
	d     command.Doer // the client, or a view of it
	lease string
}

// line is never empty; the mu of its lines guards it.
type line struct {
	turns list.List // of chan struct{}, closed when it is one's turn
	held  *holder   // who was last seen to have the lease,
	sent  time.Time // by a request that left then
}

// linesKey is where a client keeps its lines.
type linesKey struct{}

func newLines() io.Closer { return &lines{of: map[lineKey]*line{}} }

// Close is for the client. It has nothing to end: to whoever is first the closed
// client returns an error, and that lets the others go.
func (*lines) Close() error { return nil }

// tryFunc is what wait.Until takes.
type tryFunc = func(ctx context.Context) (done bool, again time.Duration, err error)

// waitInLine waits until the lease is granted, or the queue has to be asked.
func (a *attempt) waitInLine(ctx context.Context) error {
	all := a.lines(ctx)
	if all.busy(a.lineKey()) { // they are not to be overtaken
		if err := a.look(ctx); err != nil {
			return err
		}
		return all.wait(ctx, a, 0)
	}
	done, again, err := a.try(ctx)
	if done || err != nil {
		return err
	}
	return all.wait(ctx, a, again)
}

func (a *attempt) lineKey() lineKey { return lineKey{a.d, a.names.lease} }

// look sees who has the lease, and takes it in no case.
func (a *attempt) look(ctx context.Context) error {
	a.sent = time.Now()
	i, err := inspect(ctx, a.d, a.names)
	if err == nil && i.Held {
		a.held = &holder{id: i.ID, owner: i.Owner, token: i.Token, since: i.Since, left: i.Left, ttl: i.TTL, meta: i.Meta, readers: i.Readers}
	}
	return err
}

// lines returns those of the client, nil for who asks by itself: in a queue; for
// a strict grant, which may have to wait for more than a release; or to hear that
// it would wait for itself; and where the client can have none. It may be closed,
// too: that its own answer will say.
func (a *attempt) lines(ctx context.Context) *lines {
	for l := leaseOf(ctx); l != nil; l = l.outer {
		if l.names.lease == a.names.lease {
			return nil
		}
	}
	attacher, ok := a.d.(command.Attacher)
	if a.o.fair || a.o.strict || !ok || !owned.Comparable(a.d) {
		return nil
	}
	c, err := attacher.Attach(linesKey{}, newLines)
	if err != nil {
		return nil
	}
	return c.(*lines)
}

// wait waits for the lease when it is the attempt's turn, or returns the cause of
// ctx if that ends before. The next goes when the waiting has an end, and all of
// them when it failed: each shall learn by itself, and at once, what is wrong.
func (all *lines) wait(ctx context.Context, a *attempt, again time.Duration) error {
	key := a.lineKey()
	if all == nil {
		return a.until(ctx, key.lease, again, a.try)
	}
	came := time.Now()
	l, place := all.enter(key)
	var err error
	select {
	case <-place.Value.(chan struct{}):
		err = a.until(ctx, key.lease, again, func(ctx context.Context) (bool, time.Duration, error) {
			before := a.held
			done, again, err := a.try(ctx)
			if a.held != before {
				all.saw(key, a)
			}
			return done, again, err
		})
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if held := all.leave(key, l, place, came, err != nil && ctx.Err() == nil); held != nil {
		a.held = held
	}
	return err
}

// busy reports whether anybody waits.
func (all *lines) busy(key lineKey) bool {
	if all == nil {
		return false
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.of[key] != nil
}

// saw notes for those behind what the first has just seen.
func (all *lines) saw(key lineKey, a *attempt) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if l := all.of[key]; l != nil {
		l.held, l.sent = a.held, a.sent
	}
}

// enter lines up behind those who are there.
func (all *lines) enter(key lineKey) (*line, *list.Element) {
	all.mu.Lock()
	defer all.mu.Unlock()
	l, turn := all.of[key], make(chan struct{})
	if l == nil {
		l = new(line)
		all.of[key] = l
		close(turn)
	}
	return l, l.turns.PushBack(turn)
}

// leave tells whose turn it is now: everyone's, which ends the line, or that of
// who has become the first. It returns who was seen to have the lease, by a
// request that left after the caller came: what was seen before may have had its
// end before, too.
func (all *lines) leave(key lineKey, l *line, place *list.Element, came time.Time, everyone bool) (held *holder) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if l.sent.After(came) {
		held = l.held
	}
	if all.of[key] != l {
		return held // it has ended
	}
	next := place.Next()
	if l.turns.Front() != place {
		next = nil // not yet
	}
	l.turns.Remove(place)
	if everyone || l.turns.Len() == 0 {
		delete(all.of, key)
	}
	for ; next != nil; next = next.Next() {
		close(next.Value.(chan struct{}))
		if !everyone {
			break
		}
	}
	return held
}
