package explain

import (
	"strconv"
	"testing"
	"time"
)

func TestAListStaysASentence(t *testing.T) {
	for n, want := range map[int]string{
		0: "", 1: "0", 3: "0, 1, 2",
		10: "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
		12: "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more",
	} {
		if got := List(n, strconv.Itoa); got != want {
			t.Errorf("a list of %d is %q, want %q", n, got, want)
		}
	}
}

func TestTimesAreAsCoarseAsPeopleWantThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0 s", 1840 * time.Millisecond: "1.8 s", 59 * time.Second: "59.0 s",
		time.Minute: "1m0s", 24*time.Hour + 300*time.Millisecond: "24h0m0s",
	} {
		if got := Rounded(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	at := time.Date(2026, 11, 23, 12, 3, 5, 999, time.FixedZone("east", 3600))
	if got := Clock(at); got != "11:03:05Z" {
		t.Errorf("%v is %q", at, got)
	}
}
