package dstest

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// Long reports whether the tests run at the full numbers of the scenarios.
var Long = os.Getenv("REDISX_LONG") != ""

// Rounds returns how often to repeat something.
func Rounds(short, full int) int {
	if Long {
		return full
	}
	return short
}

// Servers runs a test on the server at hand, or, when Long, on each that the
// project requires, as a subtest.
func Servers(t *testing.T, test func(t *testing.T, f servers.Flavor)) {
	t.Helper()
	if Long {
		serverstest.EachRequired(t, test)
		return
	}
	test(t, "")
}

// Connect returns a client of s, which is closed when the test ends.
func Connect(t testing.TB, s *servers.Server) *redisx.Client {
	t.Helper()
	return ConnectTo(t, s.URL())
}

// ConnectTo is Connect for a URL.
func ConnectTo(t testing.TB, url string) *redisx.Client {
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

// Start returns a client of a server of its own, of that flavor or the one at
// hand.
func Start(t testing.TB, flavor ...servers.Flavor) *redisx.Client {
	t.Helper()
	var o servers.Options
	if len(flavor) > 0 {
		o.Flavor = flavor[0]
	}
	return Connect(t, serverstest.Start(t, o))
}

// Cmd runs a command that must succeed, also when the test's context has ended.
func Cmd(t testing.TB, c *redisx.Client, name string, args ...any) resp3.Value {
	t.Helper()
	v, err := c.Cmd(context.Background(), name, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// Int is Cmd for a command that returns an integer.
func Int(t testing.TB, c *redisx.Client, name string, args ...any) int64 {
	t.Helper()
	n, err := Cmd(t, c, name, args...).Int()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Eventually polls until ok, for at most d.
func Eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	if !Until(d, ok) {
		t.Fatalf("not within %v: %s", d, what)
	}
}

// Until polls until ok, for at most d, and reports whether it came to be. It may
// be called by any goroutine.
func Until(d time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(d); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// Lag watches by how much timers run late for anyone, until the function it
// returns is called, which tells the worst. What nobody on this machine could
// have met is not held against the code under test.
func Lag(t testing.TB) func() time.Duration {
	stop := make(chan struct{})
	var worst time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		const nap = time.Millisecond
		for {
			begin := time.Now()
			select {
			case <-stop:
				return
			case <-time.After(nap):
				worst = max(worst, time.Since(begin)-nap)
			}
		}
	})
	end := sync.OnceValue(func() time.Duration { close(stop); wg.Wait(); return worst })
	t.Cleanup(func() { end() })
	return end
}
