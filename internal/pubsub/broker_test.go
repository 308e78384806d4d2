package pubsub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	bg         = context.Background()
	errRefused = errors.New("connection refused")
)

// broker is a server in memory that knows enough of Pub/Sub.
type broker struct {
	resp2 bool

	mu     sync.Mutex
	down   bool
	mute   bool              // subscribing commands are not answered
	silent string            // nor are those with this name among their arguments
	refuse map[string]string // the error for commands with this name among their arguments
	conns  map[*brokerConn]bool
	log    []string // the subscribing commands that came
	dials  atomic.Int32
}

type brokerConn struct {
	nc     *simnet.Conn
	topics map[string]bool // "subscribe a"
}

func (b *broker) dial(context.Context) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials.Add(1)
	if b.down {
		return nil, errRefused
	}
	client, server := simnet.Pipe(simnet.Options{})
	c := &brokerConn{nc: server, topics: map[string]bool{}}
	b.conns[c] = true
	go b.serve(c)
	return client, nil
}

func (b *broker) serve(c *brokerConn) {
	defer func() {
		c.nc.Close()
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.conns, c)
	}()
	rd := resp3.NewReader(c.nc, resp3.Limits{})
	for {
		v, err := rd.Read()
		if err != nil {
			return
		}
		var words []string
		for e := range v.Elems() {
			words = append(words, e.Text())
		}
		if reply := b.answer(c, words); reply != "" {
			if _, err := c.nc.Write([]byte(reply)); err != nil {
				return
			}
		}
	}
}

func (b *broker) answer(c *brokerConn, words []string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch words[0] {
	case "HELLO":
		if b.resp2 {
			return "-ERR unknown command 'HELLO'\r\n"
		}
		return "%1\r\n+proto\r\n:3\r\n"
	case "CLIENT":
		if words[1] == "ID" {
			return ":7\r\n"
		}
	case "PING":
		if b.resp2 && len(c.topics) > 0 {
			return "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
		}
		return "+PONG\r\n"
	}
	if !strings.HasSuffix(words[0], "SUBSCRIBE") {
		return "+OK\r\n"
	}
	slices.Sort(words[1:])
	b.log = append(b.log, strings.Join(words, " "))
	if b.mute || slices.Contains(words, b.silent) {
		return ""
	}
	for _, name := range words[1:] {
		if e := b.refuse[name]; e != "" {
			return "-" + e + "\r\n"
		}
	}
	var out strings.Builder
	word := strings.ToLower(words[0])
	for _, name := range words[1:] {
		if base, ok := strings.CutSuffix(word, "unsubscribe"); ok {
			delete(c.topics, base+"subscribe "+name)
		} else {
			c.topics[word+" "+name] = true
		}
		fmt.Fprintf(&out, "%s3\r\n+%s\r\n$%d\r\n%s\r\n:%d\r\n", b.mark(), word, len(name), name, len(c.topics))
	}
	return out.String()
}

func (b *broker) mark() string {
	if b.resp2 {
		return "*"
	}
	return ">"
}

// publish sends a message to all who subscribed to channel, or to prefix* if
// channel begins with it, and returns how many got it.
func (b *broker) publish(channel, payload string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if c.topics["subscribe "+channel] {
			b.put(c, "message", channel, payload)
			n++
		}
		if c.topics["ssubscribe "+channel] {
			b.put(c, "smessage", channel, payload)
			n++
		}
		for t := range c.topics {
			if pattern, ok := strings.CutPrefix(t, "psubscribe "); ok && strings.HasPrefix(channel, strings.TrimSuffix(pattern, "*")) {
				b.put(c, "pmessage", pattern, channel, payload)
				n++
			}
		}
	}
	return n
}

func (b *broker) put(c *brokerConn, words ...string) {
	frame := []byte(fmt.Sprintf("%s%d\r\n", b.mark(), len(words)))
	for _, w := range words {
		frame = resp3.AppendBulk(frame, w)
	}
	c.nc.Write(frame)
}

