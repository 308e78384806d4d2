package limiter_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// roles are what the test binary can be besides; tests fill it.
var roles = dstest.Roles{}

func TestMain(m *testing.M) {
	dstest.Play(roles)
	goleak.VerifyTestMain(m)
}

// setup starts a server and connects to it.
func setup(t testing.TB, opts ...servers.Options) (*redisx.Client, *servers.Server) {
	t.Helper()
	s := serverstest.Start(t, opts...)
	return dstest.Connect(t, s), s
}

// raw runs a command whose reply is a string or a number, as text; "" for null.
func raw(t testing.TB, c *redisx.Client, name string, args ...any) string {
	t.Helper()
	return dstest.Cmd(t, c, name, args...).Text()
}
