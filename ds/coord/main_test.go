package coord_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// Settings of a child process, which is this test binary in a role.
const (
	envChild    = "REDISX_TEST_COORD_CHILD"
	envChildURL = "REDISX_TEST_COORD_URL"
)

// children are the roles. Each returns the exit code of its process.
var children = map[string]func(url string) int{}

func TestMain(m *testing.M) {
	role := os.Getenv(envChild)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	// A child ends when its parent does, however that ends.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(2)
	}()
	play, ok := children[role]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such role:", role)
		os.Exit(1)
	}
	os.Exit(play(os.Getenv(envChildURL)))
}

// long reports whether the tests run at the full numbers of the scenarios.
var long = os.Getenv("REDISX_LONG") != ""

// rounds returns how often to repeat something.
func rounds(short, full int) int {
	if long {
		return full
	}
	return short
}

func connect(t testing.TB, s *servers.Server) *redisx.Client {
	t.Helper()
	return connectTo(t, s.URL())
}

func connectTo(t testing.TB, url string) *redisx.Client {
	t.Helper()
	c, err := redisx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// start returns a client of a server of its own.
func start(t testing.TB) *redisx.Client {
	t.Helper()
	return connect(t, serverstest.Start(t))
}

// cmd runs a command that must succeed.
func cmd(t testing.TB, c *redisx.Client, name string, args ...any) resp3.Value {
	t.Helper()
	v, err := c.Cmd(context.Background(), name, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// number runs a command that returns an integer.
func number(t testing.TB, c *redisx.Client, name string, args ...any) int64 {
	t.Helper()
	n, err := cmd(t, c, name, args...).Int()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// eventually polls until ok, for at most d.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}
