package faultproxy

import (
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	chunk     = 32 << 10
	drop      = 7                    // bytes that a Drip passes at a time
	dropEvery = time.Millisecond     // and how long it waits between them
	late      = 5 * time.Millisecond // the default of Fault.Late
)

// Proxy passes connections on to one address.
type Proxy struct {
	// Addr is where it listens, on the loopback.
	Addr string

	ln net.Listener
	wg sync.WaitGroup // the accepter, and both pumps of every link

	mu     sync.Mutex
	to     string // where new connections go
	links  map[*link]struct{}
	state  Fault // what lasts
	until  time.Time
	active bool
	healed chan struct{} // closed when state changes
	closed bool
}

// Start returns a proxy to the address.
func Start(to string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{Addr: ln.Addr().String(), to: to, ln: ln, links: map[*link]struct{}{}, healed: make(chan struct{})}
	p.wg.Go(p.accept)
	return p, nil
}

// Close cuts everything. It may be called twice.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.set(Fault{}, false)
	for l := range p.links {
		l.close()
	}
	p.mu.Unlock()
	p.ln.Close()
	p.wg.Wait()
	return nil
}

// Links returns how many connections pass through.
func (p *Proxy) Links() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Switch passes new connections on to another address, and cuts those that are
// open: what a failover looks like from outside.
func (p *Proxy) Switch(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
	for l := range p.links {
		l.close()
	}
}

// target returns where new connections go.
func (p *Proxy) target() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.to
}

// Apply makes the fault happen. A fault that lasts takes the place of the one
// before; one that does not happens to each open connection.
func (p *Proxy) Apply(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.lasts() {
		p.set(f, true)
		return
	}
	for l := range p.links {
		l.strike(f)
	}
}

// Heal ends what lasts, and takes back what has not happened yet.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(Fault{}, false)
	for l := range p.links {
		l.calm()
	}
}

// set is called with mu held.
func (p *Proxy) set(f Fault, active bool) {
	p.state, p.active, p.until = f, active, time.Time{}
	if f.For > 0 {
		p.until = time.Now().Add(f.For)
	}
	close(p.healed)
	p.healed = make(chan struct{})
}

// lasting returns the fault in force, and when to look again.
func (p *Proxy) lasting() (f Fault, active bool, until time.Time, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.active && !p.until.IsZero() && !time.Now().Before(p.until) {
		p.active = false
	}
	return p.state, p.active, p.until, p.healed
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c.(*net.TCPConn)) })
	}
}

// serve passes one connection on until both directions have ended.
func (p *Proxy) serve(c *net.TCPConn) {
	to := p.target()
	s, err := net.Dial("tcp", to)
	if err != nil {
		c.Close()
		return
	}
	l := &link{proxy: p, ends: [2]*net.TCPConn{Client: c, Server: s.(*net.TCPConn)}, done: make(chan struct{})}
	p.mu.Lock()
	if p.closed || p.to != to {
		l.close()
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()

	var up sync.WaitGroup
	up.Go(func() { l.pump(Server) })
	l.pump(Client)
	up.Wait()
	l.close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}
