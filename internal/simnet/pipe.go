package simnet

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// ErrReset is what the ends of a cut pipe report.
var ErrReset = errors.New("simnet: connection reset")

// Options says how a pipe behaves, in both directions. The zero value delivers
// at once, in the pieces that were written, without bounds.
type Options struct {
	Seed    uint64        // of the random choices
	Latency time.Duration // each piece takes a random time up to this
	Split   int           // pieces are of random size up to this; 0: as written
	Window  int           // bytes on their way before Write blocks; 0: no bound
}

// Pipe returns two connected ends.
func Pipe(o Options) (*Conn, *Conn) {
	p := &pipe{o: o, rand: rand.New(rand.NewPCG(o.Seed, 1))}
	p.changed.L = &p.mu
	a, b := &Conn{p: p}, &Conn{p: p}
	a.peer, b.peer = b, a
	a.left, b.left = -1, -1
	return a, b
}

// pipe is what both ends share.
type pipe struct {
	o       Options
	mu      sync.Mutex
	changed sync.Cond
	rand    *rand.Rand
	cut     bool
}

type piece struct {
	at time.Time // of arrival
	b  []byte
}

// Conn is one end. It is a net.Conn and may be used by many goroutines at once.
type Conn struct {
	p    *pipe
	peer *Conn

	in     []piece // written by the peer, not read yet
	held   int     // their bytes
	last   time.Time
	closed bool
	read   time.Time // deadlines
	write  time.Time
	left   int // bytes that Write takes before it cuts the pipe; -1: no bound
	wrote  int64
}

// Read reads what has arrived.
func (c *Conn) Read(b []byte) (int, error) {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case !c.read.IsZero() && !now.Before(c.read):
			return 0, os.ErrDeadlineExceeded
		case len(c.in) > 0 && !c.in[0].at.After(now):
			return c.take(b, now), nil
		case len(c.in) == 0 && p.cut:
			return 0, ErrReset
		case len(c.in) == 0 && c.peer.closed:
			return 0, io.EOF
		}
		var until time.Time
		if len(c.in) > 0 {
			until = c.in[0].at
		}
		c.wait(until, c.read)
	}
}

// take moves arrived bytes to b, from one piece or from many.
func (c *Conn) take(b []byte, now time.Time) int {
	n := 0
	for n < len(b) && len(c.in) > 0 && !c.in[0].at.After(now) {
		m := copy(b[n:], c.in[0].b)
		n += m
		if c.in[0].b = c.in[0].b[m:]; len(c.in[0].b) == 0 {
			c.in = c.in[1:]
		}
		if c.p.o.Split > 0 && c.p.rand.IntN(4) == 0 {
			break // a read that ends in the middle of what is there
		}
	}
	c.held -= n
	c.p.changed.Broadcast()
	return n
}

// wait waits for a change or for the earlier of two times, zero being none.
func (c *Conn) wait(a, b time.Time) {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		a = b
	}
	if !a.IsZero() {
		t := time.AfterFunc(time.Until(a), func() {
			c.p.mu.Lock()
			c.p.changed.Broadcast()
			c.p.mu.Unlock()
		})
		defer t.Stop()
	}
	c.p.changed.Wait()
}

// Write sends b. It blocks while the window is full.
func (c *Conn) Write(b []byte) (n int, err error) {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for n < len(b) {
		switch {
		case c.closed:
			return n, net.ErrClosed
		case p.cut || c.peer.closed:
			return n, ErrReset
		case !c.write.IsZero() && !time.Now().Before(c.write):
			return n, os.ErrDeadlineExceeded
		}
		size := len(b) - n
		if p.o.Split > 0 {
			size = min(size, 1+p.rand.IntN(p.o.Split))
		}
		if p.o.Window > 0 {
			size = min(size, p.o.Window-c.peer.held)
		}
		if c.left >= 0 {
			if c.left == 0 {
				p.cut = true
				p.changed.Broadcast()
				return n, ErrReset
			}
			size = min(size, c.left)
			c.left -= size
		}
		if size <= 0 {
			c.wait(time.Time{}, c.write)
			continue
		}
		c.send(b[n : n+size])
		n += size
	}
	return n, nil
}

func (c *Conn) send(b []byte) {
	at := time.Now()
	if l := c.p.o.Latency; l > 0 {
		at = at.Add(time.Duration(c.p.rand.Int64N(int64(l) + 1)))
	}
	if at.Before(c.last) {
		at = c.last
	}
	c.last = at
	c.peer.in = append(c.peer.in, piece{at, append([]byte(nil), b...)})
	c.peer.held += len(b)
	c.wrote += int64(len(b))
	c.p.changed.Broadcast()
}

// CutAfter makes the pipe break once Write has taken n more bytes: they arrive,
// then both ends report ErrReset.
func (c *Conn) CutAfter(n int) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.left = n
}

// Cut breaks the pipe now. What is on its way still arrives.
func (c *Conn) Cut() {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.cut = true
	c.p.changed.Broadcast()
}

// Wrote returns how many bytes this end has sent.
func (c *Conn) Wrote() int64 {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.wrote
}

// Arrived reports whether Read would return at once.
func (c *Conn) Arrived() bool {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return len(c.in) > 0 && !c.in[0].at.After(time.Now()) || len(c.in) == 0 && (c.p.cut || c.peer.closed)
}

// ResumesWrites reports that a write which its deadline interrupted can go on.
func (c *Conn) ResumesWrites() bool { return true }

// Close closes this end. The peer reads what is on its way, then io.EOF.
func (c *Conn) Close() error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.p.changed.Broadcast()
	return nil
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds Read, also one that waits.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.set(&c.read, t) }

// SetWriteDeadline bounds Write, also one that waits.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.set(&c.write, t) }

func (c *Conn) set(at *time.Time, t time.Time) error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	*at = t
	c.p.changed.Broadcast()
	return nil
}

// LocalAddr returns a name.
func (c *Conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr returns a name.
func (c *Conn) RemoteAddr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "sim" }
func (addr) String() string  { return "simnet" }
