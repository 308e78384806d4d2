package pubsub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

var long = os.Getenv("REDISX_LONG") == "1"

// dialled returns a hub of a real server, and a node for other commands.
func dialled(t *testing.T, addr string, hello session.Hello) (*Hub, *pool.Node) {
	t.Helper()
	cfg := session.Config{Node: addr}
	node := pool.New(pool.Config{
		Dial:    func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) },
		Session: cfg, Hello: hello,
	})
	h := New(node, cfg)
	t.Cleanup(func() { h.Close(); node.Close() })
	return h, node
}

func protocols(t *testing.T, f func(t *testing.T, hello session.Hello)) {
	t.Run("RESP3", func(t *testing.T) { f(t, session.Hello{}) })
	t.Run("RESP2", func(t *testing.T) { f(t, session.Hello{RESP2: true}) })
}

// run runs a command and returns its reply.
func run(t *testing.T, node *pool.Node, name string, args ...any) resp3.Value {
	t.Helper()
	v, err := command.Do(bg, doer{node}, command.Untyped(name, args...))
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return v
}

type doer struct{ node *pool.Node }

func (d doer) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return d.node.Do(ctx, &r)
}

// publisher publishes ever rising numbers on each channel.
type publisher struct {
	node     *pool.Node
	channels []string
	next     map[string]int
}

