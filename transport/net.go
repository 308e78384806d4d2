package transport

import (
	"context"
	"net"
	"time"
)

// Dialer opens a stream to one address. Implementations must be safe for
// concurrent use and must obey ctx.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Net dials TCP ("tcp": host:port, every address of the name is tried within
// the context) and unix sockets ("unix": a path). Its zero value is ready.
type Net struct {
	// KeepAlive is the interval of TCP keepalive probes. Zero means 15 s,
	// negative none.
	KeepAlive time.Duration
	// UserTimeout is how long sent data may stay unacknowledged before the
	// kernel gives a TCP connection up (TCP_USER_TIMEOUT, Linux only). Keepalive
	// does not see a peer that is lost while data is on its way. Zero means
	// 10 s, negative the system's own.
	UserTimeout time.Duration
}

// Dial opens a stream. Nagle's algorithm is off: redisX batches by itself.
func (n Net) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: n.KeepAlive}
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	timeout := n.UserTimeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	if tc, ok := nc.(*net.TCPConn); ok && timeout > 0 {
		if err := setUserTimeout(tc, timeout); err != nil {
			nc.Close()
			return nil, err
		}
	}
	return nc, nil
}
