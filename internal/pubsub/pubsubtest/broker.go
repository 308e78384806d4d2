package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

// ErrRefused is what a dial gets of a Broker that is down.
var ErrRefused = errors.New("connection refused")

// Broker is the server. Its fields are set before it is used, or within Set.
type Broker struct {
	RESP2   bool
	Latency time.Duration

	Down   bool              // nobody can connect
	Held   bool              // answers to subscribing commands are kept back, until Release
	Silent string            // commands with this name among their arguments are never answered
	Refuse map[string]string // the error for commands with this name among their arguments

	wg sync.WaitGroup // one for each connection

	mu    sync.Mutex
	conns map[*conn]bool
	log   []string // the subscribing commands that came
	kept  []func() // what Release answers
	dials int
}

type conn struct {
	nc     *simnet.Conn
	topics map[string]bool // "subscribe a"
}

// Dial connects a client.
func (b *Broker) Dial(context.Context) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials++
	if b.Down {
		return nil, ErrRefused
	}
	client, server := simnet.Pipe(simnet.Options{Latency: b.Latency})
	c := &conn{nc: server, topics: map[string]bool{}}
	if b.conns == nil {
		b.conns = map[*conn]bool{}
	}
	b.conns[c] = true
	b.wg.Go(func() { b.serve(c) })
	return client, nil
}

// Close ends all connections and waits for what serves them.
func (b *Broker) Close() {
	b.close(func(*conn) bool { return true })
	b.wg.Wait()
}

func (b *Broker) serve(c *conn) {
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
		if len(words) > 0 {
			b.answer(c, words)
		}
	}
}

func (b *Broker) answer(c *conn, words []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case words[0] == "HELLO" && b.RESP2:
		c.say("-ERR unknown command 'HELLO'\r\n")
	case words[0] == "HELLO":
		c.say("%1\r\n+proto\r\n:3\r\n")
	case words[0] == "CLIENT" && words[1] == "ID":
		c.say(":7\r\n")
	case words[0] == "PING" && b.RESP2 && len(c.topics) > 0:
		c.say("*2\r\n$4\r\npong\r\n$0\r\n\r\n")
	case words[0] == "PING":
		c.say("+PONG\r\n")
	case strings.HasSuffix(words[0], "SUBSCRIBE"):
		b.subscribe(c, words)
	default:
		c.say("+OK\r\n")
	}
}

// subscribe answers a subscribing command. It is called with mu held, as all
// below.
func (b *Broker) subscribe(c *conn, words []string) {
	names := words[1:]
	slices.Sort(names)
	b.log = append(b.log, strings.Join(words, " "))
	for _, name := range names {
		if text := b.Refuse[name]; text != "" {
			c.say("-" + text + "\r\n")
			return
		}
	}
	switch confirm := func() { b.confirm(c, strings.ToLower(words[0]), names) }; {
	case slices.Contains(names, b.Silent):
	case b.Held:
		b.kept = append(b.kept, confirm)
	default:
		confirm()
	}
}

func (b *Broker) confirm(c *conn, word string, names []string) {
	var out strings.Builder
	for _, name := range names {
		if kind, ok := strings.CutSuffix(word, "unsubscribe"); ok {
			delete(c.topics, kind+"subscribe "+name)
		} else {
			c.topics[word+" "+name] = true
		}
		fmt.Fprintf(&out, "%s3\r\n+%s\r\n$%d\r\n%s\r\n:%d\r\n", b.Mark(), word, len(name), name, len(c.topics))
	}
	c.say(out.String())
}

// say does not wait for the client: a pipe of simnet has room.
func (c *conn) say(s string) { _, _ = c.nc.Write([]byte(s)) }

// Mark is what a push begins with.
func (b *Broker) Mark() string {
	if b.RESP2 {
		return "*"
	}
	return ">"
}

// Set changes the fields.
func (b *Broker) Set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// Release answers what was held back, and holds no more.
func (b *Broker) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, confirm := range b.kept {
		confirm()
	}
	b.kept, b.Held = nil, false
}

// Publish sends a message to all who subscribed to channel, or to prefix* if
// channel begins with it. It returns how many got it.
func (b *Broker) Publish(channel, payload string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	put := func(c *conn, words ...string) {
		frame := []byte(fmt.Sprintf("%s%d\r\n", b.Mark(), len(words)))
		for _, w := range words {
			frame = resp3.AppendBulk(frame, w)
		}
		c.say(string(frame))
		n++
	}
	for c := range b.conns {
		for topic := range c.topics {
			switch kind, name, _ := strings.Cut(topic, " "); {
			case kind == "subscribe" && name == channel:
				put(c, "message", channel, payload)
			case kind == "ssubscribe" && name == channel:
				put(c, "smessage", channel, payload)
			case kind == "psubscribe" && strings.HasPrefix(channel, strings.TrimSuffix(name, "*")):
				put(c, "pmessage", name, channel, payload)
			}
		}
	}
	return n
}

// Say sends raw bytes to all connections that subscribed to anything.
func (b *Broker) Say(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if len(c.topics) > 0 {
			c.say(s)
		}
	}
}

// Forget unsubscribes everybody from a topic such as "ssubscribe a", and tells
// nobody.
func (b *Broker) Forget(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		delete(c.topics, topic)
	}
}

// Kick closes the connections that subscribed to anything.
func (b *Broker) Kick() {
	b.close(func(c *conn) bool { return len(c.topics) > 0 })
}

func (b *Broker) close(which func(c *conn) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if which(c) {
			c.nc.Close()
		}
	}
}

// Sent returns the subscribing commands since the last time, the names of each
// in order.
func (b *Broker) Sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	log := b.log
	b.log = nil
	return log
}

// Topics returns what is subscribed to, and on how many connections.
func (b *Broker) Topics() (topics, conns int) {
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

// Dials returns how often somebody tried to connect.
func (b *Broker) Dials() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dials
}
