package session

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
	"github.com/redisx/redisx/transport"
)

// brittle is a transport like TLS: an interrupted write spoils it.
type brittle struct {
	*simnet.Conn
	t       *testing.T
	spoilt  atomic.Bool
	stuck   time.Duration // how long the next write takes, whatever its deadline
	expired atomic.Bool   // the write deadline is in the past
}

func (*brittle) ResumesWrites() bool { return false }

func (b *brittle) Write(p []byte) (int, error) {
	if b.spoilt.Load() {
		b.t.Error("a write after one that was interrupted")
	}
	if d := b.stuck; d > 0 {
		b.stuck = 0
		time.Sleep(d)
		b.Conn.SetWriteDeadline(time.Time{})
		n, err := b.Conn.Write(p)
		if b.expired.Load() {
			b.Conn.SetWriteDeadline(past)
		}
		return n, err
	}
	n, err := b.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.spoilt.Store(true)
	}
	return n, err
}

func (b *brittle) SetWriteDeadline(t time.Time) error {
	b.expired.Store(!t.IsZero())
	return b.Conn.SetWriteDeadline(t)
}

func inBrittleBubble(t *testing.T, o simnet.Options, f func(c *Conn, b *brittle, p *peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, server := simnet.Pipe(o)
		b := &brittle{Conn: client, t: t}
		c := New(b, Config{Node: "peer:1"})
		f(c, b, &peer{t, server, resp3.NewReader(server, resp3.Limits{})})
		c.Close()
		server.Close()
	})
}

func TestABlockedWriteThatCannotResumeIsLeftToTheBackground(t *testing.T) {
	inBrittleBubble(t, simnet.Options{Window: 10_000}, func(c *Conn, _ *brittle, p *peer) {
		value := strings.Repeat("x", 3000)
		var calls []<-chan result
		for i := range 10 {
			ctx, cancel := context.WithTimeout(bg, time.Duration(50+i)*time.Millisecond)
			defer cancel()
			calls = append(calls, do(ctx, c, "SET", fmt.Sprint(i), value))
		}
		for i, ch := range calls {
			r := <-ch
			if !errors.Is(r.err, context.DeadlineExceeded) || r.took != time.Duration(50+i)*time.Millisecond {
				t.Errorf("call %d returned after %v: %v", i, r.took, r.err)
			}
		}
		if err := c.Err(); err != nil {
			t.Fatalf("the connection died: %v", err)
		}
		last := do(bg, c, "GET", "last")
		for {
			cmd := p.next()
			if cmd == "GET last" {
				break
			}
			p.send("+OK of " + cmd[:5] + "\r\n")
		}
		p.send("+the last\r\n")
		p.want(last, "the last")
	})
}

// A peer that answers what it has not read makes a write block though nothing
// is unanswered.
func TestABlockedWriteThatCannotResumeCostsTheConnectionAndNotTheContext(t *testing.T) {
	inBrittleBubble(t, simnet.Options{Window: 100}, func(c *Conn, _ *brittle, p *peer) {
		ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
		defer cancel()
		blocked := do(ctx, c, "SET", "k", strings.Repeat("x", 5000))
		r := <-blocked
		var e *command.Error
		if !errors.As(r.err, &e) || !errors.Is(r.err, context.DeadlineExceeded) || e.Outcome == command.NotSent {
			t.Errorf("got %q: %v", r.text, r.err)
		}
		if r.took > 50*time.Millisecond+5*hurryEvery {
			t.Errorf("returned after %v", r.took)
		}
		p.dead(c)
		p.wantError(do(bg, c, "GET", "k"), command.NotSent, "queue", errInterrupted)
	})
}

