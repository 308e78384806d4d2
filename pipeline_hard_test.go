package redisx_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

func TestAnEmptyPipelineDoesNothing(t *testing.T) {
	p := (&redisx.Client{}).Pipeline() // it would panic if it did
	if err := p.Exec(bg); err != nil {
		t.Error(err)
	}
	var none redisx.Future[int64]
	if _, err := none.Result(); !errors.Is(err, redisx.ErrNotExecuted) {
		t.Error(err)
	}
}

// 100 MB out and 100 MB in, in the same pipeline: neither side can take its
// part before the other has taken some of its own.
func TestAPipelineThatSendsAndReceives100MB(t *testing.T) {
	for _, tt := range []struct{ name, url string }{
		{"a real server", serverstest.Start(t).URL()},
		{"a server that reads nothing until its replies are read", startEcho(t)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := connect(t, tt.url)
			ctx, cancel := context.WithTimeout(bg, time.Minute)
			defer cancel()
			value := strings.Repeat("x", 1<<20)
			p := client.Pipeline()
			var got []redisx.Future[string]
			for range 100 {
				got = append(got, redisx.Queue(p, command.As(command.Untyped("ECHO", value), command.AsString)))
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := p.Exec(ctx); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			for i, f := range got {
				if v, err := f.Result(); err != nil || v != value {
					t.Fatalf("reply %d: %d bytes, %v", i, len(v), err)
				}
			}
			// The commands encoded once, the replies once, and what the read
			// buffer takes while it grows.
			if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 512 && tt.name == "a real server" {
				t.Errorf("100 MB out and in took %d MB of allocations", took)
			}
		})
	}
}

// startEcho starts a server that has room for one command and one reply, and
// reads the next command only when its reply has been taken.
func startEcho(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.(*net.TCPConn).SetReadBuffer(64 << 10)
				c.(*net.TCPConn).SetWriteBuffer(64 << 10)
				rd := resp3.NewReader(c, resp3.Limits{})
				for {
					v, err := rd.Read()
					if err != nil {
						return
					}
					elems := v.Cursor()
					name, _ := elems.Next()
					reply := []byte("+OK\r\n")
					switch name.Text() {
					case "HELLO":
						reply = []byte("%1\r\n+proto\r\n:3\r\n")
					case "ECHO":
						text, _ := elems.Next()
						reply = resp3.AppendBulk(nil, text.Bytes())
					}
					if _, err := c.Write(reply); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return "redis://" + ln.Addr().String()
}
