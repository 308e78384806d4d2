package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/resp3"
)

func TestIDsAreOrderedAsTheServerDoes(t *testing.T) {
	t.Parallel()
	want := []string{"0-1", "0-2", "0-10", "9-0", "10-0", "10-9", "1795430848683-1", "1795430848683-12", "1795430848684-0"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareIDs)
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestACauseIsClippedBetweenCharacters(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"short", strings.Repeat("é", maxCause), strings.Repeat("a€", maxCause), strings.Repeat("\xff", 3*maxCause)} {
		got := clip(s)
		if len(got) > maxCause+len("…") || utf8.ValidString(s) != utf8.ValidString(got) {
			t.Errorf("clip of %d bytes has %d: …%q", len(s), len(got), got[max(0, len(got)-10):])
		}
		if len(s) <= maxCause && got != s {
			t.Errorf("clip(%q) = %q", s, got)
		}
	}
}

func TestTheDefaultBackoffDoublesUpToAnHour(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		attempt int
		want    time.Duration
	}{{0, time.Second}, {1, time.Second}, {2, 2 * time.Second}, {5, 16 * time.Second}, {12, 2048 * time.Second}, {13, time.Hour}, {1 << 40, time.Hour}} {
		for range 100 {
			if got := exponential(tt.attempt); got < tt.want*9/10 || got > tt.want*11/10 {
				t.Fatalf("attempt %d: %v, not about %v", tt.attempt, got, tt.want)
			}
		}
	}
}

func TestADeliveryTakesOnlyTheStepsDrawn(t *testing.T) {
	t.Parallel()
	allowed := map[[2]state]bool{
		{held, lapsed}: true, {held, settling}: true, {held, settled}: true, {held, stale}: true,
		{lapsed, settling}: true,
		{settling, held}:   true, {settling, lapsed}: true, {settling, settled}: true, {settling, stale}: true,
	}
	for from := held; from <= stale; from++ {
		for next := held; next <= stale; next++ {
			panicked := func() (p bool) {
				defer func() { p = recover() != nil }()
				(&delivery{state: from}).to(next)
				return false
			}()
			if panicked == allowed[[2]state{from, next}] {
				t.Errorf("from %d to %d: panicked %v", from, next, panicked)
			}
		}
	}
}

func TestAJobsContextLooksAtTheClockItself(t *testing.T) {
	t.Parallel()
	const ttl = 100 * time.Millisecond
	for name, look := range map[string]func(context.Context) bool{
		"Err":   func(ctx context.Context) bool { return ctx.Err() != nil },
		"Cause": func(ctx context.Context) bool { return errors.Is(context.Cause(ctx), ErrStaleDelivery) },
		"Done": func(ctx context.Context) bool {
			select {
			case <-ctx.Done():
				return true
			default:
				return false
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			// Nothing listens for the end of the hold, as if that had not run yet.
			h := hold.Start(t.Context(), time.Now(), hold.Options{TTL: ttl})
			c := &consumer{core: &core{name: "email"}, open: map[*delivery]struct{}{}, freed: make(chan struct{}, 1)}
			d := &delivery{c: c, id: "1-0", attempt: 1, hold: h}
			inner, cancel := context.WithCancelCause(t.Context())
			d.cancel, d.ctx = cancel, jobContext{inner, d}
			c.open[d] = struct{}{}
			if look(d.ctx) {
				t.Errorf("%s: ended from the start", name)
			}
			time.Sleep(ttl)
			if !look(d.ctx) {
				t.Errorf("%s does not see that the window has closed", name)
			}
			if c.count() != 0 || d.state != lapsed {
				t.Errorf("%s: state %d, %d open", name, d.state, c.count())
			}
			h.Stop()
			cancel(nil)
		})
	}
}

func TestNoAnswerMakesAConsumerSleepForEver(t *testing.T) {
	t.Parallel()
	c := &consumer{cfg: defaults()}
	for text, want := range map[string]time.Duration{
		":0": time.Millisecond, ":-9000": time.Millisecond, ":700": 700 * time.Millisecond, ":9000000": longestWait,
	} {
		got, err := c.asTaken(resp3.NewView([]byte("*1\r\n" + text + "\r\n")))
		if err != nil || got.wait != want {
			t.Errorf("%s: %v, %v, want %v", text, got.wait, err, want)
		}
	}
}
