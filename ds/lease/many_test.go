package lease_test

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

var evals = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)

// TestManyLeasesOfOneProcess is LE13.
func TestManyLeasesOfOneProcess(t *testing.T) {
	s := serverstest.Start(t)
	c, admin := connect(t, s), connect(t, s)
	const n, ttl = 10_000, 30 * time.Second
	steady := 12 * time.Second // beyond the first renewal of each
	if long {
		steady = time.Minute
	}
	before := runtime.NumGoroutine()
	leases := make([]*lease.Lease, n)
	each := func(f func(i int)) {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
					f(int(i))
				}
			})
		}
		wg.Wait()
	}
	each(func(i int) {
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
	scripts := func() int {
		m := evals.FindStringSubmatch(cmd(t, admin, "INFO", "commandstats").Text())
		if m == nil {
			return 0
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	// The first renewals fall due between 9 and 11 s after the grants.
	time.Sleep(8500 * time.Millisecond)
	from, most := scripts(), 0
	for end := time.Now().Add(steady); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		most = max(most, runtime.NumGoroutine()-before)
	}
	sent := scripts() - from
	lost := 0
	for _, l := range leases {
		// All have been renewed at least once: none is older than its period.
		if context.Cause(l.Context()) != nil || l.Remaining() < ttl/2 {
			lost++
		}
	}
	perSecond := float64(sent) / steady.Seconds()
	t.Logf("LE13: %d leases, TTL %v, %v: %d scripts (%.1f/s), %d goroutines at most, %d lost or not renewed", n, ttl, steady, sent, perSecond, most, lost)
	if perSecond > 40 || most >= 100 || lost != 0 {
		t.Errorf("want at most 40 scripts/s, less than 100 goroutines, none lost")
	}
	each(func(i int) {
		if err := leases[i].Release(context.Background()); err != nil {
			t.Errorf("Release: %v", err)
		}
	})
}

func TestAKeyOfAnotherTypeCostsItsOwnLeaseOnly(t *testing.T) {
	t.Parallel()
	c := start(t)
	const ttl = 600 * time.Millisecond
	var leases []*lease.Lease
	for i := range 20 {
		leases = append(leases, acquire(t, c, fmt.Sprintf("job:%d", i), lease.TTL(ttl)))
	}
	key, _ := lease.Keys("job:7")
	cmd(t, c, "SET", key, "x")
	key, fence := lease.Keys("job:8")
	cmd(t, c, "DEL", key)
	cmd(t, c, "SET", fence, "x")
	time.Sleep(3 * ttl)
	// The batch itself: those that failed with it would come through in others.
	bad, badFence := lease.Keys("job:7")
	free, freeFence := lease.Keys("nobody's")
	answers := cmd(t, c, "EVALSHA", lease.RenewDigest(), 4, bad, badFence, free, freeFence, "id", "1000", "id", "1000").Elems()
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
