package lease_test

import (
	"testing"
	"time"

	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// mixed is a storm in which leases are shared, handed over and taken by force.
func mixed() chaos {
	c := storm()
	c.modes = modes{Shares: 50, Hands: 30, Takes: 6, Try: true}
	c.leases, c.enough = 8, 150
	return c
}

// patient is a storm whose holders wait for their turn, some for several leases
// at once. None is killed: its place in the queue would outlive it for seconds.
func patient() chaos {
	c := mixed()
	c.modes.Try, c.modes.Sets = false, 10
	c.faults = []string{"SIGSTOP", "cuts", "late answers", "clock jumps"}
	c.pause = 200 * time.Millisecond
	return c
}

// TestHistoriesOfEveryMode: no writer beside anybody, readers together, one
// holder across a hand-over, and who is driven out writes no more, whatever
// happens to the processes.
func TestHistoriesOfEveryMode(t *testing.T) {
	t.Parallel()
	if !dstest.Long {
		h := mixed().play(t)
		h.verify(t)
		h.showsModes(t)
		return
	}
	serverstest.EachRequired(t, func(t *testing.T, f servers.Flavor) {
		c := mixed()
		c.flavor, c.leases, c.run, c.enough = f, 60, 15*time.Second, 0
		h := c.play(t)
		h.verify(t)
		h.showsModes(t)
	})
}

// TestHistoriesOfReadersAndWritersInLine is the same for those who wait.
func TestHistoriesOfReadersAndWritersInLine(t *testing.T) {
	t.Parallel()
	c := patient()
	if dstest.Long {
		c.leases, c.run, c.enough = 24, 20*time.Second, 0
	}
	h := c.play(t)
	h.verify(t)
	h.showsModes(t)
}

// TestConfirmedSharesSurviveFailovers: where a replica must confirm each share
// and each renewal, a failover lets no writer in beside a reader.
func TestConfirmedSharesSurviveFailovers(t *testing.T) {
	t.Parallel()
	c := mixed()
	// A hand-over asks no replica.
	c.modes = modes{Shares: 60, Try: true}
	c.faults = []string{"SIGSTOP", "cuts"}
	confirmed(&c)
	if dstest.Long {
		c.run, c.enough = 20*time.Second, 0
	}
	c.play(t).verify(t)
}

// showsModes fails the test where a mode did not occur.
func (h recorded) showsModes(t *testing.T) {
	t.Helper()
	shares := 0
	for _, o := range h.ops {
		if o.share && o.grants() {
			shares++
		}
	}
	handed, adopted, taken := h.number(hands, yes), h.number(adopts, yes), h.number(takes, yes)
	t.Logf("%d shares, %d hand-overs, %d adopted (%d refused), %d take-overs", shares, handed, adopted, h.number(adopts, no), taken)
	if shares < 5 || handed < 2 || adopted < 1 || taken < 2 {
		t.Error("too few of them: nothing was tested")
	}
}
