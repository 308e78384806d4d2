//go:build !js

package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/transport"
)

// memory is a network without sockets: what is dialled is accepted.
type memory struct {
	dialled chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (m *memory) Dial(context.Context, string, string) (net.Conn, error) {
	client, server := simnet.Pipe(simnet.Options{})
	m.dialled <- server
	return client, nil
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case nc := <-m.dialled:
		return nc, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble runs f in virtual time with a gateway to a Redis that echoes.
func inBubble(t *testing.T, h *Handler, f func(t *testing.T, m *memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{dialled: make(chan net.Conn), closed: make(chan struct{})}
		h.Dial = func(context.Context, *http.Request) (net.Conn, error) {
			client, server := simnet.Pipe(simnet.Options{})
			go func() { // ends with the relay
				echo(server)
				server.Close()
			}()
			return client, nil
		}
		server := &http.Server{Handler: h}
		served := make(chan error, 1)
		go func() { served <- server.Serve(m) }()
		f(t, m)
		h.Close()
		server.Close()
		<-served
	})
}

// polite opens a WebSocket whose pings are answered.
func polite(t *testing.T, m *memory) net.Conn {
	t.Helper()
	c, err := transport.WebSocket{Under: m}.Dial(bg, "ws", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func says(t *testing.T, c net.Conn, word string) {
	t.Helper()
	b := make([]byte, len(word))
	c.Write([]byte(word))
	if _, err := io.ReadFull(c, b); string(b) != word {
		t.Errorf("echoed %q: %v", b, err)
	}
}

func TestAClientThatAnswersNoPingIsCutAndOneThatDoesIsNot(t *testing.T) {
	const ping = 50 * time.Millisecond
	h := &Handler{PingInterval: ping, IdleTimeout: -1}
	inBubble(t, h, func(t *testing.T, m *memory) {
		silent, _ := m.Dial(bg, "tcp", "")
		io.WriteString(silent, upgrade)
		if r, err := http.ReadResponse(bufio.NewReader(silent), nil); err != nil || r.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(r, err)
		}
		lively := polite(t, m)
		time.Sleep(2*ping - time.Millisecond)
		if n := h.Stats().Open; n != 2 {
			t.Errorf("%d open, want both until the ping is overdue", n)
		}
		time.Sleep(2*time.Millisecond + goodbye)
		if n := h.Stats().Open; n != 1 {
			t.Errorf("%d open, want the lively one", n)
		}
		time.Sleep(200 * ping)
		says(t, lively, "still here")
	})
}

func TestAClientThatIsIdleIsCutAndABusyOneIsNot(t *testing.T) {
	const idle = 200 * time.Millisecond
	h := &Handler{IdleTimeout: idle}
	inBubble(t, h, func(t *testing.T, m *memory) {
		c := polite(t, m)
		for range 100 {
			says(t, c, "x")
			time.Sleep(idle - time.Millisecond)
		}
		says(t, c, "x")
		start := time.Now()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("an idle client ended with %v", err)
		}
		if took := time.Since(start); took < idle || took > 2*idle {
			t.Errorf("it was cut after %v", took)
		}
	})
}

// A Handler has no constructor that could refuse them.
func TestNegativeBoundsAreTheDefaults(t *testing.T) {
	h := &Handler{MaxConns: -1, DialTimeout: -1, WriteTimeout: -1, IdleTimeout: -1, PingInterval: -1, MaxMessage: -1}
	inBubble(t, h, func(t *testing.T, m *memory) {
		c := polite(t, m)
		says(t, c, "hello")
		time.Sleep(10 * time.Minute)
		says(t, c, "still here")
	})
}
