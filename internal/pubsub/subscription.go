package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redisx/redisx/internal/session"
)

// Overflow says what happens to a message when a subscription's buffer is full.
type Overflow uint8

// The policies.
const (
	DropOldest Overflow = iota
	DropNewest
	BlockOnOverflow
	CloseOnOverflow
)

// The bounds of a buffer.
const (
	defaultMessages = 1024
	defaultBytes    = 16 << 20
	maxMessages     = 1 << 20
	maxBytes        = 64 << 20
)

// ErrClosed is what a subscription ends with when its owner closes it.
var ErrClosed = errors.New("redisx: the subscription is closed")

// ErrOverflow is what a subscription with CloseOnOverflow ends with.
var ErrOverflow = errors.New("redisx: the subscription has ended: its buffer was full")

// Options tunes a subscription. Zero fields take the defaults.
type Options struct {
	Messages int // in the buffer; default 1024, at most 1 Mi
	Bytes    int // of their texts; default 16 MiB, at most 64 MiB
	Overflow Overflow
}

func (o *Options) check() error {
	if o.Messages == 0 {
		o.Messages = defaultMessages
	}
	if o.Bytes == 0 {
		o.Bytes = defaultBytes
	}
	switch {
	case o.Messages < 0 || o.Messages > maxMessages:
		return fmt.Errorf("redisx: a subscription's buffer of %d messages is not between 1 and %d", o.Messages, maxMessages)
	case o.Bytes < 0 || o.Bytes > maxBytes:
		return fmt.Errorf("redisx: a subscription's buffer of %d bytes is not between 1 and %d", o.Bytes, maxBytes)
	case o.Overflow > CloseOnOverflow:
		return errors.New("redisx: no such policy of overflow")
	}
	return nil
}

// Stats is what has happened to a subscription so far.
type Stats struct {
	Received      uint64 // messages that arrived for it, dropped ones included
	Dropped       uint64 // messages that arrived and were dropped
	Gaps          uint64 // gaps that its consumer was given
	Buffered      int    // messages that wait for the consumer
	BufferedBytes int    // their size
	Connected     bool   // the server has confirmed all topics on a live connection
	LastError     error  // why the connection was lost, or not opened, the last time
}

// Subscription is a set of topics and the messages published to them. It may be
// used by many goroutines at once; a message goes to one of them.
type Subscription struct {
	feed     *feed
	overflow Overflow
	ready    chan struct{} // capacity 1: there is something for a consumer
	room     chan struct{} // capacity 1: something was taken
	over     chan struct{} // closed when the subscription has ended

	// Guarded by feed.mu.
	topics  map[Topic]*member
	missing int       // members that are lost
	since   time.Time // when the first of them was lost
	skipped int       // messages for members that are back before the others

	mu    sync.Mutex // after feed.mu
	queue queue
	err   error // why it has ended
	stats Stats // counters only
}

func newSubscription(f *feed, o Options) *Subscription {
	return &Subscription{
		feed:     f,
		overflow: o.Overflow,
		ready:    make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		over:     make(chan struct{}),
		topics:   map[Topic]*member{},
		queue:    queue{maxMessages: o.Messages, maxBytes: o.Bytes},
	}
}

// Next returns the next message or gap, waiting for it. When the subscription
// has ended it returns what is buffered, then why.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
	for {
		if ctx.Err() != nil {
			return Message{}, fmt.Errorf("redisx: subscription: %w", session.Ended(ctx))
		}
		s.mu.Lock()
		m, ok := s.queue.pop()
		if ok && m.Gap != nil {
			s.stats.Gaps++
		}
		err := s.err
		if err != nil || !s.queue.empty() {
			signal(s.ready) // for another consumer
		}
		s.mu.Unlock()
		if ok {
			signal(s.room)
			return m, nil
		}
		if err != nil {
			return Message{}, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
		}
	}
}

// offer gives the subscription a message that arrived for it. It reports false
// when there is no room and the policy is to wait, or to end.
func (s *Subscription) offer(t *Topic, channel, payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return true
	}
	size := sizeOf(channel, payload)
	if !s.queue.fits(size) {
		switch {
		case s.overflow == CloseOnOverflow:
			s.stats.Received++
			s.stats.Dropped++
			return false
		case size > s.queue.maxBytes || s.overflow == DropNewest:
			s.stats.Received++
			s.stats.Dropped++
			s.queue.miss(Gap{Dropped: 1, Since: time.Now()})
			signal(s.ready)
			return true
		case s.overflow == BlockOnOverflow:
			return false
		}
		for !s.queue.fits(size) {
			s.queue.dropFirst()
			s.stats.Dropped++
		}
	}
	s.stats.Received++
	s.queue.add(t, channel, payload)
	signal(s.ready)
	return true
}

// wait is offer for a message that found no room: it waits for it, or for the
// subscription's end.
func (s *Subscription) wait(t *Topic, channel, payload []byte) {
	for !s.offer(t, channel, payload) {
		select {
		case <-s.room:
		case <-s.over:
		}
	}
}

// miss puts a gap after what has arrived.
func (s *Subscription) miss(g Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.queue.miss(g)
		signal(s.ready)
	}
}

// end ends the subscription because of err. What is buffered stays readable.
func (s *Subscription) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.over)
		signal(s.ready)
	}
}

func (s *Subscription) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the subscription: who waits in Next returns with ErrClosed, and
// what is buffered is forgotten. It waits for nothing and may be called more
// than once.
func (s *Subscription) Close() error {
	s.end(ErrClosed)
	s.mu.Lock()
	s.queue.clear()
	s.mu.Unlock()
	s.feed.detach(s)
	return nil
}

// Add subscribes to more topics. It returns when the server has confirmed those
// that are new; if it returns an error, none of those was added.
func (s *Subscription) Add(ctx context.Context, topics []Topic) error {
	return s.feed.add(ctx, s, topics)
}

// Remove takes topics out of the subscription. No message of theirs arrives
// after it; buffered ones stay. It waits for nothing; what is not subscribed to
// is no harm.
func (s *Subscription) Remove(topics []Topic) { s.feed.remove(s, topics) }

// Stats returns the counters.
func (s *Subscription) Stats() Stats {
	connected, lastErr := s.feed.health(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Buffered, st.BufferedBytes = s.queue.messages, s.queue.bytes
	st.Connected, st.LastError = connected && s.err == nil, lastErr
	return st
}

// signal wakes who waits on ch, or who comes next.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
