package redisx_test

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestPasswords(t *testing.T) {
	const secret = "c4n4ry"
	srv := serverstest.Start(t, servers.Options{Password: secret})
	client := connect(t, srv.URL())
	if err := client.Set(bg, "k", "v"); err != nil {
		t.Fatal(err)
	}
	for name, password := range map[string]redisx.Secret{"WRONGPASS": secret + "x", "NOAUTH": ""} {
		for _, resp2 := range []bool{false, true} {
			cfg, err := redisx.ParseURL("redis://" + srv.Addr)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Password, cfg.RESP2 = password, resp2
			start := time.Now()
			_, err = redisx.ConnectConfig(bg, cfg)
			var e redisx.ServerError
			if !errors.As(err, &e) || e.Code() != name || strings.Contains(err.Error(), secret) {
				t.Errorf("RESP2 %v: %v, want %s", resp2, err, name)
			}
			if time.Since(start) > 2*time.Second {
				t.Errorf("took %v", time.Since(start))
			}
		}
	}
}

func TestEveryWayToConnectServesTheSame(t *testing.T) {
	srv := serverstest.Start(t)
	for _, url := range []string{
		srv.URL(),
		srv.SocketURL(),
		srv.URL() + "?protocol=2",
		srv.URL() + "/3?name=me&timeout=2s",
	} {
		client := connect(t, url)
		if err := client.Set(bg, "k", url); err != nil {
			t.Fatal(err)
		}
		if v, err := client.Get(bg, "k"); err != nil || v != url {
			t.Errorf("%s: %q, %v", url, v, err)
		}
		if _, err := client.Get(bg, "none"); !errors.Is(err, redisx.Nil) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestCommandsThatBindAConnectionNeedASession(t *testing.T) {
	srv := serverstest.Start(t)
	client := connect(t, srv.URL())
	for _, line := range []string{
		"SELECT 1", "MULTI", "EXEC", "WATCH k", "AUTH x", "HELLO 3", "RESET", "QUIT",
		"CLIENT TRACKING on", "READONLY", "asking",
	} {
		words := strings.Fields(line)
		name := line
		var args []any
		for _, w := range words[1:] {
			args = append(args, w)
		}
		_, err := client.Cmd(bg, words[0], args...)
		if !redisx.SafeToRetry(err) || !strings.Contains(err.Error(), "WithSession") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := client.Set(bg, "k", "v"); err != nil {
		t.Errorf("the shared connection suffered: %v", err)
	}
	if _, err := client.Del(bg, "k"); err != nil {
		t.Error(err)
	}
	err := client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
		_, err := s.Cmd(ctx, "SELECT", 5)
		return errors.Join(err, s.Set(ctx, "k", "five"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(bg, "k"); !errors.Is(err, redisx.Nil) {
		t.Errorf("the session's database leaked: %v", err)
	}
}

// openFiles counts the process's descriptors, or returns 0 where it cannot.
func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

func TestAThousandClientsLeaveNothingBehind(t *testing.T) {
	srv := serverstest.Start(t)
	goroutines, files := runtime.NumGoroutine(), openFiles()
	for i := range 1000 {
		client, err := redisx.Connect(bg, srv.SocketURL())
		if err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := client.Set(bg, "k", "v"); err != nil {
				t.Fatal(err)
			}
		}
		client.Close()
		client.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		g, f := runtime.NumGoroutine(), openFiles()
		if g <= goroutines && f <= files {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines were %d, %d files were %d", g, goroutines, f, files)
		}
	}
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	srv := serverstest.Start(t)
	client := connect(t, srv.URL())
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	for _, tt := range []struct {
		name string
		want float64
		call func() error
	}{
		{"SET", 0, func() error { return client.Set(bg, "k", "value") }},
		{"GET, whose result is a string", 1, func() error { _, err := client.Get(bg, "k"); return err }},
		{"INCR", 0, func() error { _, err := client.Incr(bg, "n"); return err }},
		{"SET with a context that can be cancelled", 0, func() error { return client.Set(ctx, "k", "value") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var failed error
			got := testing.AllocsPerRun(2000, func() {
				if err := tt.call(); err != nil {
					failed = err
				}
			})
			if got > tt.want || failed != nil {
				t.Errorf("%v allocations, want %v; error %v", got, tt.want, failed)
			}
		})
	}
}

type closer func()

func (c closer) Close() error { c(); return nil }

func TestCloseEndsWhatIsAttachedLastMadeFirst(t *testing.T) {
	srv := serverstest.Start(t)
	client := connect(t, srv.URL())
	var order []string
	attach := func(key string) error {
		_, err := client.Attach(key, func() io.Closer {
			return closer(func() {
				_, err := client.Cmd(bg, "PING") // the connections still serve
				if err != nil {
					t.Error(err)
				}
				order = append(order, key)
			})
		})
		return err
	}
	for _, key := range []string{"a", "b", "a"} {
		if err := attach(key); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	if got := strings.Join(order, " "); got != "b a" {
		t.Errorf("closed %q", got)
	}
	if attach("c") == nil {
		t.Error("a closed client took an attachment")
	}
	if err := client.Set(bg, "k", "v"); !redisx.SafeToRetry(err) {
		t.Errorf("after Close: %v", err)
	}
}
