package transport

import (
	"math"
	"net"
	"os"
	"syscall"
	"time"
)

const tcpUserTimeout = 0x12 // linux/tcp.h; package syscall lacks the name

func setUserTimeout(c *net.TCPConn, d time.Duration) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var opt error
	err = raw.Control(func(fd uintptr) {
		opt = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(min(max(d.Milliseconds(), 1), math.MaxInt32)))
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", opt)
}
