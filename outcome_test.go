package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
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

// 200 callers with deadlines of 1 to 20 ms, and all connections killed every
// 50 ms: each caller gets its own payload or a typed error.
func TestNoReplyReachesTheWrongCallerWhileConnectionsAreKilled(t *testing.T) {
	srv := serverstest.Start(t)
	client, admin := connect(t, srv.URL()), connect(t, srv.URL())
	end := time.Now().Add(5 * time.Second)
	var done, failed, wrong atomic.Int64
	var wg sync.WaitGroup
	for g := range 200 {
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				ctx, cancel := context.WithTimeout(bg, time.Duration(1+(g+i)%20)*time.Millisecond)
				want := fmt.Sprintf("%d-%d", g, i)
				v, err := client.Cmd(ctx, "ECHO", want)
				cancel()
				var e *redisx.Error
				switch {
				case err == nil && v.Text() == want:
					done.Add(1)
				case err == nil:
					wrong.Add(1)
				case !errors.As(err, &e):
					t.Errorf("an error without a class: %v", err)
				default:
					failed.Add(1)
				}
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(end) {
			killClients(t, admin)
			time.Sleep(50 * time.Millisecond)
		}
	})
	wg.Wait()
	t.Logf("%d right, %d failed, %d wrong", done.Load(), failed.Load(), wrong.Load())
	if wrong.Load() != 0 || done.Load() == 0 {
		t.Errorf("%d replies at the wrong caller, %d at the right one", wrong.Load(), done.Load())
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

func TestAnIncrementIsNeverRunTwice(t *testing.T) {
	srv := serverstest.Start(t)
	p := startCutter(t, srv.Addr)
	cfg, err := redisx.ParseURL("redis://" + p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.OfflineWait = 10 * time.Second
	client, err := redisx.ConnectConfig(bg, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var done, maybe, unrun atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(3 * time.Second)
	for g := range 20 {
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				key := fmt.Sprintf("n:%d:%d", g, i)
				n, err := client.Incr(bg, key)
				switch {
				case err == nil && n == 1:
					done.Add(1)
				case err == nil:
					t.Errorf("%s ran %d times", key, n)
				case redisx.SafeToRetry(err):
					unrun.Add(1)
				default:
					maybe.Add(1)
				}
				client.Incr(bg, "all")
			}
		})
	}
	wg.Wait()
	admin := connect(t, srv.URL())
	ran := int64(0)
	keys, err := admin.Cmd(bg, "KEYS", "n:*")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys.Elems() {
		v, err := admin.Get(bg, k.Text())
		if err != nil || v != "1" {
			t.Errorf("%s is %q, error %v: it ran twice", k.Text(), v, err)
		}
		ran++
	}
	t.Logf("%d done, %d maybe, %d not run; the server ran %d", done.Load(), maybe.Load(), unrun.Load(), ran)
	if ran < done.Load() || ran > done.Load()+maybe.Load() {
		t.Errorf("the server ran %d, want between %d and %d", ran, done.Load(), done.Load()+maybe.Load())
	}
	if maybe.Load() == 0 {
		t.Error("no command was cut off: the test shows nothing")
	}
}

func TestAPausedServerDoesNotHoldCallersBeyondTheirDeadlines(t *testing.T) {
	srv := serverstest.Start(t)
	client := connect(t, srv.URL())
	if err := client.Set(bg, "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name         string
		pause, after func() error
	}{
		{"CLIENT PAUSE", func() error { _, err := client.Cmd(bg, "CLIENT", "PAUSE", 500); return err }, func() error { return nil }},
		{"SIGSTOP", srv.Pause, srv.Resume},
	} {
		if err := tt.pause(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
		start := time.Now()
		_, err := client.Get(ctx, "k")
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
			t.Errorf("%s: %v after %v", tt.name, err, time.Since(start))
		}
		time.Sleep(500 * time.Millisecond)
		if err := tt.after(); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := client.Get(bg, "k"); err != nil || v != "v" {
		t.Errorf("afterwards: %q, %v", v, err)
	}
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

func TestAPipelineLargerThanAllSocketBuffers(t *testing.T) {
	srv := serverstest.Start(t)
	client := connect(t, srv.URL())
	value := strings.Repeat("x", 1<<20)
	out := client.Pipeline()
	for i := range 100 {
		out.Set("big"+strconv.Itoa(i), value)
	}
	ctx, cancel := context.WithTimeout(bg, time.Minute)
	defer cancel()
	if err := out.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	in := client.Pipeline()
	var got []redisx.Future[string]
	for i := range 100 {
		got = append(got, in.Get("big"+strconv.Itoa(i)))
	}
	if err := in.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	for i, f := range got {
		if v, err := f.Result(); err != nil || v != value {
			t.Fatalf("reply %d: %d bytes, error %v", i, len(v), err)
		}
	}
}
