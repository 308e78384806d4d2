package pubsub

import (
	"time"

	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// link is one connection of a feed.
type link struct {
	feed   *feed
	conn   *session.Conn
	opened time.Time
	dead   chan struct{} // closed when the connection has died
	err    error         // why, set before
}

// push takes a push frame. It is called by the reader of the connection, so it
// waits only where the reader is to be held up.
func (l *link) push(v resp3.View) {
	e := v.Cursor()
	word, _ := e.Next()
	name, ok := e.Next()
	if !ok || !isText(word) || !isText(name) {
		return
	}
	switch string(word.Bytes()) {
	case "message":
		l.message(Channel, name, resp3.View{}, e)
	case "smessage":
		l.message(Shard, name, resp3.View{}, e)
	case "pmessage":
		if channel, ok := e.Next(); ok && isText(channel) {
			l.message(Pattern, name, channel, e)
		}
	case "subscribe":
		l.confirmed(Channel, name)
	case "psubscribe":
		l.confirmed(Pattern, name)
	case "ssubscribe":
		l.confirmed(Shard, name)
	case "unsubscribe":
		l.ended(Channel, name)
	case "punsubscribe":
		l.ended(Pattern, name)
	case "sunsubscribe":
		l.ended(Shard, name)
	}
}

func isText(v resp3.View) bool {
	switch v.Kind() {
	case resp3.BulkString, resp3.SimpleString, resp3.Verbatim:
		return true
	}
	return false
}

// find returns the entry of a name that the server sent on l, if there is one
// and l is the feed's connection. It is called with mu held.
func (l *link) find(k Kind, name resp3.View) *entry {
	if l.feed.link != l {
		return nil
	}
	return l.feed.entries[k][string(name.Bytes())]
}

// message hands a message to the live members of its topic. channel is given
// for patterns only.
func (l *link) message(k Kind, topic, channel resp3.View, rest resp3.Cursor) {
	payload, ok := rest.Next()
	if !ok || !isText(payload) {
		return
	}
	name, body := channel.Bytes(), payload.Bytes()
	var over []*Subscription // that cannot take it
	f := l.feed
	f.mu.Lock()
	e := l.find(k, topic)
	if e != nil {
		for _, m := range e.members {
			switch m.state {
			case live:
				if !m.sub.offer(&e.topic, name, body) {
					over = append(over, m.sub)
				}
			case back:
				m.sub.skip()
			}
		}
	}
	if !f.block {
		for _, s := range over {
			s.end(ErrOverflow)
			f.forget(s)
		}
	}
	f.mu.Unlock()
	if f.block {
		for _, s := range over {
			s.wait(&e.topic, name, body)
		}
	}
}

// skip counts a message that falls into the gap which is about to be told.
func (s *Subscription) skip() {
	s.skipped++
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Received++
	s.stats.Dropped++
}

// confirmed takes the word of the server that it has begun a subscription.
func (l *link) confirmed(k Kind, name resp3.View) {
	f := l.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	e := l.find(k, name)
	if e == nil || e.state != subscribing {
		return
	}
	e.state, e.alone = on, false
	for _, m := range e.members {
		switch m.state {
		case joining:
			m.state = live
			for _, j := range m.joins {
				if j.left--; j.left == 0 {
					close(j.done)
				}
			}
			m.joins = nil
		case lost:
			m.state = back
			f.found(m.sub)
		}
	}
	f.review(e)
}

// ended takes the word of the server that a subscription is over: because it
// was told to, or, as when a slot moves, unasked.
func (l *link) ended(k Kind, name resp3.View) {
	f := l.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	e := l.find(k, name)
	if e == nil || e.state != on && e.state != unsubscribing {
		return
	}
	if e.state == on {
		f.lastErr = errUnplanned
	}
	now := time.Now()
	for _, m := range e.members {
		m.lose(now) // none, if it was told to
	}
	e.state = off
	f.review(e)
}
