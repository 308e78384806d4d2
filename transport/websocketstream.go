package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// webSocketBuffer is how much is taken from a WebSocket and not yet read.
const webSocketBuffer = 32 << 10

// webSocketStream is the byte stream in the binary messages of a WebSocket. One
// goroutine receives into a ring, and waits while the ring is full: reading the
// WebSocket itself could not be interrupted without ending it.
type webSocketStream struct {
	ws            *websocket.Conn
	below         io.Closer // what ws runs on, nil in a browser
	local, remote net.Addr
	receiver      sync.WaitGroup
	writes        sync.Mutex

	mu      sync.Mutex
	changed sync.Cond
	ring    []byte
	from, n int   // ring[from:from+n], going round, has arrived
	err     error // why nothing more arrives
	closed  bool
	writing bool
	cut     bool // the write deadline ended the connection
	readBy  deadline
	writeBy deadline
}

func newWebSocketStream(ws *websocket.Conn, below io.Closer, local, remote net.Addr) *webSocketStream {
	ws.SetReadLimit(-1) // no message is ever held as a whole
	s := &webSocketStream{ws: ws, below: below, local: local, remote: remote, ring: make([]byte, webSocketBuffer)}
	s.changed.L = &s.mu
	s.receiver.Go(s.receive)
	return s
}

// receive fills the ring until the WebSocket ends.
func (s *webSocketStream) receive() {
	err := s.messages()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = ending(err)
	s.changed.Broadcast()
}

func (s *webSocketStream) messages() error {
	for {
		kind, message, err := s.ws.Reader(context.Background())
		if err != nil {
			return err
		}
		if kind != websocket.MessageBinary {
			return errText
		}
		for err == nil {
			room := s.room()
			if room == nil {
				return net.ErrClosed
			}
			var n int
			n, err = message.Read(room)
			s.arrived(n)
		}
		if err != io.EOF {
			return err
		}
	}
}

var errText = errors.New("transport: a text message on a WebSocket that carries bytes")

// ending says why a WebSocket ended: io.EOF if its peer meant to.
func ending(err error) error {
	var c websocket.CloseError
	if !errors.As(err, &c) {
		return err
	}
	switch c.Code {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return io.EOF
	}
	return fmt.Errorf("transport: the peer closed the WebSocket with %d %q", c.Code, c.Reason)
}

// room waits for free space in the ring, and returns nil once s is closed. Only
// the receiver uses that space.
func (s *webSocketStream) room() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.n == len(s.ring) && !s.closed {
		s.changed.Wait()
	}
	if s.closed {
		return nil
	}
	if s.n == 0 {
		s.from = 0
	}
	if end := s.from + s.n; end < len(s.ring) {
		return s.ring[end:]
	}
	return s.ring[s.from+s.n-len(s.ring) : s.from]
}

func (s *webSocketStream) arrived(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n += n
	s.changed.Broadcast()
}

// Read reads what has arrived. It may be called again after its deadline.
func (s *webSocketStream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case s.n > 0 || len(p) == 0:
			return s.take(p), nil
		case s.err != nil:
			return 0, s.err
		}
		s.changed.Wait()
	}
}

func (s *webSocketStream) take(p []byte) int {
	total := 0
	for total < len(p) && s.n > 0 {
		m := copy(p[total:], s.ring[s.from:min(s.from+s.n, len(s.ring))])
		total += m
		s.n -= m
		s.from = (s.from + m) % len(s.ring)
	}
	s.changed.Broadcast()
	return total
}

// Arrived reports whether Read would return at once.
func (s *webSocketStream) Arrived() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n > 0 || s.err != nil
}

// Write sends p as one message. Once it has begun it reports all of p as
// written, since nobody knows how much of a message that failed has arrived. A
// Write that its deadline interrupts ends the connection.
func (s *webSocketStream) Write(p []byte) (int, error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	s.mu.Lock()
	err := s.mayWrite()
	s.writing = err == nil
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if len(p) > 0 {
		err = s.ws.Write(context.Background(), websocket.MessageBinary, p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	if err != nil && s.cut {
		err = os.ErrDeadlineExceeded
	}
	return len(p), err
}

func (s *webSocketStream) mayWrite() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.cut || s.writeBy.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// overdue ends the connection if a Write is in progress beyond its deadline.
func (s *webSocketStream) overdue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing && s.writeBy.passed() {
		s.cut = true
		s.abort()
	}
}

func (s *webSocketStream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

// abort ends the WebSocket without a word, which makes whatever uses it return.
func (s *webSocketStream) abort() {
	if s.below != nil {
		s.below.Close()
	}
}

// Close ends the WebSocket and returns when its receiver has ended. It does not
// wait for the peer.
func (s *webSocketStream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.closed = true
	s.readBy.set(time.Time{}, nil)
	s.writeBy.set(time.Time{}, nil)
	s.changed.Broadcast()
	s.mu.Unlock()
	s.abort()
	s.ws.CloseNow()
	s.receiver.Wait()
	return nil
}

// LocalAddr returns the address of the stream below.
func (s *webSocketStream) LocalAddr() net.Addr { return s.local }

// RemoteAddr returns the peer's address of the stream below.
func (s *webSocketStream) RemoteAddr() net.Addr { return s.remote }

// SetDeadline sets both deadlines.
func (s *webSocketStream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline bounds Read, also one that waits.
func (s *webSocketStream) SetReadDeadline(t time.Time) error {
	return s.bound(&s.readBy, t, s.wake)
}

// SetWriteDeadline bounds Write, also one that waits, which then ends the
// connection.
func (s *webSocketStream) SetWriteDeadline(t time.Time) error {
	return s.bound(&s.writeBy, t, s.overdue)
}

func (s *webSocketStream) bound(d *deadline, t time.Time, expired func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	d.set(t, expired)
	return nil
}

// deadline is a point in time, and the timer that tells when it has come.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(t time.Time, expired func()) {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.at, d.timer = t, nil
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), expired)
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
