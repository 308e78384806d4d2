package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/transport"
)

// runGateway runs redisx gateway until the returned stop is called, which
// returns its error, and returns what it says it serves: scheme and address.
func runGateway(t *testing.T, flags ...string) (serves []string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	cmd := root()
	cmd.SetArgs(append([]string{"gateway", "--listen", "127.0.0.1:0"}, flags...))
	cmd.SetOut(w)
	done := make(chan error, 1)
	go func() { // ends with stop
		err := cmd.ExecuteContext(ctx)
		w.CloseWithError(io.EOF)
		done <- err
	}()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { stop() })
	lines := bufio.NewReader(r)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the gateway ended: %v", stop())
	}
	go io.Copy(io.Discard, lines) // ends with the gateway
	serves = regexp.MustCompile(`at (wss?)://([^\s]+)`).FindStringSubmatch(line)
	if serves == nil {
		t.Fatalf("it printed %q", line)
	}
	return serves[1:], stop
}

func tokenFile(t *testing.T, token string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheGatewayServesAServerToThoseWithTheToken(t *testing.T) {
	const token = "0123456789abcdef"
	s := serverstest.Start(t)
	serves, stop := runGateway(t, "--url", "redis://"+s.Addr, "--token-file", tokenFile(t, token, 0o600))
	_, err := transport.WebSocket{}.Dial(t.Context(), serves[0], serves[1])
	var refused *transport.UpgradeError
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("without the token: %v", err)
	}
	header := http.Header{"Authorization": {"Bearer " + token}}
	c, err := redisx.ConnectConfig(t.Context(), redisx.Config{Network: serves[0], Addr: serves[1], Dialer: transport.WebSocket{Header: header}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v, err := c.Cmd(t.Context(), "ECHO", "hello"); err != nil || v.Text() != "hello" {
		t.Errorf("ECHO: %q, %v", v.Text(), err)
	}
	header.Set("Origin", "https://evil.example")
	_, err = transport.WebSocket{Header: header}.Dial(t.Context(), serves[0], serves[1])
	if !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
		t.Errorf("from another origin: %v", err)
	}
	start := time.Now()
	if err := stop(); err != nil || time.Since(start) > lastWait+time.Second {
		t.Errorf("it ended after %v with %v", time.Since(start), err)
	}
	if _, err := (transport.WebSocket{}).Dial(t.Context(), serves[0], serves[1]); err == nil {
		t.Error("it goes on serving")
	}
}

func TestTheGatewayRefusesToServeInTheOpen(t *testing.T) {
	good := tokenFile(t, "0123456789abcdef", 0o600)
	for _, tt := range []struct {
		flags []string
		says  string
	}{
		{[]string{"--listen", ":0"}, "--token-file"},
		{[]string{"--listen", "0.0.0.0:0"}, "--token-file"},
		{[]string{"--listen", "[::]:0"}, "--token-file"},
		{[]string{"--listen", "localhost.evil:0"}, "--token-file"},
		{[]string{"--listen", "0.0.0.0:0", "--token-file", good}, "--plaintext"},
		{[]string{"--token-file", tokenFile(t, "short", 0o600)}, "16"},
		{[]string{"--token-file", tokenFile(t, "0123456789 abcdef", 0o600)}, "one word"},
		{[]string{"--token-file", filepath.Join(t.TempDir(), "none")}, "no such file"},
		{[]string{"--url", "redis://:s3cr3t@127.0.0.1:6379"}, "credentials"},
		{[]string{"--url", "redis://127.0.0.1:6379/3"}, "database"},
		{[]string{"--tls-cert", "cert.pem"}, "--tls-key"},
		{[]string{"--path", "redis"}, "--path"},
		{[]string{"--max-conns", "0"}, "--max-conns"},
	} {
		t.Run(strings.Join(tt.flags, " "), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			var out bytes.Buffer
			cmd := root()
			cmd.SetArgs(append([]string{"gateway", "--listen", "127.0.0.1:0"}, tt.flags...))
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			err := cmd.ExecuteContext(ctx)
			if err == nil || !strings.Contains(err.Error(), tt.says) || ctx.Err() != nil {
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
			if text := out.String(); err != nil && strings.Contains(text+err.Error(), "s3cr3t") || strings.Contains(text, "serving") {
				t.Errorf("it printed %q", text)
			}
		})
	}
}

func TestAReadableTokenFileIsWarnedOf(t *testing.T) {
	var warnings bytes.Buffer
	o := gatewayOptions{Listen: "127.0.0.1:0", Path: "/redis", URL: "redis://127.0.0.1:6379", MaxConns: 1}
	o.TokenFile = tokenFile(t, "0123456789abcdef", 0o644)
	if _, _, err := o.handler(&warnings); err != nil || !strings.Contains(warnings.String(), "read") {
		t.Errorf("error %v, warned with %q", err, warnings.String())
	}
}
