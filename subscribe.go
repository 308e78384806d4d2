package redisx

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/redisx/redisx/internal/pubsub"
)

// Topics are names to subscribe to, of one or several kinds. Channels, Patterns
// and ShardChannels make them.
type Topics struct{ all []pubsub.Topic }

// Channels are channels by their names.
func Channels(names ...string) Topics { return topics(pubsub.Channel, names) }

// Patterns are all channels whose names match one of the globs, as the server
// understands them: ?, *, [a-z] and \ to quote. A message that matches a pattern
// and a channel of one subscription arrives twice, as the server sends it.
func Patterns(globs ...string) Topics { return topics(pubsub.Pattern, globs) }

// ShardChannels are channels of sharded Pub/Sub, for messages of SPublish. The
// server needs to be of version 7.0 or later.
func ShardChannels(names ...string) Topics { return topics(pubsub.Shard, names) }

func topics(k pubsub.Kind, names []string) Topics {
	all := make([]pubsub.Topic, len(names))
	for i, name := range names {
		all[i] = pubsub.Topic{Kind: k, Name: name}
	}
	return Topics{all}
}

func joinTopics(ts []Topics) []pubsub.Topic {
	var all []pubsub.Topic
	for _, t := range ts {
		all = append(all, t.all...)
	}
	return all
}

// SubscribeOption is what Subscribe takes: Topics, the size of the Buffer, and
// what is to happen when it is full.
type SubscribeOption interface{ subscribe(*subscribing) }

type subscribing struct {
	topics  []pubsub.Topic
	options pubsub.Options
}

func (t Topics) subscribe(s *subscribing) { s.topics = append(s.topics, t.all...) }

// Buffer bounds what a subscription holds for a consumer that is slow: messages,
// and bytes, which are those of the payloads (of a pattern's messages with the
// channel's name) and 64 for each message. 0 stands for the default: 1024
// messages, 16 MiB. More than 1 Mi messages or 64 MiB is an error.
func Buffer(messages, bytes int) SubscribeOption { return buffer{messages, bytes} }

type buffer struct{ messages, bytes int }

func (b buffer) subscribe(s *subscribing) { s.options.Messages, s.options.Bytes = b.messages, b.bytes }

// Overflow says what happens to a message when a subscription's buffer is full.
// It is an option of Subscribe; DropOldest is the default.
//
// A message that is larger than the buffer never fits: it is dropped, and the
// gap says so, unless the policy is CloseOnOverflow.
type Overflow uint8

// The policies.
const (
	// DropOldest drops the oldest message of the buffer: consumers that want
	// what is new.
	DropOldest = Overflow(pubsub.DropOldest)
	// DropNewest drops the message that arrives.
	DropNewest = Overflow(pubsub.DropNewest)
	// BlockOnOverflow stops reading until there is room. The subscription then
	// has a connection of its own, so that it holds up nobody else; at most 256
	// of a client do. The server buffers in the meantime, and ends the connection
	// at its client-output-buffer-limit: that is a gap like any other.
	BlockOnOverflow = Overflow(pubsub.BlockOnOverflow)
	// CloseOnOverflow ends the subscription: after what is buffered comes
	// ErrOverflow.
	CloseOnOverflow = Overflow(pubsub.CloseOnOverflow)
)

func (o Overflow) subscribe(s *subscribing) { s.options.Overflow = pubsub.Overflow(o) }

var (
	// ErrOverflow is what a subscription with CloseOnOverflow ends with.
	ErrOverflow = pubsub.ErrOverflow
	// ErrSubscriptionClosed is what Next returns after Close.
	ErrSubscriptionClosed = pubsub.ErrClosed
)

// Message is a published message or, if Gap is set, word of missing ones.
type Message struct {
	Channel string // where it was published
	Pattern string // the subscribed pattern that Channel matches, "" if Channel itself is subscribed to
	Payload string // to decode it without a copy, use strings.NewReader
	Gap     *Gap   // messages may be missing here; nothing else is set then
}

