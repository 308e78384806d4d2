package pubsub

import "time"

// queue is a bounded FIFO of messages and the gaps between them. Two gaps in it
// never meet: they are one. Messages lie in it as bytes, so that those which are
// dropped leave no garbage.
type queue struct {
	maxMessages, maxBytes int

	lead     *Gap // before the first of ring
	ring     []item
	head, n  int // the items are ring[head], …, n of them, around its end
	messages int // items that are not gaps
	bytes    int // their size
	texts    rope
}

// item is one message, whose texts are in the rope, or a gap.
type item struct {
	topic   *Topic
	channel uint32 // bytes of the channel's name, if topic is a pattern
	payload uint32 // bytes of the payload
	gap     *Gap
}

const (
	// overhead is what a message takes beside its texts: an item, in a ring
	// that may be twice as large as needed.
	overhead = 64
	// keepRing is how many items of memory an empty queue keeps.
	keepRing = 128
)

// sizeOf returns what a message counts for.
func sizeOf(channel, payload []byte) int { return overhead + len(channel) + len(payload) }

func (it *item) size() int { return overhead + int(it.channel) + int(it.payload) }

func (q *queue) empty() bool { return q.n == 0 && q.lead == nil }

// fits reports whether a message of that size has room.
func (q *queue) fits(size int) bool {
	return q.messages < q.maxMessages && q.bytes+size <= q.maxBytes
}

// add appends a message that fits. channel is empty unless t is a pattern.
func (q *queue) add(t *Topic, channel, payload []byte) {
	q.texts.write(channel)
	q.texts.write(payload)
	q.append(item{topic: t, channel: uint32(len(channel)), payload: uint32(len(payload))})
	q.messages++
	q.bytes += sizeOf(channel, payload)
}

// miss notes that messages are missing after the last item.
func (q *queue) miss(g Gap) {
	last := q.lead
	if q.n > 0 {
		last = q.at(q.n - 1).gap
	}
	switch {
	case last != nil:
		last.merge(g)
	case q.n == 0:
		q.lead = &g
	default:
		q.append(item{gap: &g})
	}
}

// dropFirst gives up the oldest message, and notes the gap.
func (q *queue) dropFirst() {
	if q.lead == nil {
		q.lead = &Gap{Since: time.Now()}
	}
	for q.n > 0 {
		it := q.take()
		if it.gap == nil {
			q.texts.skip(int(it.channel) + int(it.payload))
			q.lead.Dropped++
			break
		}
		q.lead.merge(*it.gap) // it lies before the message that goes
	}
	for q.n > 0 && q.at(0).gap != nil {
		q.lead.merge(*q.take().gap)
	}
}

// pop returns the first item.
func (q *queue) pop() (Message, bool) {
	if g := q.lead; g != nil {
		q.lead = nil
		return Message{Gap: g}, true
	}
	if q.n == 0 {
		return Message{}, false
	}
	it := q.take()
	if it.gap != nil {
		return Message{Gap: it.gap}, true
	}
	m := Message{Channel: it.topic.Name}
	if it.topic.Kind == Pattern {
		m.Pattern, m.Channel = it.topic.Name, q.texts.text(int(it.channel))
	}
	m.Payload = q.texts.text(int(it.payload))
	return m, true
}

// clear forgets everything.
func (q *queue) clear() {
	*q = queue{maxMessages: q.maxMessages, maxBytes: q.maxBytes}
}

func (q *queue) at(i int) *item {
	if i += q.head; i >= len(q.ring) {
		i -= len(q.ring)
	}
	return &q.ring[i]
}

func (q *queue) append(it item) {
	if q.n == len(q.ring) {
		ring := make([]item, max(16, 2*len(q.ring)))
		for i := range q.n {
			ring[i] = *q.at(i)
		}
		q.ring, q.head = ring, 0
	}
	q.n++
	*q.at(q.n - 1) = it
}

func (q *queue) take() item {
	first := q.at(0)
	it := *first
	*first = item{} // it keeps a gap, and a topic, alive
	if q.head++; q.head == len(q.ring) {
		q.head = 0
	}
	q.n--
	if it.gap == nil {
		q.messages--
		q.bytes -= it.size()
	}
	if q.n == 0 && len(q.ring) > keepRing {
		q.ring, q.head = nil, 0
	}
	return it
}
