//go:build !js

package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// serve serves h and returns host:port. At the end of the test h is closed.
func serve(t *testing.T, h *Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		h.Close()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// redisOf plays a Redis to which h connects: handle gets each connection.
func redisOf(t *testing.T, h *Handler, handle func(nc net.Conn)) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				handle(nc)
			})
		}
	})
	t.Cleanup(func() { // after h has been closed
		ln.Close()
		wg.Wait()
	})
	h.Dial = To(transport.Net{}, "tcp", ln.Addr().String())
}

// upgrade is a request by hand, for clients that then do what no library lets
// them.
const upgrade = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

func echo(nc net.Conn) { io.Copy(nc, nc) }

// connect opens a WebSocket by hand.
func connect(t *testing.T, addr string, header http.Header) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(bg, "ws://"+addr, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	return ws
}

// wait is until a condition holds.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for: %s", what)
		}
	}
}

func TestAClientWorksThroughTheGateway(t *testing.T) {
	s := serverstest.Start(t)
	h := &Handler{Dial: To(transport.Net{}, "tcp", s.Addr), Authorize: Bearer("right")}
	addr := serve(t, h)
	c, err := redisx.ConnectConfig(t.Context(), redisx.Config{
		Network: "ws", Addr: addr + "/redis", Header: map[string]redisx.Secret{"Authorization": "Bearer right"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	big := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB, more than a message
	if _, err := c.Cmd(t.Context(), "SET", "big", big); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Cmd(t.Context(), "GET", "big"); err != nil || v.Text() != big {
		t.Errorf("got %d bytes back: %v", len(v.Text()), err)
	}
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			for i := range 40 {
				want := fmt.Sprint(g, "/", i)
				if v, err := c.Cmd(t.Context(), "ECHO", want); err != nil || v.Text() != want {
					t.Errorf("ECHO %s: %q, %v", want, v.Text(), err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := h.Stats(); got.Open != 1 || got.Accepted != 1 || got.Refused != 0 {
		t.Errorf("stats %+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := c.Cmd(ctx, "BLPOP", "nothing", "0"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

func TestOnlyThoseWhoMayConnectReachRedis(t *testing.T) {
	var dials atomic.Int32
	h := func(change func(*Handler)) *Handler {
		h := &Handler{Dial: func(context.Context, *http.Request) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("down")
		}}
		change(h)
		return h
	}
	const passed = http.StatusBadGateway // Redis was dialled
	for _, tt := range []struct {
		name   string
		h      *Handler
		host   string
		header map[string]string
		want   int
	}{
		{name: "no browser", want: passed},
		{name: "the same origin", header: map[string]string{"Origin": "http://127.0.0.1"}, want: passed},
		{name: "the same origin, TLS ends elsewhere", header: map[string]string{"Origin": "https://127.0.0.1"}, want: passed},
		{name: "the same origin, other port", header: map[string]string{"Origin": "http://127.0.0.1:8080"}, want: 403},
		{name: "another origin", header: map[string]string{"Origin": "https://evil.example"}, want: 403},
		{name: "an origin that begins as the host", header: map[string]string{"Origin": "http://127.0.0.1.evil.example"}, want: 403},
		{name: "the null origin", header: map[string]string{"Origin": "null"}, want: 403},
		{name: "an empty origin", header: map[string]string{"Origin": ""}, want: 403},
		{name: "an origin that is none", header: map[string]string{"Origin": "http://a b/%"}, want: 403},
		{name: "an origin with a user", header: map[string]string{"Origin": "http://127.0.0.1@evil.example"}, want: 403},
		{name: "the same origin, but the browser says cross-site", header: map[string]string{"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "cross-site"}, want: 403},
		{name: "no origin, but the browser says cross-site", header: map[string]string{"Sec-Fetch-Site": "cross-site"}, want: 403},
		{name: "a listed origin", h: h(func(h *Handler) { h.Origins = []string{"https://app.example"} }), header: map[string]string{"Origin": "https://APP.example:443", "Sec-Fetch-Site": "cross-site"}, want: passed},
		{name: "a listed origin by another scheme", h: h(func(h *Handler) { h.Origins = []string{"https://app.example"} }), header: map[string]string{"Origin": "http://app.example"}, want: 403},
		{name: "a listed star is no pattern", h: h(func(h *Handler) { h.Origins = []string{"*", ""} }), header: map[string]string{"Origin": "https://evil.example"}, want: 403},

		{name: "an IPv6 host", host: "[::1]:8081", want: passed},
		{name: "localhost", host: "localhost:8081", want: passed},
		{name: "a rebound name, of the same origin", host: "attacker.example", header: map[string]string{"Origin": "http://attacker.example"}, want: 421},
		{name: "a name that begins as localhost", host: "localhost.evil", want: 421},
		{name: "no host", host: "-", want: 400}, // by package http
		{name: "another host forwarded", host: "attacker.example", header: map[string]string{"X-Forwarded-Host": "127.0.0.1"}, want: 421},
		{name: "a listed host", h: h(func(h *Handler) { h.Hosts = []string{"gw.example"} }), host: "GW.example:443", want: passed},
		{name: "a listed host with its port", h: h(func(h *Handler) { h.Hosts = []string{"gw.example:443"} }), host: "gw.example:443", want: passed},
		{name: "a listed host with another port", h: h(func(h *Handler) { h.Hosts = []string{"gw.example:443"} }), host: "gw.example:80", want: 421},
		{name: "an address where names are listed", h: h(func(h *Handler) { h.Hosts = []string{"gw.example", ""} }), host: "127.0.0.1", want: 421},

		{name: "the token", h: h(func(h *Handler) { h.Authorize = Bearer("right") }), header: map[string]string{"Authorization": "Bearer right"}, want: passed},
		{name: "no token", h: h(func(h *Handler) { h.Authorize = Bearer("right") }), want: 401},
		{name: "a wrong token", h: h(func(h *Handler) { h.Authorize = Bearer("right") }), header: map[string]string{"Authorization": "Bearer righ"}, want: 401},
		{name: "the token by another scheme", h: h(func(h *Handler) { h.Authorize = Bearer("right") }), header: map[string]string{"Authorization": "Basic right"}, want: 401},
		{name: "an empty token", h: h(func(h *Handler) { h.Authorize = Bearer("") }), header: map[string]string{"Authorization": "Bearer "}, want: 401},
		{name: "not allowed", h: h(func(h *Handler) { h.Authorize = func(*http.Request) error { return errors.New("s3cr3t reason") } }), want: 403},
		{name: "no upgrade", header: map[string]string{"Upgrade": "h2c"}, want: 426},
		{name: "no Dial", h: &Handler{}, want: 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.h == nil {
				tt.h = h(func(*Handler) {})
			}
			addr := serve(t, tt.h)
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if tt.host == "" {
				tt.host = "127.0.0.1"
			}
			request := "GET /redis HTTP/1.1\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
			if tt.host != "-" {
				request += "Host: " + tt.host + "\r\n"
			}
			if tt.header["Upgrade"] == "" {
				request += "Upgrade: websocket\r\n"
			}
			for k, v := range tt.header {
				request += k + ": " + v + "\r\n"
			}
			before := dials.Load()
			io.WriteString(nc, request+"\r\n")
			nc.SetReadDeadline(time.Now().Add(5 * time.Second))
			answer := make([]byte, 4096)
			n, _ := nc.Read(answer)
			if got := string(answer[:n]); !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", tt.want)) || strings.Contains(got, "s3cr3t") {
				t.Errorf("answered %q, want %d", got, tt.want)
			}
			if dialled := dials.Load() != before; dialled != (tt.want == passed) {
				t.Errorf("Redis dialled: %v", dialled)
			}
		})
	}
}

func TestTextAndOversizedMessagesEndTheConnection(t *testing.T) {
	var got atomic.Int64
	h := &Handler{MaxMessage: 100_000}
	redisOf(t, h, func(nc net.Conn) {
		n, _ := io.Copy(io.Discard, nc)
		got.Add(n)
	})
	addr := serve(t, h)
	for code, send := range map[websocket.StatusCode]func(ws *websocket.Conn) error{
		websocket.StatusUnsupportedData: func(ws *websocket.Conn) error { return ws.Write(bg, websocket.MessageText, []byte("PING\r\n")) },
		websocket.StatusMessageTooBig:   func(ws *websocket.Conn) error { return ws.Write(bg, websocket.MessageBinary, make([]byte, 200_000)) },
	} {
		ws := connect(t, addr, nil)
		send(ws)
		ctx, cancel := context.WithTimeout(bg, 10*time.Second)
		defer cancel()
		if _, _, err := ws.Read(ctx); websocket.CloseStatus(err) != code {
			t.Errorf("ended with %v, want status %d", err, code)
		}
	}
	wait(t, "both connections to end", func() bool { return h.Stats().Open == 0 })
	if n := got.Load(); n > 100_001 { // the library looks one byte beyond
		t.Errorf("redis was sent %d bytes", n)
	}
}

// The library hands out what it has of a frame whose connection ends, still
// masked: Redis must not be sent noise that could be a command.
func TestAFrameThatIsCutOffNeverReachesRedis(t *testing.T) {
	got := make(chan []byte, 1)
	h := &Handler{}
	redisOf(t, h, func(nc net.Conn) {
		b, _ := io.ReadAll(nc)
		got <- b
	})
	nc, err := net.Dial("tcp", serve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, upgrade)
	if r, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(r, err)
	}
	whole := "PING\r\n"
	nc.Write(frame(whole, len(whole)))
	nc.Write(frame("ECHO hello\r\n", 6))
	nc.(*net.TCPConn).CloseWrite()
	if b := string(<-got); b != whole {
		t.Errorf("redis was sent %q, want %q", b, whole)
	}
}

// frame is a masked binary frame of payload, of which n bytes are there.
func frame(payload string, n int) []byte {
	mask := [4]byte{0x80, 0x81, 0, 0xff}
	b := append([]byte{0x82, 0x80 | byte(len(payload))}, mask[:]...)
	for i := range n {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func TestBeyondMaxConnsIsRefused(t *testing.T) {
	h := &Handler{MaxConns: 3}
	redisOf(t, h, echo)
	addr := serve(t, h)
	var open []*websocket.Conn
	for range 3 {
		open = append(open, connect(t, addr, nil))
	}
	for range 20 {
		_, err := transport.WebSocket{}.Dial(bg, "ws", addr)
		var e *transport.UpgradeError
		if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable {
			t.Fatalf("the fourth: %v", err)
		}
	}
	if s := h.Stats(); s.Open != 3 || s.Refused != 20 {
		t.Errorf("stats %+v", s)
	}
	open[0].Close(websocket.StatusNormalClosure, "")
	wait(t, "room", func() bool { return h.Stats().Open == 2 })
	ws := connect(t, addr, nil)
	ws.Write(bg, websocket.MessageBinary, []byte("hello"))
	if _, b, err := ws.Read(bg); string(b) != "hello" {
		t.Errorf("read %q: %v", b, err)
	}
}

// narrow makes the kernel hold little.
func narrow(nc net.Conn) {
	nc.(*net.TCPConn).SetReadBuffer(8 << 10)
	nc.(*net.TCPConn).SetWriteBuffer(8 << 10)
}

func TestASlowSideHoldsTheOtherBackAndIsCutInTheEnd(t *testing.T) {
	const total = 64 << 20
	for _, slow := range []string{"client", "redis"} {
		t.Run(slow, func(t *testing.T) {
			var sent atomic.Int64
			flood := func(nc io.Writer) {
				for b := make([]byte, 32<<10); sent.Load() < total; {
					n, err := nc.Write(b)
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			}
			release := make(chan struct{})
			h := &Handler{WriteTimeout: time.Second}
			redisOf(t, h, func(nc net.Conn) {
				narrow(nc)
				if slow == "client" {
					flood(nc)
				}
				<-release
			})
			defer close(release)
			addr := serve(t, h)
			c, err := transport.WebSocket{}.Dial(bg, "ws", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			start := time.Now()
			if slow == "redis" {
				flood(c)
			}
			wait(t, "the slow side to be cut", func() bool { return h.Stats().Accepted == 1 && h.Stats().Open == 0 })
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("it took %v", took) // and was the kernel's doing
			}
			if n := sent.Load(); n > 24<<20 { // what the kernel holds on both ways
				t.Errorf("%d bytes were taken that nobody reads", n)
			}
		})
	}
}

func TestWhenRedisGoesTheClientIsTold(t *testing.T) {
	h := &Handler{}
	redisOf(t, h, func(nc net.Conn) {
		nc.Read(make([]byte, 1))
		io.WriteString(nc, "-ERR bye\r\n")
	})
	c, err := transport.WebSocket{}.Dial(bg, "ws", serve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("x"))
	if got, err := io.ReadAll(c); string(got) != "-ERR bye\r\n" || err != nil {
		t.Errorf("read %q: %v", got, err)
	}
}

func TestCloseEndsAllAndWaits(t *testing.T) {
	h := &Handler{}
	redisOf(t, h, echo)
	addr := serve(t, h)
	polite, err := transport.WebSocket{}.Dial(bg, "ws", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer polite.Close()
	rude := connect(t, addr, nil) // never answers
	wait(t, "both", func() bool { return h.Stats().Open == 2 })
	start := time.Now()
	h.Close()
	if took := time.Since(start); took > 5*goodbye || h.Stats().Open != 0 {
		t.Errorf("Close took %v, open %d", took, h.Stats().Open)
	}
	polite.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := polite.Read(make([]byte, 1)); err != io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the polite client: %v", err)
	}
	if _, _, err := rude.Read(bg); err == nil {
		t.Error("the rude client is still connected")
	}
	h.Close()
	_, err = transport.WebSocket{}.Dial(bg, "ws", addr)
	var e *transport.UpgradeError
	if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable {
		t.Errorf("after Close: %v", err)
	}
}
