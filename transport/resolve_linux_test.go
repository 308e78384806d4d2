package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// names is a Resolver that knows one name.
type names []string

func (n names) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	var ips []netip.Addr
	for _, s := range n {
		ips = append(ips, netip.MustParseAddr(s))
	}
	return ips, nil
}

// listen accepts connections on 127.0.0.1 and returns the port.
func listen(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// swallow makes ip:port drop what connects to it: its backlog is full.
func swallow(t *testing.T, ip, port string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	n, _ := strconv.Atoi(port)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: netip.MustParseAddr(ip).As4(), Port: n}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := net.DialTimeout("tcp4", net.JoinHostPort(ip, port), 50*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the address goes on taking connections")
}

func TestADeadFirstAddressCostsLittle(t *testing.T) {
	port := listen(t)
	swallow(t, "127.0.0.2", port)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	start := time.Now()
	c, err := Net{Resolver: names{"127.0.0.2", "127.0.0.1"}}.Dial(ctx, "tcp", "redis.example:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if took := time.Since(start); took > 2*time.Second || took < 250*time.Millisecond {
		t.Errorf("took %v, want the 250 ms after which the next address is tried", took)
	}
	if got := c.RemoteAddr().String(); got != "127.0.0.1:"+port {
		t.Errorf("connected to %s", got)
	}
}

func TestARefusedAddressIsFollowedByTheNextAtOnce(t *testing.T) {
	port := listen(t)
	n := Net{Resolver: names{"127.0.0.3", "127.0.0.2", "127.0.0.1"}, Stagger: time.Hour}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := n.Dial(ctx, "tcp", "redis.example:"+port)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestADialWithoutAnyLiveAddressEndsWithItsContextAndSaysWhy(t *testing.T) {
	port := listen(t)
	swallow(t, "127.0.0.2", port)
	swallow(t, "127.0.0.3", port)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	n := Net{Resolver: names{"127.0.0.4", "127.0.0.2", "127.0.0.3"}, Stagger: time.Millisecond}
	_, err := n.Dial(ctx, "tcp", "redis.example:"+port)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v, want the deadline and the refusal of the first address", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}

	n = Net{Resolver: names{"127.0.0.4", "127.0.0.5"}}
	if _, err = n.Dial(context.Background(), "tcp", "redis.example:"+port); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v, want refused", err)
	}
	if _, err = (Net{Resolver: names{}}).Dial(context.Background(), "tcp", "redis.example:"+port); err == nil {
		t.Error("a name without addresses was dialled")
	}
}

func TestProbesOfASilentConnectionFollowKeepAlive(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for set, want := range map[time.Duration][4]int{
		0:                {1, 15, 5, 3},
		30 * time.Second: {1, 30, 10, 3},
		time.Second:      {1, 1, 1, 3},
		-1:               {0},
	} {
		c, err := Net{KeepAlive: set}.Dial(context.Background(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			for i, o := range [][2]int{
				{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
			} {
				got, err := syscall.GetsockoptInt(int(fd), o[0], o[1])
				if err != nil || (got != want[i] && want[0] == 1) || (i == 0 && got != want[0]) {
					t.Errorf("KeepAlive %v: option %v is %d, error %v; want %v", set, o, got, err, want)
				}
			}
		})
		c.Close()
	}
}
