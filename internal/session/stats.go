package session

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/telemetry"
)

// Counts is what connections have done so far and what they hold.
type Counts struct {
	Commands int64 // written or about to be, with handshakes and pings
	BytesIn  int64
	BytesOut int64
	Pushes   int64

	Open     int // connections
	InFlight int // commands not answered, orphans among them
	Bytes    int // their size
	Orphans  int // calls whose callers have left
	Waiting  int // callers that wait for room in flight
	Buffers  int // bytes of memory in the buffers
}

func (c *Counts) add(o Counts) {
	c.Commands += o.Commands
	c.BytesIn += o.BytesIn
	c.BytesOut += o.BytesOut
	c.Pushes += o.Pushes
	c.Open += o.Open
	c.InFlight += o.InFlight
	c.Bytes += o.Bytes
	c.Orphans += o.Orphans
	c.Waiting += o.Waiting
	c.Buffers += o.Buffers
}

// Group is the connections of one client, for its statistics. The zero Group is
// ready; it may be used by many goroutines at once.
type Group struct {
	ids atomic.Int64

	mu    sync.Mutex
	conns map[*Conn]struct{}
	past  Counts // of connections that have ended
}

// NextID returns a number for the next connection.
func (g *Group) NextID() int64 { return g.ids.Add(1) }

func (g *Group) join(c *Conn) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		g.conns = map[*Conn]struct{}{}
	}
	g.conns[c] = struct{}{}
}

// leave keeps the counts of a connection that has ended. It is called with the
// connection locked.
func (g *Group) leave(c *Conn) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.conns[c]; ok {
		delete(g.conns, c)
		g.past.add(c.counts())
	}
}

// Counts returns the sum over all connections, past ones included.
func (g *Group) Counts() Counts {
	g.mu.Lock()
	sum := g.past
	conns := make([]*Conn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	// Not under g.mu: leave takes the locks the other way round. What ends
	// meanwhile is counted here, as it is not in the sum.
	for _, c := range conns {
		c.mu.Lock()
		n := c.counts()
		c.mu.Unlock()
		sum.add(n)
	}
	return sum
}

// counters is what a connection counts.
type counters struct {
	sent    int64 // commands; guarded by Conn.mu
	buffer  int   // bytes that the reader holds, as of the last settling; guarded by Conn.mu
	died    time.Time
	in      atomic.Int64
	pushed  atomic.Int64
	orphans atomic.Int64 // calls
}

// counts is called with mu held.
func (c *Conn) counts() Counts {
	n := Counts{
		Commands: c.counters.sent, BytesIn: c.counters.in.Load(), BytesOut: c.wrote, Pushes: c.counters.pushed.Load(),
		InFlight: c.nflight, Bytes: c.nbytes, Waiting: len(c.waiters),
	}
	if c.err == nil {
		n.Open = 1
		n.Orphans = max(int(c.counters.orphans.Load()), 0)
		n.Buffers = cap(c.wbuf) + cap(c.spare) + c.counters.buffer
	}
	return n
}

// Since returns when the connection was made or, if it is dead, when it died.
func (c *Conn) Since() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.counters.died
	}
	return c.clock.born
}

// Announce tells the observers that the connection is up, after which they are
// told of its end. dialled says how long it took to get there.
func (c *Conn) Announce(dialled time.Duration) {
	if !c.cfg.Observers.Conns() {
		return
	}
	c.news.Lock() // the end is not told before
	defer c.news.Unlock()
	c.mu.Lock()
	err := c.err
	c.announced = err == nil
	c.mu.Unlock()
	state := telemetry.Up
	if err != nil {
		state = telemetry.DialFailed
	}
	c.tell(state, dialled, err)
}

// tellDown tells of the connection's death, which was announced.
func (c *Conn) tellDown() {
	c.news.Lock()
	defer c.news.Unlock()
	err := c.err // it does not change any more
	if err == ErrClosed {
		err = nil
	}
	c.tell(telemetry.Down, c.counters.died.Sub(c.clock.born), err)
}

func (c *Conn) tell(s telemetry.ConnState, took time.Duration, err error) {
	c.cfg.Observers.Conn(telemetry.Conn{
		ID: c.cfg.ID, Role: c.cfg.Role, Node: c.cfg.Node, State: s, At: time.Now(), Took: took, Err: err,
	})
}