func (p *publisher) burst(t *testing.T, n int) {
	spec := command.NewSpec(command.Spec{Name: "PUBLISH", Arity: 3})
	sspec := command.NewSpec(command.Spec{Name: "SPUBLISH", Arity: 3})
	var rs []command.Request
	for range n {
		for _, c := range p.channels {
			p.next[c]++
			s := spec
			if c[0] == 's' {
				s = sspec
			}
			rs = append(rs, command.NewRequest(s, command.Str(c), command.Int(int64(p.next[c]))))
		}
	}
	err := p.node.DoBatch(bg, rs, func(_ int, _ resp3.View, err error) {
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// lastNumber is published at the end.
const lastNumber = "1000000000"

// checker reads a subscription and checks that numbers rise, and that none is
// missing but at a gap.
type checker struct {
	name    string
	last    map[string]int
	gap     map[string]bool // since the last message of the channel
	seen    int
	gaps    int
	dropped int
}

func (c *checker) check(m Message) error {
	if m.Gap != nil {
		c.gaps++
		c.dropped += m.Gap.Dropped
		for ch := range c.last {
			c.gap[ch] = true
		}
		return nil
	}
	c.seen++
	ch := m.Pattern + ">" + m.Channel
	n, err := strconv.Atoi(m.Payload)
	if err != nil {
		return err
	}
	last, known := c.last[ch]
	switch {
	case n <= last:
		return fmt.Errorf("%s: %s has %d after %d", c.name, ch, n, last)
	case known && n != last+1 && !c.gap[ch]:
		return fmt.Errorf("%s: %s has %d after %d, and no gap between", c.name, ch, n, last)
	}
	c.last[ch], c.gap[ch] = n, false
	return nil
}

// TestEveryMissingMessageIsPrecededByAGap kills connections while numbers are
// published, and does not know how the hub works: it only reads streams.
func TestEveryMissingMessageIsPrecededByAGap(t *testing.T) {
	server := serverstest.Start(t)
	kills := 200
	if long {
		kills = 5000
	}
	protocols(t, func(t *testing.T, hello session.Hello) {
		h, node := dialled(t, server.Addr, hello)
		h.backoff = func(int) time.Duration { return time.Millisecond }
		p := &publisher{node, []string{"a", "b", "s"}, map[string]int{}}
		all := append(append(channels("a", "b"), patterns("[a]*")...), shards("s")...)
		var wg sync.WaitGroup
		var checkers []*checker
		for _, s := range []struct {
			name   string
			o      Options
			topics []Topic
			slow   time.Duration
		}{
			{"roomy", Options{Messages: maxMessages, Bytes: maxBytes}, all, 0},
			{"oldest", Options{Messages: 5}, all, 20 * time.Microsecond},
			{"newest", Options{Messages: 5, Overflow: DropNewest}, all, 20 * time.Microsecond},
			{"block", Options{Messages: 5, Overflow: BlockOnOverflow}, all, 0},
			{"part", Options{Messages: maxMessages, Bytes: maxBytes}, channels("b"), 0},
		} {
			sub, err := h.Subscribe(bg, s.topics, s.o)
			if err != nil {
				t.Fatal(err)
			}
			c := &checker{name: s.name, last: map[string]int{}, gap: map[string]bool{}}
			checkers = append(checkers, c)
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(bg, 5*time.Minute)
				defer cancel()
				for {
					m, err := sub.Next(ctx)
					if err == nil {
						err = c.check(m)
					}
					if err != nil {
						t.Error(err)
						return
					}
					if m.Channel == "b" && m.Payload == lastNumber {
						return
					}
					if s.slow > 0 {
						time.Sleep(s.slow)
					}
				}
			})
		}
		killed := 0
		for deadline := time.Now().Add(5 * time.Minute); killed < kills && time.Now().Before(deadline); {
			for range 1 + rand.IntN(5) { // in some of them all is subscribed to again
				p.burst(t, 20)
				time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
			}
			n, _ := run(t, node, "CLIENT", "KILL", "TYPE", "pubsub").Int()
			killed += int(n)
		}
		time.Sleep(50 * time.Millisecond)
		end := make(chan struct{})
		go func() { wg.Wait(); close(end) }()
		for over := false; !over; { // said until all have heard it
			run(t, node, "PUBLISH", "b", lastNumber)
			select {
			case <-end:
				over = true
			case <-time.After(100 * time.Millisecond):
			}
		}
		for _, c := range checkers {
			t.Logf("%d kills: %-6s %6d messages, %4d gaps, %6d known to be dropped", killed, c.name, c.seen, c.gaps, c.dropped)
			if c.gaps == 0 || c.seen == 0 {
				t.Errorf("%s saw %d gaps and %d messages", c.name, c.gaps, c.seen)
			}
		}
	})
}

func TestRacingSubscribersReceiveWhatIsPublishedAfterwards(t *testing.T) {
	server := serverstest.Start(t)
	rounds := 10
	if long {
		rounds = 200
	}
	protocols(t, func(t *testing.T, hello session.Hello) {
		h, node := dialled(t, server.Addr, hello)
		ctx, cancel := context.WithTimeout(bg, 5*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for g := range 100 {
			wg.Go(func() {
				for i := range rounds {
					one, two := fmt.Sprint("c", (g+i)%5), fmt.Sprint("c", (g*7+i)%5)
					ts := channels(one)
					if i%3 == 1 {
						ts = patterns(one + "*")
					}
					s, err := h.Subscribe(ctx, ts, Options{})
					if err != nil {
						t.Error(err)
						return
					}
					receives(ctx, t, s, node, one, fmt.Sprintf("%d/%d", g, i))
					if err := s.Add(ctx, channels(two)); err != nil {
						t.Error(err)
					}
					s.Remove(append(ts, channels("unknown")...))
					if two != one || i%3 == 1 {
						receives(ctx, t, s, node, two, fmt.Sprintf("%d/%d/2", g, i))
					}
					s.Close()
				}
			})
		}
		wg.Wait()
		deadline := time.Now().Add(5 * time.Second)
		for list := "x"; list != ""; {
			list = run(t, node, "CLIENT", "LIST", "TYPE", "pubsub").Text()
			if time.Now().After(deadline) {
				t.Fatalf("connections are left: %s", list)
			}
		}
	})
}

// receives publishes payload and fails unless s gets it.
func receives(ctx context.Context, t *testing.T, s *Subscription, node *pool.Node, channel, payload string) {
	t.Helper()
	run(t, node, "PUBLISH", channel, payload)
	for {
		m, err := s.Next(ctx)
		if err != nil || m.Gap != nil {
			t.Errorf("%s did not arrive: %q, %v", payload, text(m), err)
			return
		}
		if m.Payload == payload {
			return
		}
	}
}

func TestAnACLThatChangesEndsWhatItForbids(t *testing.T) {
	server := serverstest.Start(t)
	_, admin := dialled(t, server.Addr, session.Hello{})
	protocols(t, func(t *testing.T, hello session.Hello) {
		run(t, admin, "ACL", "SETUSER", "u", "reset", "on", ">p", "+@all", "~*", "&a", "&b")
		hello.Username, hello.Password = "u", "p"
		h, node := dialled(t, server.Addr, hello)
		ctx, cancel := context.WithTimeout(bg, 30*time.Second)
		defer cancel()
		var refused resp3.ServerError
		if _, err := h.Subscribe(ctx, channels("a", "c"), Options{}); !errors.As(err, &refused) || refused.Code() != "NOPERM" {
			t.Errorf("error %v", err)
		}
		a, err := h.Subscribe(ctx, channels("a"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := h.Subscribe(ctx, channels("b"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		run(t, admin, "ACL", "SETUSER", "u", "resetchannels", "&a")
		if m, err := b.Next(ctx); !errors.As(err, &refused) || refused.Code() != "NOPERM" {
			t.Errorf("%q, %v", text(m), err)
		}
		if m, err := a.Next(ctx); err != nil || m.Gap == nil {
			t.Errorf("%q, %v", text(m), err)
		}
		receives(ctx, t, a, node, "a", "still there")
	})
}

func TestARestartedServerIsSubscribedToAgain(t *testing.T) {
	server := serverstest.Start(t)
	h, node := dialled(t, server.Addr, session.Hello{})
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	defer cancel()
	a, err := h.Subscribe(ctx, channels("a"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Subscribe(ctx, channels("a"), Options{Overflow: BlockOnOverflow})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Subscription{a, b} {
		if m, err := s.Next(ctx); err != nil || m.Gap == nil || !m.Gap.Reconnected {
			t.Errorf("%q, %v", text(m), err)
		}
		receives(ctx, t, s, node, "a", "back")
	}
}

func TestAServerThatCutsABlockedSubscriptionOffIsAGap(t *testing.T) {
	server := serverstest.Start(t)
	h, node := dialled(t, server.Addr, session.Hello{})
	run(t, node, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 0")
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	defer cancel()
	slow, err := h.Subscribe(ctx, channels("a"), Options{Messages: 5, Overflow: BlockOnOverflow})
	if err != nil {
		t.Fatal(err)
	}
	other, err := h.Subscribe(ctx, channels("b"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	subscribed := func() int { return strings.Count(run(t, node, "CLIENT", "LIST", "TYPE", "pubsub").Text(), "\n") }
	for i := 1; subscribed() == 2; i++ {
		run(t, node, "PUBLISH", "a", fmt.Sprintf("%06d", i)+strings.Repeat("x", 100_000))
		if i == 2000 {
			t.Fatal("the server holds 200 MB for its client")
		}
	}
	c := &checker{name: "slow", last: map[string]int{}, gap: map[string]bool{}}
	for c.gaps == 0 {
		m, err := slow.Next(ctx)
		if err == nil {
			m.Payload = m.Payload[:min(6, len(m.Payload))]
			err = c.check(m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if c.seen < 10 {
		t.Errorf("only %d messages before the gap", c.seen)
	}
	receives(ctx, t, slow, node, "a", "back")
	receives(ctx, t, other, node, "b", "undisturbed")
}
