package lease

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/resp3"
)

// Renew sends one renewal, beside those of the lease itself.
func (l *Lease) Renew(ctx context.Context) error {
	r := (*row)(l)
	keys, args := r.Append(nil, nil)
	v, err := command.RunScript(ctx, l.d, r.Script(), command.AsValue, keys, args...)
	if err != nil {
		return err
	}
	if why := v.Elems()[1]; why.Kind() != resp3.Integer {
		return &hold.GoneError{Reason: hold.Reason(why.Text())}
	}
	return nil
}

// Keys returns the names of the lease's keys.
func Keys(name string) (lease, fence string) {
	n := namesOf("", name)
	return n.lease, n.fence
}

// The scripts, by which a wrapper knows the steps. They are functions because of
// Plant.
func AcquireScript() *command.Script { return lua.acquire.Script() }
func RenewScript() *command.Script   { return lua.renew }
func ReleaseScript() *command.Script { return lua.release.Script() }
func QueueScript() *command.Script   { return lua.queue }
func LeaveScript() *command.Script   { return lua.leave }

// Plant changes one script until the test ends: a bug that a checker has to
// find. script is the name of its file.
func Plant(t testing.TB, script, old, by string) {
	t.Helper()
	good := lua
	if err := PlantScript(script, old, by); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lua = good })
}

// PlantScript changes one script of this process for good.
func PlantScript(script, old, by string) error {
	p := map[string]struct {
		s   *command.Script
		set func(*command.Script)
	}{
		"acquire": {lua.acquire.Script(), func(s *command.Script) { lua.acquire = acquireRows(s) }},
		"release": {lua.release.Script(), func(s *command.Script) { lua.release = releaseRows(s) }},
		"renew":   {lua.renew, func(s *command.Script) { lua.renew = s }},
		"do":      {lua.do, func(s *command.Script) { lua.do = s }},

		"queue":    {lua.queue, func(s *command.Script) { lua.queue = s }},
		"adopt":    {lua.adopt, func(s *command.Script) { lua.adopt = s }},
		"handover": {lua.handOver, func(s *command.Script) { lua.handOver = s }},
	}[script]
	if !strings.Contains(p.s.Source(), old) {
		return fmt.Errorf("%s.lua does not hold %q", script, old)
	}
	p.set(command.NewScript(strings.Replace(p.s.Source(), old, by, 1)))
	return nil
}

// TrustFromNow plants a bug: it returns the lease with a trust window that
// starts when its answer has come, not before its request left.
func (l *Lease) TrustFromNow() *Lease {
	l.hold.Stop()
	n := &Lease{
		d: l.d, owned: l.owned, name: l.name, names: l.names, id: l.id, owner: l.owner, ttl: l.ttl, token: l.token,
		parent: l.parent, outer: l.outer, turn: make(chan struct{}, 1), share: l.share,
	}
	n.hold.Begin(n.parent, time.Now(), hold.Options{TTL: n.ttl, Row: n.row(), Doer: n.d, Owner: (*keeper)(n)})
	return n
}
