package redisx_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

var bg = context.Background()

func connect(t testing.TB, url string) *redisx.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func killClients(t testing.TB, admin *redisx.Client) {
	if _, err := admin.Cmd(bg, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"); err != nil {
		t.Error(err)
	}
}

// cutter is a proxy that passes everything on to the server, and cuts each
// connection after a while without passing the last replies back: what was
// cut off has run.
type cutter struct {
	ln   net.Listener
	to   string
	wg   sync.WaitGroup
	over atomic.Bool
}

func startCutter(t *testing.T, to string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cutter{ln: ln, to: to}
	p.wg.Go(func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c, 2000+n*777%5000) })
		}
	})
	t.Cleanup(func() { ln.Close(); p.wg.Wait() })
	return p
}

func (p *cutter) serve(c net.Conn, replies int) {
	defer c.Close()
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	var up sync.WaitGroup
	up.Go(func() { io.Copy(s, c); s.Close() })
	if p.over.Load() {
		io.Copy(c, s)
	} else {
		io.CopyN(c, s, int64(replies))
		s.Read(make([]byte, 64<<10)) // it ran, and nobody will know
	}
	c.Close()
	up.Wait()
}

func TestTheClientOutlivesItsServer(t *testing.T) {
	srv := serverstest.Start(t)
	client := connect(t, srv.URL())
	for range 3 {
		ctx, cancel := context.WithTimeout(bg, 20*time.Second)
		if err := srv.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		time.Sleep(30 * time.Millisecond) // an idle connection is looked at after 10 ms
		if err := client.Set(bg, "k", "v"); err != nil {
			t.Errorf("after a restart: %v", err)
		}
	}
	srv.Kill()
	time.Sleep(30 * time.Millisecond)
	start := time.Now()
	err := client.Set(bg, "k", "v")
	if !redisx.SafeToRetry(err) || time.Since(start) > 3*time.Second {
		t.Errorf("without a server: %v after %v", err, time.Since(start))
	}
	if errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v does not say what the dial met", err)
	}
}