func TestAnInterruptionThatComesTooLateIsTakenBack(t *testing.T) {
	inBrittleBubble(t, simnet.Options{}, func(c *Conn, b *brittle, p *peer) {
		b.stuck = 200 * time.Millisecond
		ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
		defer cancel()
		late := do(ctx, c, "GET", "a")
		time.Sleep(150 * time.Millisecond)
		if !b.expired.Load() {
			t.Error("the write was not interrupted")
		}
		p.wantError(late, command.Maybe, "read", context.DeadlineExceeded)
		p.next()
		p.send("+a\r\n")
		next := do(bg, c, "GET", "b")
		p.next()
		p.send("+b\r\n")
		p.want(next, "b")
	})
}

func TestOnlyTransportsThatSaySoResume(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	sim, _ := simnet.Pipe(simnet.Options{})
	for _, tt := range []struct {
		nc   net.Conn
		want bool
	}{
		{&net.TCPConn{}, true},
		{&net.UnixConn{}, true},
		{sim, true},
		{a, false},
		{tls.Client(a, nil), false},
		{struct{ net.Conn }{&net.TCPConn{}}, false}, // who knows what it does
	} {
		if got := resumes(tt.nc); got != tt.want {
			t.Errorf("%T resumes: %v", tt.nc, got)
		}
	}
}

// echo serves ECHO over streams of one transport, and can be told to stop
// reading.
type echo struct {
	addr    string
	network string
	dialer  transport.Dialer
	handle  atomic.Pointer[func(nc net.Conn)]
	reading sync.Mutex // locked by the test while the server is not to read
}

func (e *echo) serve(nc net.Conn) {
	if h := e.handle.Load(); h != nil {
		(*h)(nc)
		return
	}
	rd := resp3.NewReader(nc, resp3.Limits{})
	for {
		e.reading.Lock()
		e.reading.Unlock()
		v, err := rd.Read()
		if err != nil {
			return
		}
		words := v.Elems()
		var last string
		for w := range words {
			last = w.Text()
		}
		if _, err := nc.Write(resp3.AppendBulk(nil, last)); err != nil {
			return
		}
	}
}

// loopbackTLS returns a certificate for 127.0.0.1 and who trusts it.
func loopbackTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots}
}

func echoTLS(t *testing.T) *echo {
	t.Helper()
	server, client := loopbackTLS(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{network: "tcp", addr: ln.Addr().String(), dialer: transport.TLS{Under: narrow{}, Config: client}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				nc.(*net.TCPConn).SetReadBuffer(socketBuffer)
				e.serve(tls.Server(nc, server))
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return e
}

func echoWebSocket(t *testing.T) *echo {
	t.Helper()
	e := &echo{network: "ws", dialer: transport.WebSocket{Under: narrow{}}}
	var wg sync.WaitGroup
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wg.Add(1)
		defer wg.Done()
		if ws, err := websocket.Accept(w, r, nil); err == nil {
			defer ws.CloseNow()
			ws.SetReadLimit(-1)
			nc := websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
			defer nc.Close()
			e.serve(nc)
		}
	}))
	s.Config.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		nc.(*net.TCPConn).SetReadBuffer(socketBuffer)
		return ctx
	}
	s.Start()
	e.addr = s.Listener.Addr().String()
	t.Cleanup(func() { s.Close(); wg.Wait() })
	return e
}

// narrow dials sockets that soon are full.
type narrow struct{}

const socketBuffer = 16 << 10

func (narrow) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := transport.Net{}.Dial(ctx, network, address)
	if err == nil {
		nc.(*net.TCPConn).SetWriteBuffer(socketBuffer)
	}
	return nc, err
}

