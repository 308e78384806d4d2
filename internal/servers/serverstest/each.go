package serverstest

import (
	"slices"
	"testing"

	"github.com/redisx/redisx/internal/servers"
)

// Each runs the test against every flavor that the tests require and against
// those that this machine has besides, each as a subtest with the flavor's name.
// A required flavor that is missing fails its subtest in CI (CI=true) and skips
// it elsewhere, with a word on how to get it.
//
// The test starts its own servers: Start(t, servers.Options{Flavor: f}).
func Each(t *testing.T, test func(t *testing.T, f servers.Flavor)) {
	t.Helper()
	each(t, servers.Known(), test)
}

// EachRequired is Each without the flavors that nothing requires, for tests
// that take long.
func EachRequired(t *testing.T, test func(t *testing.T, f servers.Flavor)) {
	t.Helper()
	each(t, servers.Required(), test)
}

func each(t *testing.T, flavors []servers.Flavor, test func(t *testing.T, f servers.Flavor)) {
	t.Helper()
	for _, f := range flavors {
		_, err := f.Find(t.Context())
		if err != nil && !slices.Contains(servers.Required(), f) {
			continue
		}
		t.Run(string(f), func(t *testing.T) {
			if err != nil {
				noServer(t, err)
			}
			test(t, f)
		})
	}
}
