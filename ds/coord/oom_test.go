package coord_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// LE12, for what waits and is there: what holds on and what cleans up works on a
// server that is out of memory, and what would need more is refused.
func TestAServerOutOfMemoryKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	server := serverstest.Start(t)
	c := connect(t, server)
	const ttl = time.Second
	m := join(t, c, "oom", coord.Name("here"), coord.TTL(ttl))
	leaving, leave := context.WithCancel(t.Context())
	defer leave()
	results, left := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := coord.NewBarrier(c, "oom", 3, coord.Name("a"), coord.TTL(ttl)).Await(t.Context())
		results <- err
	}()
	go func() {
		_, err := coord.NewBarrier(c, "oom", 3, coord.Name("b"), coord.TTL(ttl)).Await(leaving)
		left <- err
	}()
	waitersAt(t, c, "oom", 2)
	cmd(t, c, "CONFIG", "SET", "maxmemory", "1")

	time.Sleep(2 * ttl)
	if err := m.Context().Err(); err != nil {
		t.Errorf("the membership was not kept: %v", context.Cause(m.Context()))
	}
	waitersAt(t, c, "oom", 2)
	if _, err := coord.Join(t.Context(), c, "oom"); !command.IsCode(err, "OOM") {
		t.Errorf("Join: %v, want OOM", err)
	}
	if _, err := coord.NewBarrier(c, "oom", 3).Await(t.Context()); !command.IsCode(err, "OOM") {
		t.Errorf("Await: %v, want OOM", err)
	}
	if err := coord.NewLatch(c, "oom").Create(t.Context(), 1); !command.IsCode(err, "OOM") {
		t.Errorf("Create: %v, want OOM", err)
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	var e *coord.BrokenError
	if err := <-results; !errors.As(err, &e) || e.Party != "b" || e.Reason != "left" {
		t.Errorf("who waited: %v, want it broken as b left", err)
	}
	if err := m.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if i, err := coord.Members(t.Context(), c, "oom"); err != nil || len(i.Members) != 0 {
		t.Errorf("%+v, %v", i, err)
	}
}
