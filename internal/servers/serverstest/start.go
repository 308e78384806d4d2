package serverstest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/redisx/redisx/internal/servers"
)

const startTimeout = 20 * time.Second

// Start launches a server and closes it when the test ends. At most one
// Options may be given.
//
// Where no server binary is found the test fails in CI (CI=true) and is
// skipped elsewhere, with a word on how to get one.
func Start(t testing.TB, opts ...servers.Options) *servers.Server {
	t.Helper()
	var o servers.Options
	switch len(opts) {
	case 0:
	case 1:
		o = opts[0]
	default:
		t.Fatal("serverstest: Start takes at most one Options")
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := servers.Launch(ctx, o)
	if errors.Is(err, servers.ErrNotFound) {
		noServer(t, err)
	}
	if err != nil {
		t.Fatalf("serverstest: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("server %s logged:\n%s", s.Addr, s.Output())
		}
		if err := s.Close(); err != nil {
			t.Errorf("serverstest: %v", err)
		}
	})
	return s
}

func noServer(t testing.TB, err error) {
	t.Helper()
	const how = "`make test` gets what it needs where it may; or put redis-server or valkey-server on PATH, or name one in " + servers.EnvBinary
	if os.Getenv("CI") == "true" {
		t.Fatalf("serverstest: %v, and CI must not skip: %s", err, how)
	}
	t.Skipf("serverstest: %v: %s", err, how)
}
