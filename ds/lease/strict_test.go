package lease_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// quietly is a TTL short enough to wait for.
const quietly = 1200 * time.Millisecond

// unsettled is the *UnsettledError that TryAcquire must return.
func unsettled(t *testing.T, err error) *lease.UnsettledError {
	t.Helper()
	var e *lease.UnsettledError
	if !errors.As(err, &e) || !errors.Is(err, lease.ErrUnsettled) {
		t.Fatalf("%v is no *UnsettledError", err)
	}
	return e
}

// settle waits until strict leases are granted.
func settle(t *testing.T, s *servers.Server) {
	t.Helper()
	release(t, acquire(t, dstest.Connect(t, s), "settle", lease.Strict(), lease.TTL(quietly)))
}

func TestAStrictGrantWaitsUntilTheServerHasSettled(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	start := time.Now()
	_, err := lease.TryAcquire(t.Context(), c, "job", lease.Strict(), lease.TTL(quietly))
	if e := unsettled(t, err); e.Left <= 0 || e.Left > quietly || e.Name != "job" || e.Server == "" {
		t.Errorf("%+v", e)
	}
	if i, err := lease.Inspect(t.Context(), c, "job"); err != nil || i.Held {
		t.Errorf("a grant that was too soon has stayed: %v, %v", i, err)
	}
	// Who does not ask for it does not wait.
	release(t, acquire(t, c, "job", lease.TTL(quietly)))
	release(t, acquire(t, c, "job", lease.Strict(), lease.TTL(quietly)))
	if waited := time.Since(start); waited < quietly {
		t.Errorf("granted %v after the server was first asked", waited)
	}

	// It has settled for all, also for a client that has just come: nobody waits.
	for _, d := range []*redisx.Client{c, dstest.Connect(t, s)} {
		for _, opts := range [][]lease.Option{{}, {lease.Shared()}} {
			l, err := lease.TryAcquire(t.Context(), d, "other", append(opts, lease.Strict(), lease.TTL(quietly))...)
			if err != nil {
				t.Fatalf("on a settled server: %v", err)
			}
			release(t, l)
		}
	}
}

func TestAStrictGrantWaitsAfterARestart(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t, servers.Options{Args: []string{"--appendonly", "yes"}})
	settle(t, s)
	c := dstest.Connect(t, s)
	release(t, acquire(t, c, "job", lease.Strict(), lease.TTL(quietly)))
	s.Kill()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	release(t, acquire(t, c, "job", lease.Strict(), lease.TTL(quietly)))
	if waited := time.Since(start); waited < quietly {
		t.Errorf("granted %v after the restart", waited)
	}
}

// The new primary does not know the holder, who stops before it lets others in.
func TestNoStrictGrantBesideAHolderWhomAFailoverForgot(t *testing.T) {
	t.Parallel()
	primary, replica := startPair(t)
	p, r := dstest.Connect(t, primary), dstest.Connect(t, replica)
	settle(t, primary)
	// Both clients know the server that grants; the note of it reaches the replica.
	dstest.Eventually(t, 5*time.Second, "the replica has the note", func() bool {
		return dstest.Cmd(t, r, "EXISTS", "{redisx:lease:}:server").Text() == "1"
	})
	dstest.Cmd(t, r, "REPLICAOF", "NO", "ONE")
	a := acquire(t, p, "job", lease.Strict(), lease.TTL(quietly)) // the replica never hears of it
	primary.Kill()

	_, err := lease.TryAcquire(t.Context(), r, "job", lease.Strict(), lease.TTL(quietly))
	unsettled(t, err)
	b := acquire(t, r, "job", lease.Strict(), lease.TTL(quietly))
	if a.Context().Err() == nil {
		t.Error("two strict holders at once")
	}
	if b.Token() <= a.Token() {
		t.Errorf("token %d after %d", b.Token(), a.Token())
	}
	release(t, b)
}

func TestWaitingForAServerToSettleCanBeCancelled(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	// It waits once the grant was given back.
	ctx, f := untilAnswered(t, c, func(r command.Request) bool { return dstest.Runs(r, lease.LeaveScript()) })
	_, err := lease.Acquire(ctx, f, "job", lease.Strict(), lease.TTL(time.Minute))
	if e := unsettled(t, err); !errors.Is(err, enough) || e.Left < 50*time.Second {
		t.Errorf("%v; %+v", err, e)
	}
	if i, err := lease.Inspect(t.Context(), c, "job"); err != nil || i.Held {
		t.Errorf("held after the wait: %v, %v", i, err)
	}
}

func TestStrictNeedsToKnowTheServer(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	dstest.Cmd(t, c, "ACL", "SETUSER", "default", "-info")
	_, err := lease.TryAcquire(t.Context(), c, "job", lease.Strict(), lease.AllowEviction())
	if err == nil || errors.Is(err, lease.ErrUnsettled) {
		t.Errorf("without INFO: %v", err)
	}
	dstest.Eventually(t, 5*time.Second, "the grant is given back", func() bool {
		i, err := lease.Inspect(t.Context(), c, "job")
		return err == nil && !i.Held
	})
}
