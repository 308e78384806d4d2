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
			[]plant{{"acquire", "last < us and stamp or string.format('%.0f', last + 1)", "string.format('%.0f', last + 1)"}},
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
			[]plant{{"release", "held[1] == ARGV[i]", "held[1]"}},
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
			[]plant{{"acquire", "if has then", "if has and false then"}},
			func(c *chaos) { c.faults = nil },
		},
		{
			"an acquisition that answers with the holder's token",
			[]plant{{"acquire", "if has == id then", "if has then"}},
			func(c *chaos) { c.faults = nil },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			caught(t, storm, tt.plants, tt.change)
		})
	}
}

// caught fails the test if no run of the storm with these bugs is found wrong.
func caught(t *testing.T, storm func() chaos, plants []plant, change func(*chaos)) {
	t.Helper()
	for i := range attempts {
		c := storm()
		c.processes, c.leases, c.run = 4, 2, 1200*time.Millisecond
		change(&c)
		c.plants = plants
		if wrong := c.play(t).check(t); len(wrong) > 0 {
			t.Logf("caught by run %d, %d violations, such as:\n%s", i+1, len(wrong), wrong[len(wrong)-1])
			return
		}
	}
	t.Errorf("not caught in %d runs", attempts)
}

func TestTheHistoryCheckFindsPlantedBugsOfEveryMode(t *testing.T) {
	t.Parallel()
	const together = "(read and shared and fits)"
	for _, tt := range []struct {
		name   string
		plants []plant
		change func(*chaos)
	}{
		{
			"a writer let in beside a reader",
			[]plant{{"queue", together, "shared"}},
			func(c *chaos) { c.faults, c.modes = nil, modes{Shares: 70, Try: true} },
		},
		{
			"a reader let in beside a writer",
			[]plant{{"queue", together, "read"}},
			func(c *chaos) { c.faults, c.modes = nil, modes{Shares: 10, Try: true} }, // few: a writer must get in
		},
		{
			"a take-over that leaves the old holder's fence valid",
			[]plant{{
				"do", "if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then",
				"if (held[1] ~= ARGV[1] or held[2] ~= ARGV[2]) and redis.call('HGET', KEYS[2], 'deposed') ~= ARGV[1] then",
			}},
			func(c *chaos) { c.faults, c.modes = nil, modes{Takes: 30} },
		},
		{
			"a take-over that the old holder never hears of",
			[]plant{{"renew", "if answer == id then", "if answer then"}},
			func(c *chaos) { c.faults, c.modes, c.ttl = nil, modes{Takes: 30}, 60*time.Millisecond },
		},
		{
			"a ticket that is adopted twice",
			[]plant{{"adopt", "if held[1] == ARGV[4] and held[3] then", "if held[1] then"}},
			func(c *chaos) { c.faults, c.modes = nil, modes{Hands: 80} },
		},
		{
			"a hand-over that keeps the token",
			[]plant{{"handover", "local token = new_token(KEYS[2], ARGV[4])", "local token = held[2]"}},
			func(c *chaos) { c.faults, c.modes = nil, modes{Hands: 80} },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			caught(t, mixed, tt.plants, tt.change)
		})
	}
}
