package keyspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/pubsub"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker is a RESP2 server in memory that knows SUBSCRIBE, and answers CONFIG
// GET as a Doer.
type broker struct {
	mu      sync.Mutex
	letters string        // notify-keyspace-events
	refuse  error         // of CONFIG GET
	slow    time.Duration // CONFIG GET takes that long
	asked   int           // CONFIG GET that came

	down     bool
	held     bool   // confirmations are kept back
	noEntry  string // SUBSCRIBE is refused with it
	kept     []func()
	conns    map[*brokerConn]bool
	commands []string // the subscribing ones that came
	dials    int      // one is the node's own
}

type brokerConn struct {
	nc     *simnet.Conn
	topics map[string]bool
}

func (b *broker) Do(ctx context.Context, _ command.Request) (command.Reply, error) {
	b.mu.Lock()
	b.asked++
	letters, refuse, slow := b.letters, b.refuse, b.slow
	b.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return command.Reply{}, ctx.Err()
	}
	if refuse != nil {
		return command.Reply{}, refuse
	}
	frame := resp3.AppendBulk(resp3.AppendBulk([]byte("*2\r\n"), name), letters)
	v := resp3.NewView(frame)
	return command.NewReply(&v, nil), nil
}

func (b *broker) dial(context.Context) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials++
	if b.down {
		return nil, errors.New("connection refused")
	}
	client, server := simnet.Pipe(simnet.Options{Latency: time.Millisecond})
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
		b.mu.Lock()
		b.answer(c, words)
		b.mu.Unlock()
	}
}

// answer is called with mu held.
func (b *broker) answer(c *brokerConn, words []string) {
	switch {
	case words[0] == "PING" && len(c.topics) > 0:
		c.say("*2\r\n$4\r\npong\r\n$0\r\n\r\n")
	case words[0] == "PING":
		c.say("+PONG\r\n")
	case words[0] == "CLIENT" && words[1] == "ID":
		c.say(":7\r\n")
	case !strings.HasSuffix(words[0], "SUBSCRIBE"):
		c.say("+OK\r\n")
	case words[0] == "SUBSCRIBE" && b.noEntry != "":
		b.commands = append(b.commands, strings.Join(words, " "))
		c.say("-" + b.noEntry + "\r\n")
	default:
		b.commands = append(b.commands, strings.Join(words, " "))
		confirm := func() { c.confirm(words) }
		if b.held {
			b.kept = append(b.kept, confirm)
			return
		}
		confirm()
	}
}

func (c *brokerConn) say(s string) { c.nc.Write([]byte(s)) }

func (c *brokerConn) confirm(words []string) {
	for _, topic := range words[1:] {
		if words[0] == "SUBSCRIBE" {
			c.topics[topic] = true
		} else {
			delete(c.topics, topic)
		}
		frame := resp3.AppendBulk([]byte("*3\r\n"), strings.ToLower(words[0]))
		frame = resp3.AppendBulk(frame, topic)
		c.say(string(frame) + fmt.Sprintf(":%d\r\n", len(c.topics)))
	}
}

// set changes the broker.
func (b *broker) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// release confirms what was held back, and holds no more.
func (b *broker) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, confirm := range b.kept {
		confirm()
	}
	b.kept, b.held = nil, false
}

// event publishes one event of a key of database 3. It returns how many
// connections it went to.
func (b *broker) event(key, event string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	channel := "__keyspace@3__:" + key
	for c := range b.conns {
		if c.topics[channel] {
			frame := resp3.AppendBulk([]byte("*3\r\n"), "message")
			c.say(string(resp3.AppendBulk(resp3.AppendBulk(frame, channel), event)))
			n++
		}
	}
	return n
}

// say sends raw bytes to all who subscribed to anything.
func (b *broker) say(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if len(c.topics) > 0 {
			c.say(s)
		}
	}
}

// kick ends all connections.
func (b *broker) kick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.nc.Close()
	}
}

// sent returns the subscribing commands since the last time.
func (b *broker) sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	sent := b.commands
	b.commands = nil
	return sent
}

// topics returns what is subscribed to, and on how many connections.
func (b *broker) topics() (topics, conns int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		topics += len(c.topics)
		if len(c.topics) > 0 {
			conns++
		}
	}
	return topics, conns
}

func (b *broker) questions() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// inBubble runs f with a hub whose server publishes everything.
func inBubble(t *testing.T, f func(t *testing.T, h *Hub, b *broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &broker{letters: "AKE", conns: map[*brokerConn]bool{}}
		cfg := session.Config{Node: "broker:1"}
		node := pool.New(pool.Config{Dial: b.dial, Session: cfg, Hello: session.Hello{RESP2: true}})
		ps := pubsub.New(node, cfg)
		h := New(b, ps, 3)
		f(t, h, b)
		h.Close()
		ps.Close()
		node.Close()
		time.Sleep(time.Second) // the broker learns of it
		synctest.Wait()
		if h.n != 0 || len(h.keys) != 0 || h.bytes != 0 {
			t.Errorf("left: %d watches of %d keys, %d bytes", h.n, len(h.keys), h.bytes)
		}
	})
}

// watching returns a watch that must be had.
func watching(t *testing.T, h *Hub, key string) command.Watch {
	t.Helper()
	w, err := h.Watch(t.Context(), key, "g$e")
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	return w
}

// told reports whether a watch was told, once all that is under way has
// arrived.
func told(w command.Watch) bool {
	time.Sleep(100 * time.Millisecond)
	select {
	case <-w.Changed():
		return true
	default:
		return false
	}
}
