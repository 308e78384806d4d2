package faultproxy

import (
	"net"
	"sync"
	"time"
)

// link is one connection through the proxy.
type link struct {
	proxy *Proxy
	ends  [2]*net.TCPConn // by side
	done  chan struct{}   // closed with the link

	mu     sync.Mutex
	closed bool
	armed  bool  // fault will happen after left more bytes
	fault  Fault // at most one waits: the last one wins
	left   int
}

// close ends both directions. It may be called more than once.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	close(l.done)
	l.ends[Client].Close()
	l.ends[Server].Close()
}

// strike makes an event happen, at once or later.
func (l *link) strike(f Fault) {
	if f.Bytes == 0 {
		l.happen(f)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.left, l.armed = f, f.Bytes, true
}

func (l *link) calm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
}

func (l *link) happen(f Fault) {
	switch f.Kind {
	case HalfClose:
		l.ends[f.To].CloseWrite()
		return
	case Reset:
		l.ends[Client].SetLinger(0)
	}
	l.close()
}

// pump passes on what is for one side, until an end closes.
func (l *link) pump(to Side) {
	from := 1 - to
	buf := make([]byte, chunk)
	for {
		n, err := l.ends[from].Read(buf)
		if n > 0 && !l.pass(to, buf[:n]) {
			return
		}
		if err != nil {
			l.ends[to].CloseWrite()
			return
		}
	}
}

// pass sends b, as the faults in force let it. It reports false when the
// direction has ended.
func (l *link) pass(to Side, b []byte) bool {
	for len(b) > 0 {
		f, active, until, changed := l.proxy.lasting()
		n := len(b)
		if active {
			switch {
			case f.Kind == Hole:
				if !l.wait(until, changed) {
					return false
				}
				continue
			case f.To != to:
			case f.Kind == Delay:
				wait := f.Late
				if wait == 0 {
					wait = late
				}
				if !l.wait(time.Now().Add(wait), nil) {
					return false
				}
			case f.Kind == Drip:
				if n = min(n, drop); !l.wait(time.Now().Add(dropEvery), nil) {
					return false
				}
			}
		}
		event, due, n := l.budget(to, n)
		if _, err := l.ends[to].Write(b[:n]); err != nil {
			return false
		}
		if b = b[n:]; due {
			if l.happen(event); event.Kind != HalfClose || event.To == to {
				return false
			}
		}
	}
	return true
}

// budget returns how many of n bytes may pass, and whether an event is due then.
func (l *link) budget(to Side, n int) (Fault, bool, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.armed || l.fault.To != to {
		return Fault{}, false, n
	}
	n = min(n, l.left)
	l.left -= n
	if l.left > 0 {
		return Fault{}, false, n
	}
	l.armed = false
	return l.fault, true, n
}

// wait returns at the time, or when what lasts has changed. A zero time means no
// limit. It reports false when the link has been closed.
func (l *link) wait(until time.Time, changed <-chan struct{}) bool {
	var expired <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-expired:
	case <-changed:
	case <-l.done:
		return false
	}
	return true
}