func (e *echo) open(t *testing.T) *Conn {
	t.Helper()
	nc, err := e.dialer.Dial(t.Context(), e.network, e.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := New(nc, Config{Node: e.addr, Timeout: time.Minute})
	t.Cleanup(func() { c.Close() })
	return c
}

var overEach = map[string]func(*testing.T) *echo{"tls": echoTLS, "websocket": echoWebSocket}

func TestAPeerThatStopsReadingCostsCallersTheirContextsAndNothingElse(t *testing.T) {
	for name, start := range overEach {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			c := e.open(t)
			if got, err := ask(t.Context(), c, "hello"); got != "hello" {
				t.Fatalf("%q: %v", got, err)
			}
			e.reading.Lock()
			resume := sync.OnceFunc(e.reading.Unlock)
			t.Cleanup(resume)
			for sent := false; !sent; {
				_, err := ask(timeout(t, 20*time.Millisecond), c, "the server stops after this one")
				sent = !command.SafeToRetry(err)
			}
			var wg sync.WaitGroup
			var late atomic.Int64
			for g := range 20 {
				value := fmt.Sprintf("%d:%s", g, bytes.Repeat([]byte{byte('a' + g)}, 100<<(g%9))) // less than is always left to the background
				wg.Go(func() {
					for end := time.Now().Add(time.Second); time.Now().Before(end); {
						began := time.Now()
						got, err := ask(timeout(t, 50*time.Millisecond), c, value)
						if err == nil || !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("%.10q from a server that does not read: %v", got, err)
							return
						}
						for took := time.Since(began).Milliseconds(); took > late.Load(); {
							late.Store(took)
						}
					}
				})
			}
			wg.Wait()
			if late.Load() > 10_000 { // of a stuck call that nothing would end within a minute
				t.Errorf("a call took %d ms of its 50", late.Load())
			}
			if err := c.Err(); err != nil {
				t.Fatalf("the connection died: %v", err)
			}
			c.mu.Lock()
			writing := c.writing
			c.mu.Unlock()
			if !writing {
				t.Error("the sockets took everything: no write was blocked")
			}
			resume()
			for g := range 8 {
				wg.Go(func() {
					for i := range 100 {
						want := fmt.Sprint(g, "/", i)
						if got, err := ask(t.Context(), c, want); got != want {
							t.Errorf("got %.20q, error %v; want %s", got, err, want)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func ask(ctx context.Context, c *Conn, value string) (string, error) {
	r := request("ECHO", value)
	reply, err := c.Do(ctx, &r)
	if err != nil {
		return "", err
	}
	defer reply.Release()
	return reply.View().Text(), nil
}

// segment collects what TLS writes, to send it as one.
type segment struct {
	net.Conn
	held []byte
	hold bool
}

func (s *segment) Write(p []byte) (int, error) {
	if s.hold {
		s.held = append(s.held, p...)
		return len(p), nil
	}
	return s.Conn.Write(p)
}

func TestAReplyTooManyUnderTLSIsNeverAnotherCommands(t *testing.T) {
	for name, idles := range map[string]bool{"with the next command at once": false, "on an idle connection": true} {
		t.Run(name, func(t *testing.T) {
			server, client := loopbackTLS(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			taken, sent := make(chan struct{}), make(chan struct{})
			wg.Go(func() {
				defer close(sent)
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { nc.Close() })
				s := &segment{Conn: nc}
				c := tls.Server(s, server)
				rd := resp3.NewReader(c, resp3.Limits{})
				if _, err := rd.Read(); err != nil {
					return
				}
				s.hold = !idles
				c.Write([]byte("+genuine\r\n"))
				if idles {
					<-taken
				}
				c.Write([]byte("+forged\r\n")) // a record of its own
				nc.Write(s.held)
			})
			t.Cleanup(func() { ln.Close(); wg.Wait() })
			nc, err := transport.TLS{Config: client}.Dial(t.Context(), "tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			c := New(nc, Config{Node: "peer:1", Timeout: 2 * time.Second})
			defer c.Close()
			if got, err := ask(t.Context(), c, "a"); got == "forged" || idles && got != "genuine" {
				t.Errorf("first: %q, %v", got, err)
			}
			close(taken)
			<-sent
			if idles {
				time.Sleep(2 * unsureFor * time.Millisecond)
			}
			if got, err := ask(t.Context(), c, "b"); err == nil {
				t.Errorf("second: %q", got)
			}
			var protocol *resp3.ProtocolError
			if !errors.As(c.Err(), &protocol) {
				t.Errorf("the connection ended with %v", c.Err())
			}
		})
	}
}
