package idem_test

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(childMain())
	}
	goleak.VerifyTestMain(m)
}

// setup starts a server and connects to it.
func setup(t testing.TB, opts ...servers.Options) (*redisx.Client, *servers.Server) {
	t.Helper()
	s := serverstest.Start(t, opts...)
	return dstest.Connect(t, s), s
}

// everywhere runs a test on the server that is at hand, and in the long ring on
// every one that the tests require.
func everywhere(t *testing.T, test func(t *testing.T, f servers.Flavor)) {
	t.Helper()
	if !dstest.Long {
		t.Parallel()
	}
	dstest.Servers(t, test)
}

// raw runs a command whose reply is a string or a number, as text; "" for null.
func raw(t testing.TB, d command.Doer, name string, args ...string) string {
	t.Helper()
	s, err := text(t.Context(), d, name, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func text(ctx context.Context, d command.Doer, name string, args ...string) (string, error) {
	r := command.NewRequest(command.NewSpec(command.Spec{Name: name, Arity: -1, Flags: command.Write}))
	for _, a := range args {
		r.Add(command.Str(a))
	}
	reply, err := d.Do(ctx, r)
	if err != nil {
		return "", err
	}
	defer reply.Release()
	return reply.View().Text(), nil
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	dstest.Eventually(t, 15*time.Second, what, ok)
}
