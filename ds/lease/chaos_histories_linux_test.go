package lease_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// storm is what holders go through by default.
func storm() chaos {
	return chaos{
		seed: rand.Uint64(), processes: 4, workers: 4, leases: 6,
		ttl: 150 * time.Millisecond, hold: 3 * time.Millisecond, wait: 200 * time.Millisecond,
		faults: []string{
			"kill -9", "SIGSTOP", "SIGSTOP", "network faults", "network faults", "late answers", "late answers, then silence", "clock jumps",
		},
		pause: 60 * time.Millisecond, flush: true,
		run: 20 * time.Second, enough: 60, least: 3 * time.Second,
	}
}

// TestHistoriesUnderFaults: what holders in many processes see is what one
// register explains, whatever happens to them. The schedule of the faults is the
// seed's; what they hit is the machine's.
func TestHistoriesUnderFaults(t *testing.T) {
	if !dstest.Long {
		t.Parallel()
		storm().play(t).verify(t)
		return
	}
	const enough = 35_000 // of each flavor: more than 100 000 in all
	serverstest.EachRequired(t, func(t *testing.T, f servers.Flavor) {
		c := storm()
		c.flavor, c.processes, c.workers, c.leases = f, 6, 24, 200
		c.hold, c.pause = time.Millisecond, 300*time.Millisecond
		c.run, c.least, c.enough = 60*time.Second, 0, enough*17/10 // they write 1.5 times a tenure
		h := c.play(t)
		h.verify(t)
		if n := h.acquired(); n < enough {
			t.Errorf("%d acquisitions, want %d", n, enough)
		}
	})
}

// TestHistoriesOfAQueue: waiting in a queue makes no difference to who holds. No
// process is killed or stopped: its place in the queue would outlive it for
// seconds, which is tested elsewhere.
func TestHistoriesOfAQueue(t *testing.T) {
	t.Parallel()
	c := storm()
	c.fair, c.leases = true, 3
	c.faults = []string{"cuts", "late answers", "clock jumps"}
	c.pause = 300 * time.Millisecond
	if dstest.Long {
		c.least, c.run = 30*time.Second, 30*time.Second
	}
	c.play(t).verify(t)
}

// TestHistoriesOverFailovers: tokens rise over the death of a primary, although
// its replica lacks the last grants. There two may hold a lease at once; the
// model says which.
func TestHistoriesOverFailovers(t *testing.T) {
	t.Parallel()
	c := storm()
	c.faults = []string{"kill -9", "SIGSTOP", "cuts"}
	c.failovers, c.lag = 400*time.Millisecond, 200*time.Millisecond
	if dstest.Long {
		c.least, c.run = 30*time.Second, 30*time.Second
	}
	c.play(t).verify(t)
}

// TestConfirmedGrantsSurviveFailovers: where a replica must confirm each grant
// and each renewal, a failover lets nobody in beside a holder, not even while
// the primary of before lives on.
func TestConfirmedGrantsSurviveFailovers(t *testing.T) {
	t.Parallel()
	c := storm()
	c.faults = []string{"kill -9", "SIGSTOP", "cuts"}
	confirmed(&c)
	if dstest.Long {
		c.least, c.run = 30*time.Second, 30*time.Second
	}
	c.play(t).verify(t)
}

// confirmed makes c one with failovers and a replica that must confirm. A busy
// machine needs the longer TTL, of which a fifth is the replica's.
func confirmed(c *chaos) {
	c.ttl, c.enough = 300*time.Millisecond, 40
	c.failovers, c.lag, c.acks = 700*time.Millisecond, 300*time.Millisecond, 1
}

// TestFiftyProcessesOnOneLease is LE5.
func TestFiftyProcessesOnOneLease(t *testing.T) {
	if !dstest.Long {
		t.Parallel()
	}
	c := chaos{
		seed: rand.Uint64(), processes: dstest.Rounds(8, 50), workers: dstest.Rounds(5, 20), leases: 1, tidy: true,
		ttl: time.Second, hold: 10 * time.Millisecond, wait: 10 * time.Second,
		faults: []string{"cuts"}, run: 3 * time.Second,
	}
	c.pause = 500 * time.Millisecond * time.Duration(c.processes) // one cut every 500 ms
	if dstest.Long {
		c.run = time.Minute
	}
	h := c.play(t)
	h.verify(t)
	n := h.acquired()
	ended := h.number(releases, yes) + h.number(releases, no) + h.number(releases, unknown)
	if n != ended {
		t.Errorf("%d acquisitions and %d releases", n, ended)
	}
	rate := float64(n) / h.span().Seconds()
	t.Logf("LE5: %d processes with %d holders each: %.0f grants a second, no overlap", c.processes, c.workers, rate)
	if dstest.Long && rate <= 30 {
		t.Errorf("%.0f grants a second, want more than 30", rate)
	}
}
