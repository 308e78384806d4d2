package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
)

// The states of an entry; doc.go has the drawing.
type entryState uint8

const (
	off entryState = iota
	subscribing
	on
	unsubscribing
)

// entry is one topic on a feed's connection.
type entry struct {
	topic   Topic
	state   entryState
	alone   bool // a command with this name among others was refused: ask singly
	members []*member
}

// The states of a member; doc.go has the drawing.
type memberState uint8

const (
	joining memberState = iota
	live
	lost
	back
)

// member is one subscription's interest in one topic.
type member struct {
	sub   *Subscription
	entry *entry
	state memberState
	joins []*join // that wait while it is joining
	by    *join   // the call that made it
	kept  bool    // another call asked for it as well: the first may not undo it
	at    int     // in entry.members
}

// join is one call of Subscribe or Add.
type join struct {
	made []*member // by this call
	left int       // members that are joining still
	err  error
	done chan struct{} // closed when none is left, or err is set
}

func (j *join) end(err error) {
	if j.err == nil && j.left > 0 {
		j.err, j.left = err, 0
		close(j.done)
	}
}

// feed is one connection and the subscriptions on it.
type feed struct {
	hub    *Hub
	block  bool // one subscription, which may hold the connection up
	ctx    context.Context
	cancel context.CancelFunc
	work   chan struct{} // capacity 1: something changed for the keeper

	mu      sync.Mutex
	closed  bool
	keeping bool // the keeper runs
	link    *link
	entries [kinds]map[string]*entry
	count   int                 // of all entries
	members int                 // of all entries
	todo    map[*entry]struct{} // whose state is not what is wanted
	subs    map[*Subscription]struct{}
	lastErr error // why there was no connection, the last time
}