// say sends raw bytes to all connections that subscribed to anything.
func (b *broker) say(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if len(c.topics) > 0 {
			c.nc.Write([]byte(s))
		}
	}
}

// set changes the broker.
func (b *broker) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// kick closes the connections that subscribed to anything.
func (b *broker) kick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if len(c.topics) > 0 {
			c.nc.Close()
		}
	}
}

// subscribers returns how many connections subscribed to something.
func (b *broker) subscribers() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if len(c.topics) > 0 {
			n++
		}
	}
	return n
}

// sent returns the subscribing commands since the last time.
func (b *broker) sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	log := b.log
	b.log = nil
	return log
}

// world is a hub and its broker in virtual time.
type world struct {
	*testing.T
	*broker
	hub *Hub
}

// each runs f with RESP3 and RESP2.
func each(t *testing.T, f func(w *world)) {
	t.Helper()
	for _, resp2 := range []bool{false, true} {
		name := "RESP3"
		if resp2 {
			name = "RESP2"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &broker{resp2: resp2, refuse: map[string]string{}, conns: map[*brokerConn]bool{}}
				cfg := session.Config{Node: "broker:1"}
				node := pool.New(pool.Config{Dial: b.dial, Session: cfg, Hello: session.Hello{RESP2: resp2}})
				w := &world{t, b, New(node, cfg)}
				f(w)
				w.hub.Close()
				node.Close()
				synctest.Wait()
				w.empty()
			})
		})
	}
}

// empty checks that the hub has let go of everything.
func (w *world) empty() {
	w.Helper()
	f := w.hub.shared
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count != 0 || f.members != 0 || len(f.todo) != 0 || len(f.subs) != 0 || f.keeping || len(f.entries[0])+len(f.entries[1])+len(f.entries[2]) != 0 {
		w.Errorf("left: %d entries, %d members, %d to do, %d subscriptions, keeping %v", f.count, f.members, len(f.todo), len(f.subs), f.keeping)
	}
	if len(w.hub.own) != 0 {
		w.Errorf("left: %d feeds", len(w.hub.own))
	}
}

func channels(names ...string) []Topic { return topics(Channel, names) }
func patterns(names ...string) []Topic { return topics(Pattern, names) }
func shards(names ...string) []Topic   { return topics(Shard, names) }

func topics(k Kind, names []string) (all []Topic) {
	for _, n := range names {
		all = append(all, Topic{k, n})
	}
	return all
}

func (w *world) subscribe(ts []Topic) *Subscription { return w.with(Options{}, ts) }

func (w *world) with(o Options, ts []Topic) *Subscription {
	w.Helper()
	s, err := w.hub.Subscribe(bg, ts, o)
	if err != nil {
		w.Fatalf("Subscribe: %v", err)
	}
	return s
}

// text shows a message as the tests write it: "channel:payload",
// "pattern>channel:payload" or "gap 3 reconnected".
func text(m Message) string {
	switch {
	case m.Gap != nil:
		s := fmt.Sprintf("gap %d", m.Gap.Dropped)
		if m.Gap.Reconnected {
			s += " reconnected"
		}
		return s
	case m.Pattern != "":
		return m.Pattern + ">" + m.Channel + ":" + m.Payload
	}
	return m.Channel + ":" + m.Payload
}

// want reads exactly these from s, and checks that nothing else is there.
func (w *world) want(s *Subscription, items ...string) {
	w.Helper()
	synctest.Wait()
	var got []string
	ctx, cancel := context.WithTimeout(bg, time.Nanosecond)
	defer cancel()
	for {
		m, err := s.Next(ctx)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("Next: %v", err)
			}
			break
		}
		got = append(got, text(m))
	}
	if !slices.Equal(got, items) {
		w.Errorf("got %q, want %q", got, items)
	}
}

// wantSent checks the subscribing commands that the broker got.
func (w *world) wantSent(commands ...string) {
	w.Helper()
	synctest.Wait()
	if got := w.sent(); !slices.Equal(got, commands) {
		w.Errorf("the server was sent %q, want %q", got, commands)
	}
}
