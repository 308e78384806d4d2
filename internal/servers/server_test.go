package servers

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// launch mirrors serverstest.Start, which this package cannot import.
func launch(t *testing.T, opts Options) *Server {
	t.Helper()
	s, err := Launch(t.Context(), opts)
	if errors.Is(err, ErrNotFound) && os.Getenv("CI") != "true" {
		t.Skip("no server binary: make test installs one")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, network, addr string) *client {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) do(args ...string) string {
	c.t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := command(c.conn, c.r, args...)
	if err != nil {
		c.t.Fatalf("%v: %v", args, err)
	}
	return strings.TrimSpace(line)
}

func TestServerAnswersOnBothListeners(t *testing.T) {
	t.Parallel()
	s := launch(t, Options{})
	if got := dial(t, "tcp", s.Addr).do("PING"); got != "+PONG" {
		t.Errorf("tcp: PING = %q", got)
	}
	if got := dial(t, "unix", s.Socket).do("PING"); got != "+PONG" {
		t.Errorf("unix: PING = %q", got)
	}
	if want := "redis://" + s.Addr; s.URL() != want {
		t.Errorf("URL() = %q, want %q", s.URL(), want)
	}
	if want := "unix://" + s.Socket; s.SocketURL() != want {
		t.Errorf("SocketURL() = %q, want %q", s.SocketURL(), want)
	}
	if s.Output() == "" {
		t.Error("Output() is empty")
	}
}

func TestPasswordIsRequired(t *testing.T) {
	t.Parallel()
	s := launch(t, Options{Password: "p@ss word"})
	c := dial(t, "tcp", s.Addr)
	if got := c.do("PING"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("PING before AUTH = %q", got)
	}
	if got := c.do("AUTH", "p@ss word"); got != "+OK" {
		t.Errorf("AUTH = %q", got)
	}
	if want := "redis://:p%40ss%20word@" + s.Addr; s.URL() != want {
		t.Errorf("URL() = %q, want %q", s.URL(), want)
	}
}

func TestArgsWinOverDefaults(t *testing.T) {
	t.Parallel()
	s := launch(t, Options{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	if got := dial(t, "tcp", s.Addr).do("SET", "k", "v"); got != "+OK" {
		t.Fatalf("SET = %q", got)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := dial(t, "tcp", s.Addr).do("EXISTS", "k"); got != ":1" {
		t.Errorf("EXISTS after a restart with a log = %q", got)
	}
}

func TestRestartKeepsTheAddress(t *testing.T) {
	t.Parallel()
	s := launch(t, Options{})
	addr, pid := s.Addr, s.Pid()
	dial(t, "tcp", addr).do("SET", "k", "v")
	s.Kill()
	if s.Pid() != 0 {
		t.Errorf("Pid() of a killed server = %d", s.Pid())
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("a killed server accepts connections")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Pid() == pid || s.Addr != addr {
		t.Errorf("after Restart: pid %d, addr %s; before: %d, %s", s.Pid(), s.Addr, pid, addr)
	}
	if got := dial(t, "tcp", addr).do("EXISTS", "k"); got != ":0" {
		t.Errorf("EXISTS after Restart = %q", got)
	}
}

func TestPausedServerIsSilent(t *testing.T) {
	t.Parallel()
	s := launch(t, Options{})
	c := dial(t, "tcp", s.Addr)
	c.do("PING")
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	_ = c.conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if line, err := command(c.conn, c.r, "PING"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused server answered %q, %v", line, err)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	_ = c.conn.SetDeadline(time.Now().Add(5 * time.Second))
	if line, err := c.r.ReadString('\n'); err != nil || line != "+PONG\r\n" {
		t.Errorf("after Resume: %q, %v", line, err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	s := launch(t, Options{})
	if err := s.Pause(); err != nil { // a paused server dies too
		t.Fatal(err)
	}
	p := s.proc
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if p.cmd.ProcessState == nil {
		t.Error("the process was not waited for")
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if err := s.Restart(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("Restart of a closed server: %v", err)
	}
	if s.Pause() == nil {
		t.Error("Pause of a closed server succeeded")
	}
}

func TestStartErrorShowsTheOutput(t *testing.T) {
	t.Parallel()
	launch(t, Options{}) // skips where there is no server
	_, err := Launch(t.Context(), Options{Args: []string{"--no-such-directive", "1"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("the error does not show what the server said: %v", err)
	}
}

func TestTakenPortIsRefused(t *testing.T) {
	t.Parallel()
	s := launch(t, Options{})
	if _, err := Launch(t.Context(), Options{Port: s.port}); !errors.Is(err, errPortTaken) {
		t.Errorf("Launch on a taken port: %v", err)
	}
}

// Not parallel: another test that starts a process while this one writes a
// program would keep the program from being run (golang/go#22315).
func TestLaunchHonoursTheContext(t *testing.T) {
	silent := filepath.Join(t.TempDir(), "silent")
	if err := os.WriteFile(silent, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Launch(ctx, Options{Binary: Binary{Path: silent}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Launch of a silent server: %v", err)
	}
}
