package limiter_test

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(childMain())
	}
	if os.Getenv(skewedEnv) != "" {
		os.Exit(skewedMain())
	}
	goleak.VerifyTestMain(m)
}

// setup starts a server and connects to it.
func setup(t testing.TB, opts ...servers.Options) (*redisx.Client, *servers.Server) {
	t.Helper()
	s := serverstest.Start(t, opts...)
	return connect(t, s.URL()), s
}

func connect(t testing.TB, url string) *redisx.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := redisx.Connect(ctx, url)
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

// raw runs a command whose reply is a string or a number, as text; "" for null.
func raw(t testing.TB, d command.Doer, name string, args ...string) string {
	t.Helper()
	r := command.NewRequest(command.NewSpec(command.Spec{Name: name, Arity: -1, Flags: command.Write}))
	for _, a := range args {
		r.Add(command.Str(a))
	}
	reply, err := d.Do(t.Context(), r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer reply.Release()
	return reply.View().Text()
}
