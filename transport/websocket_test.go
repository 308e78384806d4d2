//go:build !js

package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// webSockets serves WebSockets, and returns host:port.
func webSockets(t *testing.T, handle func(ws *websocket.Conn)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ws.SetReadLimit(-1)
		handle(ws)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func dialWebSocket(t *testing.T, w WebSocket, address string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithCancel(bg)
	defer cancel() // which must not end the stream
	c, err := w.Dial(ctx, "ws", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestBytesCrossAWebSocketWhateverTheirMessages(t *testing.T) {
	addr := webSockets(t, func(ws *websocket.Conn) {
		for i := 1; ; i++ {
			_, r, err := ws.Reader(bg)
			if err != nil {
				return
			}
			w, err := ws.Writer(bg, websocket.MessageBinary)
			if err != nil {
				return
			}
			io.CopyBuffer(w, r, make([]byte, i*977%5000+1)) // a fragment a copy
			w.Close()
		}
	})
	c := dialWebSocket(t, WebSocket{}, addr+"/redis")
	sent := make([]byte, 3<<20)
	rand.Read(sent)
	go func() { // ends with the connection
		for i, b := 0, sent; len(b) > 0; i++ {
			n := min(len(b), i*i*7%200_000)
			if m, err := c.Write(b[:n]); m != n || err != nil {
				t.Errorf("wrote %d of %d bytes: %v", m, n, err)
				return
			}
			b = b[n:]
		}
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("other bytes came back, error %v", err)
	}
	if c.LocalAddr().Network() != "tcp" || c.RemoteAddr().String() != addr {
		t.Errorf("addresses %v, %v", c.LocalAddr(), c.RemoteAddr())
	}
}

func TestAWebSocketReadThatItsDeadlineInterruptedGoesOn(t *testing.T) {
	next := make(chan string)
	addr := webSockets(t, func(ws *websocket.Conn) {
		for s := range next {
			ws.Write(bg, websocket.MessageBinary, []byte(s))
		}
	})
	defer close(next)
	c := dialWebSocket(t, WebSocket{}, addr).(*webSocketStream)
	b := make([]byte, 10)
	for _, s := range []string{"one", "two", "three"} {
		if c.Arrived() {
			t.Error("nothing was sent, yet Arrived says so")
		}
		time.AfterFunc(20*time.Millisecond, func() { c.SetReadDeadline(time.Unix(1, 0)) })
		if n, err := c.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %d bytes: %v", n, err)
		}
		next <- s
		wait(t, "the message", c.Arrived)
		if n, err := c.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline in the past let through %q, %v", b[:n], err)
		}
		c.SetReadDeadline(time.Now().Add(time.Hour))
		if n, err := c.Read(b); string(b[:n]) != s || err != nil {
			t.Errorf("read %q: %v, want %q", b[:n], err, s)
		}
	}
}

func TestAPeerThatEndsTheWebSocketIsReadToTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(ws *websocket.Conn)
		want func(error) bool
	}{
		{"goes away", func(ws *websocket.Conn) { ws.Close(websocket.StatusGoingAway, "bye") }, func(err error) bool { return err == io.EOF }},
		{"drops the connection", func(ws *websocket.Conn) { ws.CloseNow() }, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"refuses", func(ws *websocket.Conn) { ws.Close(websocket.StatusPolicyViolation, "no") }, func(err error) bool {
			return err != nil && strings.Contains(err.Error(), `1008 "no"`)
		}},
		{"sends text", func(ws *websocket.Conn) { ws.Write(bg, websocket.MessageText, []byte("+OK")); ws.CloseRead(bg) }, func(err error) bool { return errors.Is(err, errText) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			release := make(chan struct{})
			defer close(release)
			addr := webSockets(t, func(ws *websocket.Conn) {
				ws.Write(bg, websocket.MessageBinary, []byte("last"))
				tt.end(ws)
				<-release
			})
			c := dialWebSocket(t, WebSocket{}, addr)
			got, err := io.ReadAll(c)
			if err == nil {
				_, err = c.Read(make([]byte, 1))
			}
			if string(got) != "last" || !tt.want(err) {
				t.Errorf("read %q: %v", got, err)
			}
		})
	}
}

