package lease_test

import (
	"testing"
	"time"
)

// The tests of the test: the check of histories must catch what it is there to
// catch.

// attempts bounds how often a planted bug may stay unseen, by chance.
const attempts = 10

func TestTheHistoryCheckFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		plants []plant
		change func(*chaos)
	}{
		{
			"tokens by INCR, over a failover",
			[]plant{{"acquire", "math.max(last + 1, now)", "last + 1"}},
			func(c *chaos) { c.faults, c.failovers, c.lag = nil, 300*time.Millisecond, 100*time.Millisecond },
		},
		{
			"a trust window that starts with the reply",
			[]plant{{Script: "window"}},
			func(c *chaos) {
				c.faults, c.pause = []string{"late answers, then silence"}, 2*c.ttl
				c.processes, c.leases, c.run = 6, 6, 2*time.Second
			},
		},
		{
			"a release without a look at the owner",
			[]plant{{"release", "if id == ARGV[1] then", "if id then"}},
			func(c *chaos) { c.faults = []string{"SIGSTOP"} },
		},
		{
			"grants that no replica has confirmed",
			[]plant{{Script: "acks"}},
			func(c *chaos) {
				c.faults, c.failovers, c.lag, c.acks = nil, 400*time.Millisecond, 200*time.Millisecond, 1
			},
		},
		{
			"a fenced write without a look at the token",
			[]plant{{"do", "held[1] ~= ARGV[1] or held[2] ~= ARGV[2]", "false"}},
			func(c *chaos) { c.faults = []string{"SIGSTOP"} },
		},
		{
			"a lease that is granted while it is held",
			[]plant{{"acquire", "if id then", "if id and false then"}},
			func(c *chaos) { c.faults = nil },
		},
		{
			"an acquisition that answers with the holder's token",
			[]plant{{"acquire", "if id == ARGV[1] then", "if id then"}},
			func(c *chaos) { c.faults = nil },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for i := range attempts {
				c := storm()
				c.processes, c.leases, c.run = 4, 2, 1200*time.Millisecond
				tt.change(&c)
				c.plants = tt.plants
				if wrong := c.play(t).check(t); len(wrong) > 0 {
					t.Logf("caught by run %d, %d violations, such as:\n%s", i+1, len(wrong), wrong[len(wrong)-1])
					return
				}
			}
			t.Errorf("not caught in %d runs", attempts)
		})
	}
}
