package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

// pushLog notes pushes as lines.
type pushLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *pushLog) take(v resp3.View) {
	var words []string
	for e := range v.Elems() {
		words = append(words, e.Text())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.Join(words, " "))
}

func (l *pushLog) want(t *testing.T, lines ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.lines, lines) {
		t.Errorf("OnPush got %q, want %q", l.lines, lines)
	}
	l.lines = nil
}

// subscribe starts a Subscribe and returns when it waits.
func subscribe(ctx context.Context, c *Conn, name string, topics ...string) <-chan result {
	r := request(name, topics...)
	ch := make(chan result, 1)
	start := time.Now()
	go func() {
		err := c.Subscribe(ctx, &r)
		ch <- result{err: err, took: time.Since(start)}
	}()
	synctest.Wait()
	return ch
}

func waiting(t *testing.T, ch <-chan result) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-ch:
		t.Errorf("ended too early, error %v", r.err)
	default:
	}
}

func inSubscriber(t *testing.T, f func(c *Conn, p *peer, l *pushLog)) {
	l := &pushLog{}
	inBubble(t, Config{Standing: true, Subscriber: true, OnPush: l.take}, simnet.Options{}, func(c *Conn, p *peer) { f(c, p, l) })
}

func TestSubscribeReturnsWhenEachNameIsConfirmed(t *testing.T) {
	for mark, protocol := range map[string]string{">": "RESP3", "*": "RESP2"} {
		t.Run(protocol, func(t *testing.T) {
			inSubscriber(t, func(c *Conn, p *peer, l *pushLog) {
				s := subscribe(bg, c, "SUBSCRIBE", "a", "b")
				if got := p.next(); got != "SUBSCRIBE a b" {
					t.Errorf("sent %q", got)
				}
				p.send(mark + "3\r\n+subscribe\r\n+b\r\n:1\r\n") // in another order
				p.send(mark + "3\r\n+message\r\n+b\r\n+hello\r\n")
				p.send(mark + "3\r\n+unsubscribe\r\n+a\r\n:1\r\n") // unasked
				p.send(mark + "3\r\n+subscribe\r\n+b\r\n:1\r\n")   // again
				p.send(mark + "3\r\n+psubscribe\r\n+a\r\n:1\r\n")  // another kind
				p.send(mark + "1\r\n+subscribe\r\n")
				waiting(t, s)
				p.send(mark + "3\r\n+subscribe\r\n+a\r\n:2\r\n")
				p.want(s, "")
				l.want(t, "subscribe b 1", "message b hello", "unsubscribe a 1", "subscribe b 1", "psubscribe a 1", "subscribe", "subscribe a 2")
				if c.Err() != nil || c.Pending() != 0 {
					t.Errorf("error %v, %d pending", c.Err(), c.Pending())
				}
			})
		})
	}
}

func TestARefusedSubscribeGetsTheErrorThatIsItsOwn(t *testing.T) {
	inSubscriber(t, func(c *Conn, p *peer, l *pushLog) {
		a := subscribe(bg, c, "SUBSCRIBE", "a", "b")
		ping := do(bg, c, "PING")
		b := subscribe(bg, c, "PSUBSCRIBE", "c")
		p.send("-NOPERM no\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n>3\r\n+psubscribe\r\n+c\r\n:1\r\n")
		p.wantError(a, command.Refused, "reply", resp3.ServerError("NOPERM no"))
		p.want(ping, "")
		p.want(b, "")
		l.want(t, "psubscribe c 1")
	})
}

func TestASubscribeThatIsAnsweredByAnotherReplyEndsTheConnection(t *testing.T) {
	inSubscriber(t, func(c *Conn, p *peer, _ *pushLog) {
		s := subscribe(bg, c, "SUBSCRIBE", "a")
		p.send("+OK\r\n")
		p.wantError(s, command.Maybe, "read", errNobody)
		p.dead(c)
	})
}