func TestWhatIsNotReadHoldsThePeerBack(t *testing.T) {
	var sent atomic.Int64
	const total = 64 << 20
	addr := webSockets(t, func(ws *websocket.Conn) {
		for sent.Load() < total {
			if ws.Write(bg, websocket.MessageBinary, make([]byte, 64<<10)) != nil {
				return
			}
			sent.Add(64 << 10)
		}
	})
	c := dialWebSocket(t, WebSocket{Under: narrow{}}, addr)
	for last := int64(-1); last != sent.Load(); time.Sleep(200 * time.Millisecond) {
		last = sent.Load()
	}
	if n := sent.Load(); n > 16<<20 { // what the kernel holds for both ends
		t.Errorf("the peer could send %d bytes that nobody reads", n)
	}
	if n := len(c.(*webSocketStream).ring); n > webSocketBuffer {
		t.Errorf("the stream holds %d bytes", n)
	}
	start := time.Now()
	c.Close() // with a full ring
	if took := time.Since(start); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}

func TestAWriteThatItsDeadlineInterruptsReportsAllAsWrittenAndEndsTheWebSocket(t *testing.T) {
	release := make(chan struct{})
	addr := webSockets(t, func(*websocket.Conn) { <-release })
	defer close(release)
	c := dialWebSocket(t, WebSocket{Under: narrow{}}, addr)
	much := make([]byte, 32<<20)
	start := time.Now()
	c.SetWriteDeadline(start.Add(500 * time.Millisecond))
	n, err := c.Write(much)
	if n != len(much) || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %d bytes, %v", time.Since(start), n, err)
	}
	c.SetWriteDeadline(time.Time{})
	if n, err := c.Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("a write after it: %d bytes, %v", n, err)
	}
	wait(t, "the end of the stream", c.(*webSocketStream).Arrived)
}

