package session

import (
	"net"
	"syscall"
)

// arrivals is what a transport may have that can tell, without blocking and
// without consuming anything, whether a read would return at once: with bytes,
// or because the peer has closed. Sockets are asked through the system.
type arrivals interface{ Arrived() bool }

// arrivalsOf returns how to ask nc, or nil if that is not possible.
func arrivalsOf(nc net.Conn) arrivals {
	if a, ok := nc.(arrivals); ok {
		return a
	}
	if l, ok := nc.(layer); ok {
		return layered{l, arrivalsOf(l.NetConn())}
	}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return socket{raw}
		}
	}
	return nil
}

type socket struct{ raw syscall.RawConn }

// layer is a transport over another one, such as TLS, that knows whether it
// holds bytes which it has read from there.
type layer interface {
	Buffered() bool
	NetConn() net.Conn
}

type layered struct {
	layer
	below arrivals
}

func (l layered) Arrived() bool { return l.Buffered() || l.below != nil && l.below.Arrived() }
