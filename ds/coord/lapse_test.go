package coord

import (
	"testing"
	"time"
)

// A PTTL of 0 is the last millisecond of a life, not a life without an end.
func TestWhatLapsesIsLookedAtWhenItHas(t *testing.T) {
	t.Parallel()
	for _, left := range []time.Duration{0, time.Millisecond, time.Hour} {
		for range 100 {
			for what, d := range map[string]time.Duration{
				"lapse":   lapse(left),
				"a term":  LeaderInfo{Led: true, Left: left}.next(),
				"members": MembersInfo{Members: []Member{{Left: time.Hour}, {Left: left}}}.next(),
			} {
				if d <= left || d > left+10*time.Millisecond {
					t.Fatalf("%s with %v left is looked at after %v", what, left, d)
				}
			}
		}
	}
	if d := lapse(-time.Millisecond); d != 0 {
		t.Errorf("what has no end is looked at after %v", d)
	}
	if d := (LeaderInfo{}).next() + (MembersInfo{}).next(); d != 0 {
		t.Errorf("nobody lapses, after %v", d)
	}
}
