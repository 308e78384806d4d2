package lease_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

var evals = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)

// scriptsRun returns how often the server was asked for a script it should know.
func scriptsRun(t *testing.T, c *redisx.Client) int {
	t.Helper()
	m := evals.FindStringSubmatch(dstest.Cmd(t, c, "INFO", "commandstats").Text())
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestManyLeasesOfOneProcess is LE13.
func TestManyLeasesOfOneProcess(t *testing.T) {
	s := serverstest.Start(t)
	c, admin := dstest.Connect(t, s), dstest.Connect(t, s)
	n, ttl := dstest.Rounds(3_000, 10_000), time.Duration(dstest.Rounds(6, 30))*time.Second
	for !holdsMany(t, c, admin, n, ttl) {
		if ttl *= 3; ttl > time.Minute {
			t.Fatalf("the machine is too busy for a TTL of %v", ttl/3)
		}
	}
}

// holdsMany reports false if the machine was too late for the test to say
// anything.
func holdsMany(t *testing.T, c, admin *redisx.Client, n int, ttl time.Duration) bool {
	t.Helper()
	steady := ttl * 2 / 5 // beyond the first renewal of each
	if dstest.Long {
		steady = time.Minute
	}
	before := runtime.NumGoroutine()
	lag := dstest.Lag(t)
	leases := make([]*lease.Lease, n)
	each(n, func(i int) {
		l, err := lease.TryAcquire(context.Background(), c, fmt.Sprintf("job:%d", i), lease.TTL(ttl))
		if err != nil {
			t.Errorf("TryAcquire: %v", err)
			return
		}
		leases[i] = l
	})
	if t.Failed() {
		t.FailNow()
	}
	// The first renewals fall due between 9 and 11 thirtieths of the TTL after the
	// grants.
	time.Sleep(ttl * 85 / 300)
	from, most := scriptsRun(t, admin), 0
	for end := time.Now().Add(steady); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		most = max(most, runtime.NumGoroutine()-before)
	}
	sent := scriptsRun(t, admin) - from
	lost := 0
	for _, l := range leases {
		// All have been renewed at least once: else less than a quarter would be left.
		if context.Cause(l.Context()) != nil || l.Remaining() < ttl/4 {
			lost++
		}
	}
	worst := lag()
	perSecond := float64(sent) / steady.Seconds()
	limit := 40 * 30 / ttl.Seconds()
	t.Logf("LE13: %d leases, TTL %v, %v: %d scripts (%.1f/s), %d goroutines at most, %d lost or not renewed; the machine itself was late by up to %v",
		n, ttl, steady, sent, perSecond, most, lost, worst)
	if perSecond > limit || most >= 100 {
		t.Errorf("want at most %.0f scripts/s, less than 100 goroutines", limit)
	}
	each(n, func(i int) {
		if err := leases[i].Release(context.Background()); err != nil && !errors.Is(err, lease.ErrLost) {
			t.Errorf("Release: %v", err)
		}
	})
	if lost > 0 && worst > ttl/60 {
		return false
	}
	if lost > 0 {
		t.Error("want none lost")
	}
	return true
}

// each runs f for all numbers below n, on 64 goroutines.
func each(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

func TestAKeyOfAnotherTypeCostsItsOwnLeaseOnly(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	const ttl = 4 * time.Second
	var leases []*lease.Lease
	for i := range 20 {
		leases = append(leases, acquire(t, c, fmt.Sprintf("job:%d", i), lease.TTL(ttl)))
	}
	key, _ := lease.Keys("job:7")
	dstest.Cmd(t, c, "SET", key, "x")
	key, fence := lease.Keys("job:8")
	dstest.Cmd(t, c, "DEL", key)
	dstest.Cmd(t, c, "SET", fence, "x")
	<-leases[7].Context().Done()
	<-leases[8].Context().Done()
	// The batch itself: those that failed with it would come through in others.
	bad, badFence := lease.Keys("job:7")
	free, freeFence := lease.Keys("nobody's")
	answers := dstest.Cmd(t, c, "EVALSHA", lease.RenewScript().Digest(), 4, bad, badFence, free, freeFence, "id", "1000", "id", "1000").Elems()
	if len(answers) != 3 || answers[1].Err() == nil || answers[2].Text() != "gone" {
		t.Errorf("the rows are answered with %v, want an error and gone", answers)
	}
	for i, l := range leases {
		switch err := context.Cause(l.Context()); {
		case i == 7 && lossOf(t, l) != "expired", i == 8 && lossOf(t, l) != "gone":
			t.Errorf("lease %d: %v", i, err)
		case i == 7 || i == 8:
		case err != nil:
			t.Errorf("lease %d: %v, want it held", i, err)
		default:
			release(t, l)
		}
	}
}
