package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// Dialer opens a stream to one address. Implementations must be safe for
// concurrent use and must obey ctx, which bounds the dial and not the stream.
//
// A stream must not deliver bytes that Write did not report as written: whether
// a command can have run is judged from that. A stream that cannot know after a
// failed Write reports all of it as written.
//
// A Write that its deadline interrupts ends the connection, as most streams
// cannot go on where it stopped. Streams that can are *net.TCPConn,
// *net.UnixConn and those with a method ResumesWrites() bool that says so.
//
// A stream that buffers what it has read should have a method Arrived() bool,
// which reports whether Read would return at once: it keeps what a server sent
// unasked from being taken for the reply of the next command.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Resolver looks up the addresses of a name, in the order in which they should
// be tried. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Net dials TCP ("tcp", "tcp4", "tcp6": host:port) and unix sockets ("unix": a
// path). Its zero value is ready.
//
// Names are resolved at every dial. Their addresses are tried one after the
// other, IPv4 and IPv6 in turn, without waiting for one that does not answer
// (RFC 8305); the first connection that is up is taken.
type Net struct {
	// KeepAlive is how long a TCP connection is silent before the kernel probes
	// its peer. Probes follow at a third of it, and the third one unanswered ends
	// the connection. Zero means 15 s, negative no probes.
	KeepAlive time.Duration
	// UserTimeout is how long sent data may stay unacknowledged before the
	// kernel gives a TCP connection up (TCP_USER_TIMEOUT, Linux only). Keepalive
	// does not see a peer that is lost while data is on its way. Zero means
	// 10 s, negative the system's own.
	UserTimeout time.Duration
	// Stagger is how long an address may take before the next one is tried
	// beside it. Zero means 250 ms, as RFC 8305 recommends.
	Stagger time.Duration
	// Resolver looks up names. Nil means net.DefaultResolver.
	Resolver Resolver
}

// Dial opens a stream. Nagle's algorithm is off: redisX batches by itself.
func (n Net) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !strings.HasPrefix(network, "tcp") {
		return dial(ctx, n.dialer(), network, address)
	}
	addresses, err := n.resolve(ctx, network, address)
	if err != nil {
		return nil, err
	}
	nc, err := n.race(ctx, network, addresses)
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

func (n Net) dialer() *net.Dialer {
	if n.KeepAlive < 0 {
		return &net.Dialer{KeepAlive: -1}
	}
	idle := n.KeepAlive
	if idle == 0 {
		idle = 15 * time.Second
	}
	return &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: idle, Interval: max(idle/3, time.Second), Count: 3}}
}

// resolve returns the addresses to try, in order: host:port each.
func (n Net) resolve(ctx context.Context, network, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return []string{address}, nil
	}
	resolver := n.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	ips, err := resolver.LookupNetIP(ctx, "ip"+strings.TrimPrefix(network, "tcp"), host)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	var addresses []string
	for _, ip := range alternate(ips) {
		addresses = append(addresses, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return addresses, nil
}

// alternate puts the two families in turn, beginning with that of the first.
func alternate(ips []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr
	first := ips[0].Unmap().Is4()
	for _, ip := range ips {
		i := 0
		if ip.Unmap().Is4() != first {
			i = 1
		}
		families[i] = append(families[i], ip)
	}
	all := ips[:0:0]
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				all = append(all, f[i])
			}
		}
	}
	return all
}

// race dials the addresses, each beside those before it that have not
// answered, and returns the first connection. Nothing of it runs on after that.
func (n Net) race(ctx context.Context, network string, addresses []string) (net.Conn, error) {
	d := n.dialer()
	if len(addresses) == 1 {
		return dial(ctx, d, network, addresses[0])
	}
	stagger := n.Stagger
	if stagger <= 0 {
		stagger = 250 * time.Millisecond
	}
	type result struct {
		nc  net.Conn
		err error
	}
	results := make(chan result, len(addresses))
	ctx, cancel := context.WithCancel(ctx)
	var dials sync.WaitGroup
	defer func() {
		cancel()
		dials.Wait()
		for len(results) > 0 {
			if r := <-results; r.nc != nil {
				r.nc.Close()
			}
		}
	}()
	next := time.NewTimer(0)
	defer next.Stop()
	var errs dialErrors
	for started := 0; ; {
		select {
		case <-ctx.Done():
			return nil, append(errs, ctx.Err())
		case r := <-results:
			if r.err == nil {
				return r.nc, nil
			}
			if errs = append(errs, r.err); len(errs) == len(addresses) {
				return nil, errs
			}
			next.Reset(0)
		case <-next.C:
			if started == len(addresses) {
				continue
			}
			address := addresses[started]
			started++
			dials.Go(func() {
				nc, err := dial(ctx, d, network, address)
				results <- result{nc, err}
			})
			next.Reset(stagger)
		}
	}
}

// dial dials one address. Package net does not always say that it was the
// context's deadline.
func dial(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	nc, err := d.DialContext(ctx, network, address)
	if errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return nc, err
}

// dialErrors is why no address of a name could be dialled.
type dialErrors []error

func (e dialErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return "transport: no address of the name answered: " + strings.Join(texts, "; ")
}

func (e dialErrors) Unwrap() []error { return e }
