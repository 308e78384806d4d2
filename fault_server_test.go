package redisx_test

import (
	"context"
	"crypto/tls"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// info returns a number of INFO.
func info(t *testing.T, client *redisx.Client, field string) int {
	t.Helper()
	v, err := client.Cmd(bg, "INFO", "everything")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(v.Text()) {
		if text, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("INFO has no %s", field)
	return 0
}

func TestAServerThatIsFullSaysSoAndIsNotHammered(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{Args: []string{"--maxclients", "2"}})
	client := connect(t, srv.URL())
	admin := connect(t, srv.SocketURL())
	_, err := redisx.Connect(bg, srv.URL())
	if err == nil || !strings.Contains(err.Error(), "max number of clients") || !redisx.SafeToRetry(err) {
		t.Errorf("a third client: %v", err)
	}
	before, start := info(t, admin, "rejected_connections"), time.Now()
	for time.Since(start) < 2*time.Second {
		ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		err := client.WithSession(ctx, func(context.Context, *redisx.Session) error { return nil })
		cancel()
		if !redisx.SafeToRetry(err) {
			t.Fatalf("a session on a full server: %v", err)
		}
	}
	if n := info(t, admin, "rejected_connections") - before; n > 40 || n == 0 {
		t.Errorf("%d dials in 2 s, want some and at most 20 a second", n)
	}
	if err := client.Set(bg, "k", "v"); err != nil {
		t.Errorf("the shared connection suffered: %v", err)
	}
}

func TestAServerThatClosesIdleConnectionsIsNotNoticed(t *testing.T) {
	t.Parallel()
	srv := serverstest.Start(t, servers.Options{Args: []string{"--timeout", "1"}})
	client, admin := connect(t, srv.URL()), connect(t, srv.URL())
	for i := range 2 {
		if n, err := client.Incr(bg, "n"); err != nil || n != int64(i+1) {
			t.Errorf("increment %d: %d, %v", i+1, n, err)
		}
		if err := client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error { return s.Set(ctx, "k", "v") }); err != nil {
			t.Errorf("a session: %v", err)
		}
		until(t, "the end of the client's connections", func() bool {
			time.Sleep(50 * time.Millisecond)
			return info(t, admin, "connected_clients") == 1 // the one that asks
		})
	}
}

func TestClientPauseHoldsCallersNoLongerThanTheirContexts(t *testing.T) {
	srv := serverstest.Start(t)
	client, admin := connect(t, srv.URL()), connect(t, srv.URL())
	if _, err := admin.Cmd(bg, "CLIENT", "PAUSE", 60_000, "WRITE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bg)
	var start time.Time
	onceSent(t, client, func() { start = time.Now(); cancel() })
	if _, err := client.Incr(ctx, "n"); !errors.Is(err, context.Canceled) || redisx.SafeToRetry(err) {
		t.Errorf("a cancelled call: %v", err)
	}
	if took := time.Since(start); took > busy {
		t.Errorf("it took %v", took)
	}
	time.AfterFunc(50*time.Millisecond, func() { admin.Cmd(bg, "CLIENT", "UNPAUSE") })
	// The connection is well: the one before ran late, this one comes after it.
	if n, err := client.Incr(bg, "n"); err != nil || n != 2 {
		t.Errorf("a patient call: %d, %v", n, err)
	}
	if n := info(t, client, "total_connections_received"); n > 10 {
		t.Errorf("%d connections", n)
	}
}

func TestABadCertificateIsRefusedWithItsReason(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server servers.TLS
		change func(*tls.Config)
		says   string
	}{
		{"another host", servers.TLS{Host: "elsewhere.example"}, nil, "127.0.0.1"},
		{"expired", servers.TLS{Expired: true}, nil, "expired"},
		{"an unknown authority", servers.TLS{}, func(c *tls.Config) { c.RootCAs = nil }, "authority"},
		{"no certificate for a server that wants one", servers.TLS{Mutual: true}, func(c *tls.Config) { c.Certificates = nil }, "certificate"},
		{"too old a protocol", servers.TLS{}, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }, "version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := serverstest.Start(t, servers.Options{TLS: &tt.server})
			cfg := redisx.Config{Addr: srv.TLSAddr, TLS: srv.TLSConfig()}
			if tt.change != nil {
				tt.change(cfg.TLS)
			}
			start := time.Now()
			client, err := redisx.ConnectConfig(bg, cfg)
			if err == nil {
				client.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) || !redisx.SafeToRetry(err) || time.Since(start) > 2*busy {
				t.Errorf("%v after %v, want an error that says %q", err, time.Since(start), tt.says)
			}
		})
	}
	srv := serverstest.Start(t, servers.Options{TLS: &servers.TLS{}})
	_, err := redisx.ConnectConfig(bg, redisx.Config{Addr: srv.Addr, TLS: srv.TLSConfig(), DialTimeout: time.Second})
	if err == nil || !redisx.SafeToRetry(err) {
		t.Errorf("TLS to a plain port: %v", err)
	}
	_, err = redisx.ConnectConfig(bg, redisx.Config{Addr: srv.TLSAddr, DialTimeout: time.Second})
	if err == nil || !redisx.SafeToRetry(err) {
		t.Errorf("a plain client on a TLS port: %v", err)
	}
	client, err := redisx.Connect(bg, srv.TLSURL()+"?ca="+srv.Certificates.CA)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
}
