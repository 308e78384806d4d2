package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	socketBuffer = 16 << 10 // what is read from the socket at once
	goodbye      = 10 * time.Millisecond
	stuckAfter   = 250 * time.Millisecond
)

// tlsStream is a TLS connection that takes all that has arrived at every Read,
// and knows whether it holds more.
type tlsStream struct {
	*tls.Conn
	reading sync.Mutex
	socket  *socket
	more    atomic.Bool  // decrypted bytes may be left
	reads   atomic.Int64 // odd while a Read is in progress

	mu    sync.Mutex
	stuck *time.Timer // running while there is a read deadline
}

func newTLSStream(nc net.Conn, cfg *tls.Config) *tlsStream {
	s := &socket{Conn: nc}
	return &tlsStream{Conn: tls.Client(s, cfg), socket: s}
}

// Read reads what has arrived, however many records it came in, as a read from
// a socket does: a record left behind would look as if it came later, and could
// be taken for the reply of the next command.
func (t *tlsStream) Read(p []byte) (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	t.reads.Add(1)
	defer t.reads.Add(1)
	n, err := t.Conn.Read(p)
	if err == nil && n < len(p) {
		t.socket.dry = true
		for n < len(p) && err == nil {
			var m int
			m, err = t.Conn.Read(p[n:])
			n += m
		}
		t.socket.dry = false
		err = nil // nothing more for now, or crypto/tls repeats it
	}
	t.more.Store(n == len(p))
	return n, err
}

// Buffered reports whether Read may return at once without reading from the
// stream below.
func (t *tlsStream) Buffered() bool { return t.more.Load() }

// NetConn returns the stream below, as it was dialled. Use it to look, not to
// read or write.
func (t *tlsStream) NetConn() net.Conn { return t.socket.Conn }

// SetReadDeadline bounds Read. A Read may also have to write, such as an alert,
// and wait for that behind a Write to a peer that reads nothing: as no deadline
// ends that, the connection is ended a moment later.
func (t *tlsStream) SetReadDeadline(at time.Time) error {
	t.mu.Lock()
	if t.stuck != nil {
		t.stuck.Stop()
		t.stuck = nil
	}
	if !at.IsZero() {
		t.stuck = time.AfterFunc(time.Until(at)+stuckAfter, func() { t.unstick(t.reads.Load()) })
	}
	t.mu.Unlock()
	return t.Conn.SetReadDeadline(at)
}

// unstick ends the connection if, long after the deadline, the given Read is
// in progress and stays so.
func (t *tlsStream) unstick(read int64) {
	if read%2 == 0 {
		return
	}
	time.AfterFunc(stuckAfter, func() {
		switch {
		case t.reads.Load() != read:
		case t.socket.waits.Load(): // this process is starved: the deadline ends it
			t.unstick(read)
		default:
			t.socket.Conn.Close()
		}
	})
}

// SetDeadline sets both deadlines.
func (t *tlsStream) SetDeadline(at time.Time) error {
	return errors.Join(t.SetReadDeadline(at), t.SetWriteDeadline(at))
}

// Close says goodbye to the peer, which crypto/tls would wait 5 s for to be
// taken, and closes the stream below.
func (t *tlsStream) Close() error {
	t.mu.Lock()
	if t.stuck != nil {
		t.stuck.Stop()
	}
	t.mu.Unlock()
	t.socket.closing.Store(true)
	return t.Conn.Close()
}

// socket is the stream below, buffered.
type socket struct {
	net.Conn
	buf     []byte
	r, w    int
	dry     bool        // nothing more is to be read from the socket for now
	waits   atomic.Bool // a Read of the stream below is in progress
	closing atomic.Bool
}

// Read reads from the buffer, which it fills if it is empty.
func (s *socket) Read(p []byte) (int, error) {
	if s.r == s.w {
		if s.dry {
			return 0, os.ErrDeadlineExceeded
		}
		if s.buf == nil {
			s.buf = make([]byte, socketBuffer)
		}
		s.waits.Store(true)
		n, err := s.Conn.Read(s.buf)
		s.waits.Store(false)
		s.r, s.w = 0, n
		if n == 0 {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				// crypto/tls goes on after it only if it calls itself temporary.
				err = os.ErrDeadlineExceeded
			}
			return 0, err
		}
	}
	n := copy(p, s.buf[s.r:s.w])
	s.r += n
	return n, nil
}

// SetWriteDeadline shortens the deadline that crypto/tls sets for its goodbye.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.closing.Load() {
		t = time.Now().Add(goodbye)
	}
	return s.Conn.SetWriteDeadline(t)
}