func TestClosingAWebSocketInTheMiddleOfEverythingReturnsAtOnce(t *testing.T) {
	release := make(chan struct{})
	addr := webSockets(t, func(*websocket.Conn) { <-release })
	defer close(release)
	c := dialWebSocket(t, WebSocket{Under: narrow{}}, addr)
	done := make(chan error, 2)
	go func() { // ends with Close
		_, err := c.Write(make([]byte, 32<<20))
		done <- err
	}()
	go func() { // ends with Close
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	c.Close()
	if err := errors.Join(<-done, <-done); err == nil || time.Since(start) > time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the second Close: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
}

func TestAServerThatDoesNotUpgradeIsReported(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer right":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, other.URL, http.StatusFound)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	right := WebSocket{Header: http.Header{"Authorization": {"Bearer right"}}}
	for _, tt := range []struct {
		w      WebSocket
		path   string
		status int
	}{
		{WebSocket{}, "/", 401},
		{right, "/", 403},
		{right, "/moved", 302},
	} {
		_, err := tt.w.Dial(bg, "ws", addr+tt.path)
		var e *UpgradeError
		if !errors.As(err, &e) || e.Status != tt.status || e.Address != addr {
			t.Errorf("%s: %v, want status %d", tt.path, err, tt.status)
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed, with the credentials")
	}
}

func TestAHostileServerCannotHoldADialOrFillTheMemory(t *testing.T) {
	for name, answer := range map[string]string{
		"silence":               "",
		"a wrong accept key":    "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
		"a body without end":    "HTTP/1.1 500 x\r\nContent-Length: 1000000\r\n\r\nx",
		"not HTTP":              "-ERR unknown command\r\n",
		"a header without end":  "HTTP/1.1 101 x\r\nX: ",
		"an extension unwanted": "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var taken atomic.Int64
			addr := serve(t, func(nc net.Conn) {
				nc.Read(make([]byte, 1))
				io.WriteString(nc, answer)
				for name == "a header without end" {
					n, err := nc.Write(bytes.Repeat([]byte("x"), 32<<10))
					if taken.Add(int64(n)); err != nil {
						return
					}
				}
				io.Copy(io.Discard, nc)
			})
			limit := 10 * time.Second
			if name == "silence" { // the others are not waited out
				limit = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(bg, limit)
			defer cancel()
			start := time.Now()
			_, err := WebSocket{}.Dial(ctx, "ws", addr+"/?token=s3cr3t")
			if err == nil || time.Since(start) > limit+time.Second || errors.Is(err, context.DeadlineExceeded) != (name == "silence") || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
			if name == "a header without end" && !errors.Is(err, errLongAnswer) {
				t.Errorf("error %v after %d bytes", err, taken.Load())
			}
		})
	}
}

// upgraded answers a WebSocket upgrade by hand, to send whatever frames.
func upgraded(t *testing.T, handle func(nc net.Conn)) string {
	t.Helper()
	return serve(t, func(nc net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(nc))
		if err != nil {
			return
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455, 1.3
		accept := base64.StdEncoding.EncodeToString(sum[:])
		fmt.Fprintf(nc, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept)
		handle(nc)
	})
}

func TestHostileFramesEndTheStreamAndNothingElse(t *testing.T) {
	huge := binary.BigEndian.AppendUint64([]byte{0x82, 127}, 1<<62)
	for name, frame := range map[string][]byte{
		"a length beyond 2^63":        binary.BigEndian.AppendUint64([]byte{0x82, 127}, 1<<63+5),
		"2^62 bytes announced":        append(huge, "few"...),
		"a reserved bit":              {0xc2, 1, 'x'},
		"an unknown opcode":           {0x83, 1, 'x'},
		"a continuation of nothing":   {0x80, 1, 'x'},
		"a ping of 200 bytes":         append([]byte{0x89, 126, 0, 200}, make([]byte, 200)...),
		"a fragmented ping":           {0x09, 1, 'x'},
		"a new message in a message":  {0x02, 1, 'x', 0x82, 1, 'y'},
		"a close with half a status":  {0x88, 1, 3},
		"a close with a wrong status": {0x88, 2, 0, 1},
		"text":                        {0x81, 1, 'x'},
	} {
		t.Run(name, func(t *testing.T) {
			addr := upgraded(t, func(nc net.Conn) {
				nc.Write(frame)
				time.Sleep(20 * time.Millisecond)
			})
			c := dialWebSocket(t, WebSocket{}, addr)
			got, err := io.ReadAll(c)
			if len(got) > 3 || (err == nil && len(got) > 0) {
				t.Errorf("read %q: %v", got, err)
			}
		})
	}
}

func TestAFloodOfPingsAndEmptyMessagesTakesNoMemory(t *testing.T) {
	flood := bytes.Repeat([]byte{0x89, 0, 0x82, 0}, 10_000)
	addr := upgraded(t, func(nc net.Conn) {
		go func() { // ends with the connection
			nc.Write(flood)
			nc.Write([]byte{0x82, 4, 'd', 'o', 'n', 'e'})
		}()
		io.Copy(io.Discard, nc) // the pongs
	})
	c := dialWebSocket(t, WebSocket{}, addr)
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); string(b) != "done" {
		t.Errorf("read %q: %v", b, err)
	}
}

func TestSecureWebSocketsAreVerified(t *testing.T) {
	a := newAuthority(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := websocket.Accept(w, r, nil); err == nil {
			defer ws.CloseNow()
			ws.Write(bg, websocket.MessageBinary, []byte("hello"))
			<-ws.CloseRead(bg).Done()
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.certificate("gateway.example", time.Now().Add(time.Hour))}}
	s.StartTLS()
	defer s.Close()
	addr := s.Listener.Addr().String()

	var e *TLSError
	if _, err := (WebSocket{}).Dial(bg, "wss", addr); !errors.As(err, &e) {
		t.Errorf("unknown authority: %v", err)
	}
	trusting := WebSocket{TLS: &tls.Config{RootCAs: a.pool()}}
	if _, err := trusting.Dial(bg, "wss", addr); !errors.As(err, &e) || !strings.Contains(err.Error(), "not for") {
		t.Errorf("wrong host: %v", err)
	}
	trusting.ServerName = "gateway.example"
	c, err := trusting.Dial(bg, "wss", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); string(b) != "hello" {
		t.Errorf("read %q: %v", b, err)
	}
}

func TestAnAddressThatIsNoneIsRefusedWithoutRepeatingIt(t *testing.T) {
	for _, address := range []string{"", "/redis", "user:s3cr3t@host/redis", "host:port/s3cr3t", "ho st/"} {
		if _, err := (WebSocket{}).Dial(bg, "ws", address); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := (WebSocket{}).Dial(bg, "tcp", "127.0.0.1:1"); err == nil {
		t.Error("network tcp was taken")
	}
}
