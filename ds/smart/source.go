package smart

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/wait"
)

const (
	// past is added to the end of a key: it lapses in the millisecond after its
	// last.
	past = time.Millisecond
	// askAgain is when a key is looked at again whose end nobody would tell.
	askAgain = time.Second
)

// source reads one key for all who wait for it. It has one goroutine, which
// ends when the last of them has gone.
type source struct {
	hub    *hub
	id     identity
	d      command.Doer
	ctx    context.Context
	cancel context.CancelFunc
	early  chan struct{} // has room for one: needed or staying has risen

	reads   atomic.Int64 // begun
	needed  atomic.Int64 // the read that a waiter needs
	staying atomic.Int64 // the read that has not ended the wait of some waiter
	last    atomic.Pointer[reading]
	fault   atomic.Pointer[error] // of the last read, if it failed and may be mended
	rung    atomic.Value          // wait.Rung: how the next change will be learnt of; none before the first read

	// Guarded by hub.mu.
	waiters map[*waiter]struct{}
	bytes   int
}

// reading is what one read has shown.
type reading struct {
	number int64 // among the reads of the source, from 1
	state  state
	err    error     // instead of state: reading again will not help
	since  time.Time // when this state was first seen, by the local clock
}

func newSource(h *hub, id identity, d command.Doer) *source {
	s := &source{hub: h, id: id, d: d, early: make(chan struct{}, 1), waiters: map[*waiter]struct{}{}, bytes: overhead + len(id.key)}
	s.ctx, s.cancel = context.WithCancel(h.ctx)
	return s
}

// refresh asks for a read beyond the first joined ones, if none has begun.
func (s *source) refresh(joined int64) {
	if s.reads.Load() <= joined {
		s.raise(&s.needed, joined+1)
	}
}

// stay says that a read of a key that exists has left a waiter waiting, so that
// the key's end matters.
func (s *source) stay(number int64) {
	if s.rung.Load() != wait.Poll {
		s.raise(&s.staying, number)
	}
}

// raise tells run of a number, once.
func (s *source) raise(n *atomic.Int64, to int64) {
	for before := n.Load(); before < to; before = n.Load() {
		if n.CompareAndSwap(before, to) {
			select {
			case s.early <- struct{}{}:
			default:
			}
			return
		}
	}
}

// run reads the key whenever it may have changed.
//
// A change while a read is under way ends the pause behind that read at once,
// however many changes there were: they cost one more read.
func (s *source) run() {
	defer s.cancel()
	r := wait.NewReader(s.d, s.id.kind.request(s.id.key), s.id.kind.events())
	defer r.Stop()
	for s.ctx.Err() == nil {
		number := s.reads.Add(1)
		now, err := s.read(r)
		switch {
		case s.ctx.Err() != nil:
			return
		case err != nil && !wait.Final(err):
			s.hub.count.failures.Add(1)
			s.fault.Store(&err)
			_ = r.Rest(s.ctx) // the loop looks at the context
			continue
		}
		if s.publish(reading{number: number, state: now, err: s.explained(err)}) {
			r.Reset()
		}
		s.pause(r, number, now.exists)
	}
}

func (s *source) read(r *wait.Reader) (state, error) {
	reply, err := r.Read(s.ctx)
	s.rung.Store(r.Rung())
	st, err := s.id.kind.decode(reply.View(), err)
	reply.Release()
	return st, err
}

// publish gives a reading to the waiters. It reports whether it differs from
// the one before.
func (s *source) publish(r reading) (changed bool) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	before := s.last.Load()
	changed = before == nil || before.state != r.state || before.err != nil
	r.since = time.Now()
	if !changed {
		r.since = before.since
		r.state = before.state // one copy of the value
	}
	if len(s.waiters) > 0 { // else it does not count any more
		size := overhead + len(s.id.key) + len(r.state.value)
		if h.bytes+size-s.bytes > maxBytes && size > s.bytes {
			h.count.refused.Add(1)
			r.err = &overloaded{waiters: h.waiting, bytes: h.bytes + size - s.bytes, maxBytes: maxBytes}
			r.state = state{}
			size = overhead + len(s.id.key)
		}
		h.bytes += size - s.bytes
		s.bytes = size
	}
	if changed && before != nil {
		h.count.changes.Add(1)
	}
	h.count.reads.Add(1)
	s.fault.Store(nil)
	s.last.Store(&r)
	for w := range s.waiters {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return changed
}

// pause waits until it is worth reading again after read number. The end of a
// key needs no event of the server, which may remove it late: the local clock
// counts down what the server says is left. It is asked for that only when
// somebody stays: a change that satisfies all costs no more than its read.
func (s *source) pause(r *wait.Reader, number int64, ends bool) {
	asked := !ends
	var end time.Time
	for {
		var again time.Duration
		if !end.IsZero() {
			again = max(time.Until(end), 1)
		}
		why, err := r.Wait(s.ctx, again, s.early)
		if err != nil || why != wait.Early || s.needed.Load() > number {
			return
		}
		if !asked && s.staying.Load() >= number {
			asked = true
			if left := s.life(); left > 0 {
				end = time.Now().Add(left)
			}
		}
	}
}

// life returns when the key is to be looked at again, 0 if only a change
// matters. A change of the key's end is a change of the key.
func (s *source) life() time.Duration {
	left, err := command.Do(s.ctx, s.d, command.PTTL(s.id.key))
	switch {
	case err == command.Nil:
		return past // it has just ended
	case err != nil:
		return askAgain
	case left.Forever:
		return 0
	}
	return left.Left + past
}