// Gap stands in a stream where messages are missing, or may be. All that came
// before it is complete up to Since, all that comes after it begins now: who
// keeps state by messages reads it anew from its source upon a gap.
type Gap struct {
	// Dropped is how many messages arrived and found no room in the buffer.
	Dropped int
	// Reconnected says that the connection was lost, or that the server ended
	// the subscription (as when a slot moves), and that all topics are
	// subscribed to again. What was published meanwhile is lost: how much, nobody
	// knows.
	Reconnected bool
	// Since is a time, by this machine's clock, before which nothing is missing:
	// when the first message was dropped, or when the lost connection was last
	// heard of. An idle connection is heard of every 10 s.
	Since time.Time
}

// SubscriptionStats is what has happened to a subscription so far.
type SubscriptionStats struct {
	Received      uint64 // messages that arrived for it, dropped ones included
	Dropped       uint64 // messages that arrived and were dropped
	Gaps          uint64 // gaps that its consumer was given
	Buffered      int    // messages that wait for the consumer
	BufferedBytes int    // their size, as Buffer counts it
	Connected     bool   // all is subscribed to, on a connection not known to be lost
	LastError     error  // why the connection was lost, or could not be opened, the last time
}

// Subscription is a live set of topics and the messages published to them. It
// survives lost connections. It may be used by many goroutines at once; each
// message goes to one of them. Close it when done with it.
type Subscription struct{ s *pubsub.Subscription }

// Subscribe returns a subscription to topics, when the server has confirmed it:
// whatever is published from now on is in its stream, or in one of its gaps.
//
//	sub, err := client.Subscribe(ctx, redisx.Channels("orders"), redisx.Patterns("news.*"))
//
// ctx bounds only the subscribing; without a deadline Config.Timeout does. All
// subscriptions of a client share one connection, which is opened for the first
// and closed after the last. A topic that several of them have is subscribed to
// once.
//
// A lost connection is opened again, with backoff, for as long as the
// subscription lives, and everything is subscribed to again; then comes a Gap. If
// the server then refuses a topic (NOPERM), the subscription ends with that
// error.
func (c *Client) Subscribe(ctx context.Context, options ...SubscribeOption) (*Subscription, error) {
	var o subscribing
	for _, option := range options {
		option.subscribe(&o)
	}
	s, err := c.pubsub.Subscribe(ctx, o.topics, o.options)
	if err != nil {
		return nil, err
	}
	return &Subscription{s}, nil
}

// Messages returns the stream of messages and gaps, for a range loop.
//
//	for m, err := range sub.Messages(ctx) {
//		switch {
//		case err != nil:
//			return err
//		case m.Gap != nil:
//			reload()
//		default:
//			handle(m.Channel, m.Payload)
//		}
//	}
//
// The loop ends after its only error: the context's when ctx ends, or why the
// subscription has ended. It ends without one when the subscription is closed.
// After a break, Messages goes on where it was.
func (s *Subscription) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := s.Next(ctx)
			if errors.Is(err, ErrSubscriptionClosed) {
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// Next returns the next message or gap, waiting for it as long as ctx lets it.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
	m, err := s.s.Next(ctx)
	return Message{Channel: m.Channel, Pattern: m.Pattern, Payload: m.Payload, Gap: (*Gap)(m.Gap)}, err
}

// Add subscribes to more topics. It returns when the server has confirmed those
// that are new, like Subscribe; if it fails, none of those is added. What the
// subscription has already is no harm.
func (s *Subscription) Add(ctx context.Context, more ...Topics) error {
	return s.s.Add(ctx, joinTopics(more))
}

// Remove takes topics out of the subscription. None of their messages arrives
// after it; those in the buffer stay. It does not wait for the server. What the
// subscription does not have is no harm, and one that has no topics left may be
// given others.
func (s *Subscription) Remove(topics ...Topics) { s.s.Remove(joinTopics(topics)) }

// Stats returns what has happened so far.
func (s *Subscription) Stats() SubscriptionStats { return SubscriptionStats(s.s.Stats()) }

// Close ends the subscription: loops over its messages end, and what is buffered
// is forgotten. It waits for nothing and may be called more than once.
func (s *Subscription) Close() error { return s.s.Close() }
