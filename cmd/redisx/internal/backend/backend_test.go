package backend

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/servers"
)

func open(t *testing.T, url string, embedded bool) (*Backend, *redisx.Client) {
	t.Helper()
	b, err := Open(t.Context(), url, embedded)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	c, err := redisx.Connect(t.Context(), b.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return b, c
}

func TestTimePassesOnTheEmbeddedServer(t *testing.T) {
	_, c := open(t, "", true)
	if err := c.Set(t.Context(), "k", "v", redisx.EX(50*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		if _, err := c.Get(t.Context(), "k"); errors.Is(err, redisx.Nil) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a key with 50 ms to live is there after 5 s")
		}
	}
}

func TestScriptsWithFlagsRunOnTheEmbeddedServer(t *testing.T) {
	_, c := open(t, "", true)
	for _, script := range []*redisx.Script{
		redisx.NewScript("#!lua flags=allow-oom\nreturn ARGV[1]"),
		redisx.NewScriptRO("#!lua flags=no-writes\nredis.call('TIME')\nreturn ARGV[1]"),
	} {
		for range 2 { // whole, then by the digest that the client knows
			if v, err := script.Run(t.Context(), c, nil, "x"); err != nil || v.Text() != "x" {
				t.Errorf("%q, %v", v.Text(), err)
			}
		}
	}
}

func TestPrimitivesTakeTheEmbeddedServerForSafe(t *testing.T) {
	_, c := open(t, "", true)
	l, err := lease.TryAcquire(t.Context(), c, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAGivenServerWinsAndItsPasswordIsNotShown(t *testing.T) {
	b, err := Open(t.Context(), "redis://user:s3cr3t@127.0.0.1:7000/2", false)
	if err != nil {
		t.Fatal(err)
	}
	if want := "the server at 127.0.0.1:7000"; b.Name != want || strings.Contains(b.Name, "s3cr3t") {
		t.Errorf("name %q, want %q", b.Name, want)
	}
}

func TestWithoutAServerOnPathTheEmbeddedOneIsTaken(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(servers.EnvBinary, "")
	b, c := open(t, "", false)
	if !strings.Contains(b.Name, "embedded") || len(b.Off) == 0 {
		t.Errorf("backend %+v", b)
	}
	if _, err := command.Do(t.Context(), c, command.Ping()); err != nil {
		t.Error(err)
	}
}
