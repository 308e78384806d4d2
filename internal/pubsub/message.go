package pubsub

import "time"

// Kind says how a topic's name is understood.
type Kind uint8

// The kinds of topics.
const (
	Channel Kind = iota // a channel's name
	Pattern             // a glob that channels' names may match
	Shard               // a channel of sharded Pub/Sub
	kinds   = 3
)

// Topic is what can be subscribed to.
type Topic struct {
	Kind Kind
	Name string
}

// Message is one published message, or word of missing ones.
type Message struct {
	Channel string
	Pattern string // the pattern that Channel matched, "" if none was used
	Payload string
	Gap     *Gap // messages may be missing here; then nothing else is set
}

// Gap tells of messages that are missing in a stream, or may be.
type Gap struct {
	Dropped     int       // messages that had arrived and found no room
	Reconnected bool      // the topics had to be subscribed to again: an unknown number is missing
	Since       time.Time // nothing that arrived before is missing
}

func (g *Gap) merge(o Gap) {
	g.Dropped += o.Dropped
	g.Reconnected = g.Reconnected || o.Reconnected
	if g.Since.IsZero() || o.Since.Before(g.Since) {
		g.Since = o.Since
	}
}
