package redisx_test

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redisx/redisx/resp3"
)

// fakeServer is a server on a TCP port that answers HELLO and GET as a server
// does, until it is told to be hostile.
type fakeServer struct {
	ln       net.Listener
	url      string
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool
	at       string      // the command that is answered with the hostile reply
	hostile  func(*wire) // writes it
	received atomic.Int64
}

func newFakeServer(t *testing.T) *fakeServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{ln: ln, url: "redis://" + ln.Addr().String(), conns: map[net.Conn]bool{}}
	s.wg.Go(s.accept)
	t.Cleanup(func() {
		ln.Close()
		s.drop()
		s.wg.Wait()
	})
	return s
}

// play sets what is hostile from now on; at "" nothing is.
func (s *fakeServer) play(at string, hostile func(*wire)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.hostile = at, hostile
	s.received.Store(0)
}

// drop closes all connections.
func (s *fakeServer) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

func (s *fakeServer) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *fakeServer) serve(c net.Conn) {
	rd := resp3.NewReader(c, resp3.Limits{})
	for {
		v, err := rd.Read()
		if err != nil {
			return
		}
		var words []string
		for e := range v.Elems() {
			words = append(words, e.Text())
		}
		s.mu.Lock()
		at, hostile := s.at, s.hostile
		s.mu.Unlock()
		if words[0] == at {
			w := &wire{Conn: c, sent: &s.received}
			hostile(w)
			for w.err == nil { // silent from here on, until the client leaves
				_, w.err = c.Read(make([]byte, 512))
			}
			return
		}
		reply := "+OK\r\n"
		switch words[0] {
		case "HELLO":
			reply = "%1\r\n+proto\r\n:3\r\n"
		case "GET":
			reply = string(resp3.AppendBulk(nil, words[1]))
		}
		if _, err := c.Write([]byte(reply)); err != nil {
			return
		}
	}
}

// wire is the server's end of a connection, counting.
type wire struct {
	net.Conn
	sent *atomic.Int64
	err  error
}

func (w *wire) put(s string) bool {
	if w.err == nil {
		var n int
		n, w.err = w.Write([]byte(s))
		w.sent.Add(int64(n))
	}
	return w.err == nil
}

// repeat writes s over and over, up to a bound that no client should let it
// reach if the bound is large.
func (w *wire) repeat(s string, bytes int) {
	block := strings.Repeat(s, max(1, 16384/len(s)))
	for n := 0; n < bytes && w.put(block); n += len(block) {
	}
}
