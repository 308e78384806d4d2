package inspect_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/inspect"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t testing.TB, s *servers.Server) *redisx.Client {
	t.Helper()
	c, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
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

// reports returns all reports by "kind namespace name"; each must be there once.
func reports(t testing.TB, d command.Doer, opts ...inspect.Option) map[string]inspect.Report {
	t.Helper()
	all := map[string]inspect.Report{}
	for r, err := range inspect.Reports(t.Context(), d, opts...) {
		if err != nil {
			t.Fatal(err)
		}
		id := r.Kind + " " + r.Namespace.String() + " " + r.Name.String()
		if r.Namespace == "" {
			id = r.Kind + " " + r.Name.String()
		}
		if _, twice := all[id]; twice {
			t.Errorf("%s was found twice", id)
		}
		all[id] = r
	}
	return all
}

// broken collects the names that a search finds until it breaks off.
func broken(t testing.TB, ctx context.Context, d command.Doer, opts ...inspect.Option) (found []inspect.Object, e *inspect.ScanError) {
	t.Helper()
	for o, err := range inspect.Find(ctx, d, opts...) {
		if err == nil {
			found = append(found, o)
		} else if !errors.As(err, &e) {
			t.Fatalf("%v is no *ScanError", err)
		}
	}
	return found, e
}

// eventually polls until ok, for at most 5 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
