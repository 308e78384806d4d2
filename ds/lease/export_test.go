package lease

import (
	"context"
	"strings"
	"testing"

	"github.com/redisx/redisx/command"
)

// Renew sends one renewal, beside those of the lease itself.
func (l *Lease) Renew(ctx context.Context) error { return l.renew(ctx) }

// Keys returns the names of the lease's keys.
func Keys(name string) (lease, fence string) {
	n := namesOf("", name)
	return n.lease, n.fence
}

// The digests of the scripts, by which a wrapper knows the steps.
func AcquireDigest() string { return lua.acquire.Digest() }
func RenewDigest() string   { return lua.renew.Digest() }
func ReleaseDigest() string { return lua.release.Digest() }

// Plant changes one script until the test ends: a bug that a checker has to
// find. script is "acquire", "renew" or "release".
func Plant(t testing.TB, script, old, by string) {
	t.Helper()
	p := map[string]**command.Script{"acquire": &lua.acquire, "renew": &lua.renew, "release": &lua.release}[script]
	good := *p
	if !strings.Contains(good.Source(), old) {
		t.Fatalf("%s.lua does not hold %q", script, old)
	}
	*p = command.NewScript(strings.Replace(good.Source(), old, by, 1))
	t.Cleanup(func() { *p = good })
}