func newFeed(h *Hub, block bool) *feed {
	f := &feed{hub: h, block: block, work: make(chan struct{}, 1), todo: map[*entry]struct{}{}, subs: map[*Subscription]struct{}{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	for k := range f.entries {
		f.entries[k] = map[string]*entry{}
	}
	return f
}

// add makes s a member of topics and waits until it is one of each, or takes it
// back.
func (f *feed) add(ctx context.Context, s *Subscription, topics []Topic) error {
	if ctx.Err() != nil {
		return f.failed(topics, "queue", command.NotSent, session.Ended(ctx))
	}
	j, err := f.join(s, topics)
	if err != nil {
		return err
	}
	var expired <-chan time.Time
	if _, ok := ctx.Deadline(); !ok {
		t := time.NewTimer(f.hub.timeout)
		defer t.Stop()
		expired = t.C
	}
	err = nil
	select {
	case <-j.done:
	case <-s.over:
		err = s.ended()
	case <-ctx.Done():
		err = session.Ended(ctx)
	case <-expired:
		err = session.ErrStalled
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && j.left > 0 {
		if f.link == nil && f.lastErr != nil {
			err = fmt.Errorf("%w (last dial: %w)", err, f.lastErr)
		}
		j.end(f.failed(topics, "read", command.Maybe, err))
	}
	if j.err != nil {
		f.undo(j)
	}
	return j.err
}

// join registers s with the entries of topics.
func (f *feed) join(s *Subscription, topics []Topic) (*join, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClient
	}
	if err := s.ended(); err != nil {
		return nil, err
	}
	if f.count+len(topics) > maxTopics {
		return nil, errTopics
	}
	f.subs[s] = struct{}{}
	j := &join{done: make(chan struct{})}
	for _, t := range topics {
		m := s.topics[t]
		switch {
		case m == nil:
			m = f.enter(s, t)
			m.by = j
			j.made = append(j.made, m)
		case m.by == j:
			continue // named twice
		default:
			m.kept = true
		}
		if m.state == joining {
			m.joins = append(m.joins, j)
			j.left++
		}
	}
	if j.left == 0 {
		close(j.done)
	}
	if !f.keeping && f.members > 0 {
		f.keeping = true
		f.hub.wg.Go(f.keep)
	}
	return j, nil
}

// enter makes s a member of t. It is called with mu held, as all below.
func (f *feed) enter(s *Subscription, t Topic) *member {
	e := f.entries[t.Kind][t.Name]
	if e == nil {
		e = &entry{topic: t}
		f.entries[t.Kind][t.Name] = e
		f.count++
	}
	m := &member{sub: s, entry: e, at: len(e.members)}
	if e.state == on {
		m.state = live
	}
	e.members = append(e.members, m)
	f.members++
	s.topics[t] = m
	f.review(e)
	return m
}

// leave takes m out.
func (f *feed) leave(m *member) {
	e, s := m.entry, m.sub
	end := len(e.members) - 1
	e.members[m.at] = e.members[end]
	e.members[m.at].at = m.at
	e.members[end] = nil
	e.members = e.members[:end]
	delete(s.topics, e.topic)
	if f.members--; f.members == 0 {
		signal(f.work) // the keeper may go
	}
	f.review(e)
	if m.state == lost {
		f.found(s)
	}
}

// review notes what is to be done about e, or forgets it.
func (f *feed) review(e *entry) {
	wanted := len(e.members) > 0
	switch {
	case e.state == off && !wanted:
		delete(f.todo, e)
		if all := f.entries[e.topic.Kind]; all[e.topic.Name] == e {
			delete(all, e.topic.Name)
			f.count--
		}
	case e.state == off, e.state == on && !wanted:
		f.todo[e] = struct{}{}
		signal(f.work)
	default:
		delete(f.todo, e)
	}
}

// undo takes out what j put in.
func (f *feed) undo(j *join) {
	for _, m := range j.made {
		if m.sub.topics[m.entry.topic] == m && !m.kept {
			f.leave(m)
		}
	}
}

// found counts one lost member of s less. With the last one all that are back
// become live, and the gap is told.
func (f *feed) found(s *Subscription) {
	if s.missing--; s.missing > 0 {
		return
	}
	for _, m := range s.topics {
		if m.state == back {
			m.state = live
		}
	}
	s.miss(Gap{Dropped: s.skipped, Reconnected: true, Since: s.since})
	s.skipped = 0
}

// lose notes that messages of m may have been missed since then.
func (m *member) lose(since time.Time) {
	s := m.sub
	switch m.state {
	case live, back:
		if s.missing == 0 || since.Before(s.since) {
			s.since = since
		}
		m.state = lost
		s.missing++
	}
}

// remove takes s out of topics.
func (f *feed) remove(s *Subscription, topics []Topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range topics {
		if m := s.topics[t]; m != nil {
			f.withdraw(m, ErrClosed)
		}
	}
}

// withdraw takes m out and tells who waits for it to join.
func (f *feed) withdraw(m *member, err error) {
	for _, j := range m.joins {
		j.end(err)
	}
	m.joins = nil
	f.leave(m)
}

// detach takes s, which has ended, out of everything.
func (f *feed) detach(s *Subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(s)
}

func (f *feed) forget(s *Subscription) {
	for _, m := range s.topics {
		f.withdraw(m, s.ended())
	}
	delete(f.subs, s)
	if f.block {
		f.cancel()
		f.hub.disown(f)
	}
}

// close ends everything on the feed. The hub waits for the keeper.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.cancel()
	for s := range f.subs {
		s.end(errClient)
		f.forget(s)
	}
}

// health reports whether all topics of s are confirmed on a live connection.
func (f *feed) health(s *Subscription) (connected bool, lastErr error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.link != nil && s.missing == 0, f.lastErr
}

// failed describes why topics could not be subscribed to.
func (f *feed) failed(topics []Topic, phase string, o command.Outcome, err error) error {
	var e *command.Error
	if errors.As(err, &e) || errors.Is(err, errClient) || errors.Is(err, ErrClosed) {
		return err
	}
	name := ""
	if len(topics) > 0 {
		name = specs[topics[0].Kind][0].Name
	}
	return &command.Error{Command: name, Node: f.hub.cfg.Node, Phase: phase, Outcome: o, Err: err}
}
