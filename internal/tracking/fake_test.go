package tracking

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

// fake is a server in virtual time. It greets by itself; what comes on a
// tracking connection is answered by the test.
type fake struct {
	t      *testing.T
	hub    *Hub
	node   *pool.Node
	refuse atomic.Bool   // dials fail
	script atomic.Bool   // one runs: CLIENT TRACKING is refused for now
	slow   time.Duration // CLIENT TRACKING takes so long
	dials  atomic.Int64
	line   *simnet.Conn // the server's end of the newest tracking connection
	asked  chan string  // commands on tracking connections
}

// inBubble runs f with a hub whose server the test plays.
func inBubble(t *testing.T, cfg Config, f func(s *fake)) {
	t.Helper()
	inBubbleWith(t, session.Config{}, cfg, f)
}

func inBubbleWith(t *testing.T, conn session.Config, cfg Config, f func(s *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &fake{t: t, asked: make(chan string, 1000)}
		conn.Node, conn.Timeout = "fake:1", 5*time.Second
		s.node = pool.New(pool.Config{
			Dial: func(context.Context) (net.Conn, error) {
				s.dials.Add(1)
				if s.refuse.Load() {
					return nil, io.ErrUnexpectedEOF
				}
				client, server := simnet.Pipe(simnet.Options{})
				go s.serve(server)
				return client, nil
			},
			Session: conn,
		})
		s.hub = New(s.node, conn, cfg)
		if err := s.node.Ready(bg); err != nil {
			t.Fatal(err)
		}
		defer s.node.Close()
		defer s.hub.Close()
		f(s)
		s.hub.Close()
		s.node.Close()
		synctest.Wait()
		if h := s.hub; len(h.store.slots) != 0 || len(h.store.keys) != 0 || h.store.bytes != 0 {
			t.Errorf("left after Close: %d slots, %d keys, %d bytes", len(h.store.slots), len(h.store.keys), h.store.bytes)
		}
		select {
		case words := <-s.asked:
			t.Errorf("the server was sent %q, which the test did not expect", words)
		default:
		}
	})
}

func (s *fake) serve(c *simnet.Conn) {
	defer c.Close()
	rd := resp3.NewReader(c, resp3.Limits{})
	tracking := false
	for {
		v, err := rd.Read()
		if err != nil {
			return
		}
		var words []string
		for e := range v.Elems() {
			words = append(words, e.Text())
		}
		reply := "+OK\r\n"
		switch {
		case words[0] == "HELLO":
			reply = "%1\r\n+proto\r\n:3\r\n"
		case words[0] == "PING":
			reply = "+PONG\r\n"
		case words[0] == "CLIENT" && words[1] == "TRACKING" && s.script.Load():
			reply = "-BUSY a script runs\r\n"
		case words[0] == "CLIENT" && words[1] == "TRACKING":
			time.Sleep(s.slow)
			s.line, tracking = c, true
		case tracking:
			s.asked <- strings.Join(words, " ")
			continue
		}
		if _, err := c.Write([]byte(reply)); err != nil {
			return
		}
	}
}

// wants checks that exactly these commands have come on tracking connections.
func (s *fake) wants(commands ...string) {
	s.t.Helper()
	synctest.Wait()
	for _, want := range commands {
		select {
		case got := <-s.asked:
			if got != want {
				s.t.Fatalf("the server was sent %q, want %q", got, want)
			}
		default:
			s.t.Fatalf("the server was not sent %q", want)
		}
	}
	if len(s.asked) > 0 {
		s.t.Fatalf("the server was sent %q as well", <-s.asked)
	}
}

// send writes to the newest tracking connection.
func (s *fake) send(frames ...string) {
	s.t.Helper()
	for _, f := range frames {
		if _, err := s.line.Write([]byte(f)); err != nil {
			s.t.Fatalf("the server could not send: %v", err)
		}
	}
	synctest.Wait()
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func invalid(keys ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ">2\r\n$10\r\ninvalidate\r\n*%d\r\n", len(keys))
	for _, k := range keys {
		b.WriteString(bulk(k))
	}
	return b.String()
}

const (
	invalidAll = ">2\r\n$10\r\ninvalidate\r\n_\r\n"
	forever    = ":-1\r\n" // PTTL of a key without an end
)

// answer is what a call returned, and when.
type answer struct {
	text string
	err  error
	took time.Duration
}

// ask starts a call and returns when it waits, or is done.
func (s *fake) ask(ctx context.Context, maxAge time.Duration, c command.Sendable) <-chan answer {
	ch := make(chan answer, 1)
	start := time.Now()
	go func() {
		r := c.Request()
		reply, err := s.hub.Do(ctx, &r, maxAge)
		a := answer{err: err, took: time.Since(start)}
		if err == nil {
			v := reply.View().Value()
			a.text = v.Text()
			if v.IsNull() {
				a.text = "null"
			}
			for _, e := range v.Elems() {
				a.text += " " + e.Text()
			}
			reply.Release()
		}
		ch <- a
	}()
	synctest.Wait()
	return ch
}

// get is ask for GET with a minute of patience for age.
func (s *fake) get(key string) <-chan answer { return s.ask(bg, time.Minute, command.Get(key)) }

// store lets the cache fetch key.
func (s *fake) store(key, value string) {
	s.t.Helper()
	ch := s.get(key)
	s.wants("PTTL "+key, "GET "+key)
	s.send(forever, bulk(value))
	s.is(ch, value)
	s.is(s.get(key), value)
}

// is checks an answer that must be there by now.
func (s *fake) is(ch <-chan answer, text string) {
	s.t.Helper()
	synctest.Wait()
	select {
	case a := <-ch:
		if a.err != nil || a.text != text {
			s.t.Errorf("got %q, error %v; want %q", a.text, a.err, text)
		}
	default:
		s.t.Errorf("no answer, want %q", text)
	}
}

// fails checks for an error that must be there by now.
func (s *fake) fails(ch <-chan answer, cause error) answer {
	s.t.Helper()
	synctest.Wait()
	select {
	case a := <-ch:
		if !errors.Is(a.err, cause) {
			s.t.Errorf("got %q, error %v; want %v", a.text, a.err, cause)
		}
		return a
	default:
		s.t.Errorf("no answer, want error %v", cause)
	}
	return answer{}
}