func TestAnErrorThatNobodyAskedForEndsASubscriber(t *testing.T) {
	inSubscriber(t, func(c *Conn, p *peer, _ *pushLog) {
		p.send("-ERR who\r\n")
		p.dead(c)
	})
}

func TestASubscribeThatIsNeverConfirmedStalls(t *testing.T) {
	inSubscriber(t, func(c *Conn, p *peer, _ *pushLog) {
		s := subscribe(bg, c, "SUBSCRIBE", "a")
		for range 6 {
			p.send(">3\r\n+message\r\n+b\r\n+hello\r\n") // a flood is no confirmation
			time.Sleep(time.Second)
		}
		p.wantError(s, command.Maybe, "read", ErrStalled)
	})
}

func TestACancelledSubscribeReturnsAtOnceAndIsConfirmedLater(t *testing.T) {
	inSubscriber(t, func(c *Conn, p *peer, _ *pushLog) {
		ctx, cancel := context.WithCancel(bg)
		s := subscribe(ctx, c, "SUBSCRIBE", "a")
		p.next()
		cancel()
		if r := p.wantError(s, command.Maybe, "read", context.Canceled); r.took != 0 {
			t.Errorf("took %v", r.took)
		}
		ping := do(bg, c, "PING")
		p.send(">3\r\n+subscribe\r\n+a\r\n:1\r\n+PONG\r\n")
		p.want(ping, "PONG")
	})
}

func TestOnlyASubscriberSubscribes(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		p.wantError(subscribe(bg, c, "SUBSCRIBE", "a"), command.NotSent, "build", errNotSubscriber)
		p.nothing()
	})
}

func TestAnIdleSubscriberIsAskedForASignOfLife(t *testing.T) {
	for _, pong := range []string{"+PONG\r\n", "*2\r\n$4\r\npong\r\n$0\r\n\r\n"} {
		inSubscriber(t, func(c *Conn, p *peer, _ *pushLog) {
			for range 3 {
				if got := p.next(); got != "PING" {
					t.Errorf("sent %q", got)
				}
				p.send(pong)
			}
			synctest.Wait()
			heard := c.Heard()
			if age := time.Since(heard); age > time.Second {
				t.Errorf("last heard %v ago", age)
			}
			p.next()
			time.Sleep(pingWithin + 10*time.Millisecond)
			if !errors.Is(c.Err(), ErrStalled) {
				t.Errorf("a silent server: error %v", c.Err())
			}
			if !c.Heard().Equal(heard) {
				t.Error("heard of since")
			}
		})
	}
}

func TestAReaderThatWaitsForItsConsumerIsNotTakenForDead(t *testing.T) {
	room, gave := make(chan struct{}), 0
	cfg := Config{Standing: true, Subscriber: true, PushWaits: true}
	synctest.Test(t, func(t *testing.T) {
		room = make(chan struct{})
		cfg.OnPush = func(resp3.View) { <-room; gave++ }
		client, server := simnet.Pipe(simnet.Options{})
		c := New(client, cfg)
		p := &peer{t, server, resp3.NewReader(server, resp3.Limits{})}
		p.send(strings.Repeat(">3\r\n+message\r\n+a\r\n+hello\r\n", 30))
		time.Sleep(time.Minute)
		s := subscribe(bg, c, "SUBSCRIBE", "a") // its confirmation lies behind the messages
		p.send("+PONG\r\n>3\r\n+subscribe\r\n+a\r\n:1\r\n")
		for range 31 {
			time.Sleep(3 * time.Second)
			if c.Err() != nil {
				t.Fatal(c.Err())
			}
			room <- struct{}{}
		}
		p.want(s, "")
		if gave != 31 {
			t.Errorf("%d pushes", gave)
		}
		time.Sleep(time.Minute) // now the silence is the server's
		if !errors.Is(c.Err(), ErrStalled) {
			t.Errorf("error %v", c.Err())
		}
		c.Close()
		server.Close()
	})
}
