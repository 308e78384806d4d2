package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/redisx/redisx/internal/servers"
)

// traffic is what a server was asked to do.
type traffic struct {
	requests int // by clients
	calls    int // by scripts
}

// per returns the traffic of one of n operations.
func (t traffic) per(n int) (requests, calls float64) {
	return float64(t.requests) / float64(n), float64(t.calls) / float64(n)
}

// counted runs f and counts what the server was asked meanwhile. It uses
// MONITOR, which tells requests from the commands inside scripts, and which
// slows the server: no run is timed and counted at once.
func counted(server *servers.Server, f func() error) (traffic, error) {
	const last = "bench:last"
	nc, err := net.Dial("tcp", server.Addr)
	if err != nil {
		return traffic{}, err
	}
	defer nc.Close()
	lines := bufio.NewScanner(nc)
	lines.Buffer(nil, 1<<20)
	if _, err := nc.Write([]byte("MONITOR\r\n")); err != nil {
		return traffic{}, err
	}
	if !lines.Scan() || lines.Text() != "+OK" {
		return traffic{}, fmt.Errorf("MONITOR: %q, %v", lines.Text(), lines.Err())
	}

	var t traffic
	ended := errors.New("MONITOR ended")
	var reader sync.WaitGroup
	reader.Go(func() {
		for lines.Scan() {
			_, from, _ := strings.Cut(lines.Text(), " [")
			client, command, _ := strings.Cut(from, "] ")
			switch {
			case strings.Contains(command, last):
				ended = nil
				return
			case strings.HasSuffix(client, " lua"):
				t.calls++
			default:
				t.requests++
			}
		}
	})
	err = f()
	if said := echo(server.Addr, last); err == nil {
		err = said
	}
	if err != nil {
		nc.Close()
	}
	reader.Wait()
	return t, cmp.Or(err, ended)
}

// echo makes a text appear at the end of what MONITOR shows.
func echo(addr, text string) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	if _, err := nc.Write([]byte("ECHO " + text + "\r\n")); err != nil {
		return err
	}
	_, err = bufio.NewReader(nc).ReadString('\n')
	return err
}
