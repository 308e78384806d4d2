package transport

import (
	"context"
	"math"
	"net"
	"syscall"
	"testing"
	"time"
)

func TestUnacknowledgedDataEndsATCPConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for set, want := range map[time.Duration]int{0: 10_000, 3 * time.Second: 3000, time.Microsecond: 1, 10 * 365 * 24 * time.Hour: math.MaxInt32} {
		c, err := Net{UserTimeout: set}.Dial(context.Background(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			got, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
			if err != nil || got != want {
				t.Errorf("TCP_USER_TIMEOUT is %d ms, error %v; want %d", got, err, want)
			}
		})
		c.Close()
	}
}
