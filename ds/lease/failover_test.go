package lease_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// startPair starts a primary and its replica, and waits until they are in step.
func startPair(t *testing.T) (primary, replica *servers.Server) {
	t.Helper()
	primary = serverstest.Start(t, servers.Options{Args: []string{"--repl-diskless-sync-delay", "0"}})
	replica = serverstest.Start(t, servers.Options{Args: []string{"--repl-diskless-sync-delay", "0"}})
	follow(t, dstest.Connect(t, replica), primary)
	p := dstest.Connect(t, primary)
	// The primary sends nothing before the replica's first acknowledgement, which
	// comes within a second of "online".
	dstest.Eventually(t, 20*time.Second, "a grant that the replica confirms", func() bool {
		l, err := lease.Acquire(t.Context(), p, "first", lease.Replicas(1, 500*time.Millisecond))
		if err == nil {
			release(t, l)
		}
		return err == nil
	})
	return primary, replica
}

// follow makes the server of r a replica of primary and waits until it is.
func follow(t *testing.T, r *redisx.Client, primary *servers.Server) {
	t.Helper()
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dstest.Cmd(t, r, "REPLICAOF", host, port)
	dstest.Eventually(t, 20*time.Second, "the replica is in step", func() bool {
		return strings.Contains(dstest.Cmd(t, r, "INFO", "replication").Text(), "master_link_status:up")
	})
}

// TestTheTokenRisesOverAFailover is LE2. The grant of the old primary never
// reaches the replica, so that a counter would repeat.
func TestTheTokenRisesOverAFailover(t *testing.T) {
	primary, replica := startPair(t)
	r := dstest.Connect(t, replica)
	n := dstest.Rounds(20, 100)
	for range n {
		p, err := redisx.Connect(t.Context(), primary.URL())
		if err != nil {
			t.Fatal(err)
		}
		release(t, acquire(t, p, "job"))
		dstest.Cmd(t, r, "REPLICAOF", "NO", "ONE") // the link breaks
		a := acquire(t, p, "job", lease.TTL(time.Minute))
		primary.Kill()
		b := acquire(t, r, "job", lease.TTL(time.Minute))
		if b.Token() <= a.Token() {
			t.Fatalf("token %d after the failover, %d before it", b.Token(), a.Token())
		}
		release(t, b)
		_ = p.Close()
		if err := primary.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		follow(t, r, primary)
	}
	t.Logf("LE2: %d failovers that lost a grant, all tokens greater", n)
}

func TestAGrantLostInAFailoverIsLostForThatReason(t *testing.T) {
	t.Parallel()
	primary, replica := startPair(t)
	p, r := dstest.Connect(t, primary), dstest.Connect(t, replica)
	dstest.Cmd(t, r, "REPLICAOF", "NO", "ONE")
	l := acquire(t, p, "job", lease.TTL(9*time.Second))
	renewed(t, l) // which tells what server this is
	primary.Kill()
	_, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dstest.Cmd(t, r, "CONFIG", "SET", "port", port) // it takes the primary's place
	select {
	case <-l.Context().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("not lost with the renewal after the failover")
	}
	if got := lossOf(t, l); got != "failover" {
		t.Errorf("reason is %q, want failover: %v", got, context.Cause(l.Context()))
	}
}

// TestAGrantThatReplicasDoNotConfirmIsNone is LE3.
func TestAGrantThatReplicasDoNotConfirmIsNone(t *testing.T) {
	t.Parallel()
	primary, replica := startPair(t)
	c := dstest.Connect(t, primary)
	const within = 200 * time.Millisecond
	release(t, acquire(t, c, "job", lease.Replicas(1, 2*time.Second)))
	if err := replica.Pause(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"job", "other"} {
		lag, begin := dstest.Lag(t), time.Now()
		l, err := lease.Acquire(t.Context(), c, name, lease.Replicas(1, within))
		took, worst := time.Since(begin), lag()
		var short *lease.NotReplicatedError
		if l != nil || !errors.As(err, &short) || !errors.Is(err, lease.ErrNotReplicated) || short.Acked != 0 || short.Wanted != 1 {
			t.Errorf("Acquire: %v, %v; want a *NotReplicatedError for 0 of 1", l, err)
		}
		// An idle server looks at its timeouts every 100 ms.
		late := 120 * time.Millisecond
		if !dstest.Long {
			late = time.Second // the race detector and the tests of other packages take their part
		}
		if took < within || took-2*worst > within+late {
			t.Errorf("Acquire returned after %v, want %v and at most %v more", took, within, late)
		}
		t.Logf("LE3: %v after %v", err, took)
		dstest.Eventually(t, 5*time.Second, "the release of the grant", func() bool {
			return dstest.Int(t, c, "EXISTS", first(lease.Keys(name))) == 0
		})
	}
	if err := replica.Resume(); err != nil {
		t.Fatal(err)
	}
	dstest.Eventually(t, 5*time.Second, "a grant once the replica is back", func() bool {
		l, err := lease.Acquire(t.Context(), c, "job", lease.Replicas(1, time.Second))
		if err == nil {
			release(t, l)
		}
		return err == nil
	})
	if _, err := lease.Acquire(t.Context(), onlyDo{c}, "job", lease.Replicas(1, within)); err == nil {
		t.Error("Acquire with replicas through a Doer that sends no batches succeeded")
	}
}

func TestALeaseEndsWhenReplicasDoNotConfirmItsRenewals(t *testing.T) {
	t.Parallel()
	primary, replica := startPair(t)
	c := dstest.Connect(t, primary)
	const ttl = 2800 * time.Millisecond
	l := acquire(t, c, "job", lease.TTL(ttl), lease.Replicas(1, ttl/4))
	renewed(t, l) // while its replica confirms
	if err := replica.Pause(); err != nil {
		t.Fatal(err)
	}
	lag, begin := dstest.Lag(t), time.Now()
	select {
	case <-l.Context().Done():
	case <-time.After(5 * ttl):
		t.Fatal("not lost while no replica confirms")
	}
	if took := time.Since(begin) - 2*lag(); took > ttl {
		t.Errorf("lost after %v, want at most the TTL", took)
	}
	if got := lossOf(t, l); got != "expired" || !errors.Is(context.Cause(l.Context()), lease.ErrNotReplicated) {
		t.Errorf("the cause is %v, want expired for want of a replica", context.Cause(l.Context()))
	}
	if err := replica.Resume(); err != nil {
		t.Fatal(err)
	}
}

func TestWhoIsRefusedNeedsNoReplica(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	defer release(t, acquire(t, c, "job"))
	if _, err := lease.TryAcquire(t.Context(), c, "job", lease.Replicas(1, 50*time.Millisecond)); !errors.Is(err, lease.ErrHeld) {
		t.Errorf("TryAcquire: %v, want ErrHeld", err)
	}
}
