package lease_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// quietly is a TTL short enough to wait for.
const quietly = 600 * time.Millisecond

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
	release(t, acquire(t, connect(t, s), "settle", lease.Strict(), lease.TTL(quietly)))
}

func TestAStrictGrantWaitsUntilTheServerHasSettled(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := connect(t, s)
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

	// It has settled for all, also for a client that has just come.
	start = time.Now()
	release(t, acquire(t, c, "other", lease.Strict(), lease.TTL(quietly)))
	release(t, acquire(t, connect(t, s), "another", lease.Strict(), lease.TTL(quietly), lease.Fair()))
	release(t, acquire(t, c, "shared", lease.Strict(), lease.TTL(quietly), lease.Shared()))
	if waited := time.Since(start); waited >= quietly {
		t.Errorf("on a settled server %v", waited)
	}
}

func TestAStrictGrantWaitsAfterARestart(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t, servers.Options{Args: []string{"--appendonly", "yes"}})
	settle(t, s)
	c := connect(t, s)
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
	p, r := connect(t, primary), connect(t, replica)
	settle(t, primary)
	// Both clients know the server that grants; the note of it reaches the replica.
	eventually(t, 5*time.Second, "the replica has the note", func() bool {
		return cmd(t, r, "EXISTS", "{redisx:lease:}:server").Text() == "1"
	})
	cmd(t, r, "REPLICAOF", "NO", "ONE")
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
	c := connect(t, serverstest.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // enough for the requests before the wait
	defer cancel()
	_, err := lease.Acquire(ctx, c, "job", lease.Strict(), lease.TTL(time.Minute))
	if e := unsettled(t, err); !errors.Is(err, context.DeadlineExceeded) || e.Left < 50*time.Second {
		t.Errorf("%v; %+v", err, e)
	}
	if i, err := lease.Inspect(t.Context(), c, "job"); err != nil || i.Held {
		t.Errorf("held after the wait: %v, %v", i, err)
	}
}

func TestStrictNeedsToKnowTheServer(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := connect(t, s)
	cmd(t, c, "ACL", "SETUSER", "default", "-info")
	_, err := lease.TryAcquire(t.Context(), c, "job", lease.Strict(), lease.AllowEviction())
	if err == nil || errors.Is(err, lease.ErrUnsettled) {
		t.Errorf("without INFO: %v", err)
	}
	eventually(t, 5*time.Second, "the grant is given back", func() bool {
		i, err := lease.Inspect(t.Context(), c, "job")
		return err == nil && !i.Held
	})
}
