package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

var short = options{time: 30 * time.Millisecond, patience: 30 * time.Second, contenders: 4, clients: 2, hold: time.Millisecond, waiters: 20}

// Every library must do its job, or the table compares failures.
func TestEveryLibraryDoesItsJob(t *testing.T) {
	server := serverstest.Start(t)
	for _, j := range jobs {
		for _, l := range j.libraries {
			s, err := runJob(t.Context(), short, l, server, 4)
			if err != nil || s.rate <= 0 || s.p50 <= 0 || s.p99 < s.p50 {
				t.Errorf("%s, %s: %+v, %v", j.name, l.name, s, err)
			}
			// Several callers may share a request.
			requests, calls, err := trafficOf(t.Context(), short, l, server, 1)
			if err != nil || (requests < 1) != l.local || calls < 0 {
				t.Errorf("%s, %s: %v requests and %v calls an operation, %v", j.name, l.name, requests, calls, err)
			}
		}
		for _, base := range j.bases {
			if !slices.ContainsFunc(j.libraries, func(l library) bool { return l.name == base }) {
				t.Errorf("%s: nobody is called %q", j.name, base)
			}
		}
	}
}

func TestEveryLockKeepsTheOthersOut(t *testing.T) {
	server := serverstest.Start(t)
	for _, l := range lockLibraries {
		if !l.waits {
			continue
		}
		o := short
		o.time = 300 * time.Millisecond // redsync waits 50 to 250 ms between two tries
		c, err := runContest(t.Context(), o, l.name, server)
		if err != nil || c.rate <= 0 || c.fairness < 0.25 || c.fairness > 1 || c.waits.max() <= 0 {
			t.Errorf("%s: %+v, %v", l.name, c, err)
		}
		if requests, _, err := contestTraffic(t.Context(), o, l.name, server); err != nil || requests < 1 {
			t.Errorf("%s: %v requests a grant, %v", l.name, requests, err)
		}
	}
}

// The counts that no clock blurs.
func TestAFreeLeaseTakesTwoRequests(t *testing.T) {
	server := serverstest.Start(t)
	for _, name := range []string{"redisx", "redisx, Fair"} {
		requests, _, err := trafficOf(t.Context(), short, jobs[0].find(name), server, 1)
		if err != nil || requests != 2 {
			t.Errorf("%s: lock and unlock are %v requests, %v; want 2", name, requests, err)
		}
	}
}

func TestAFreeLeaseAllocatesLittle(t *testing.T) {
	server := serverstest.Start(t)
	for _, tt := range []struct {
		name string
		most float64
	}{
		{"redisx", 9}, {"redisx, cancellable", 12}, {"redisx, Fair", 9}, {"SET NX, redisx", 2},
	} {
		newOp, closeClient, err := opened(context.Background(), short, jobs[0].find(tt.name), server, 1)
		if err != nil {
			t.Fatal(err)
		}
		op := newOp(0)
		n := testing.AllocsPerRun(300, func() {
			if err := op(); err != nil {
				t.Fatal(err)
			}
		})
		closeClient()
		if n > tt.most {
			t.Errorf("%s: lock and unlock allocate %v times, more than %v", tt.name, n, tt.most)
		}
		t.Logf("%s: %v allocations", tt.name, n)
	}
}

func TestWaitersOnOneKeyReadItTogether(t *testing.T) {
	server := serverstest.Start(t)
	o := short
	o.waiters = 200
	// One read when the waits begin, one after the SET, and between them one of
	// the key's time to live.
	if requests, err := waitTraffic(t.Context(), o, "redisx", server, 1); err != nil || requests > 3 {
		t.Errorf("%d waiters ask %v times for one change, %v; want 3 at most", o.waiters, requests, err)
	}
}

// open lets everybody in.
type open struct{}

func (open) lock(context.Context, string) (held, error) { return open{}, nil }
func (open) Release(context.Context) error              { return nil }

func TestALockThatLetsTwoInIsNoticed(t *testing.T) {
	_, _, err := contend(t.Context(), short, short.time, "", func(int) locker { return open{} })
	if err == nil || !strings.Contains(err.Error(), "at once") {
		t.Errorf("four callers held it together, and the error is %v", err)
	}
}

func TestACallerThatDoesNotComeBackEndsTheRun(t *testing.T) {
	server := serverstest.Start(t)
	o := short
	o.patience = 10 * time.Millisecond
	closed := errors.New("closed")
	_, err := runJob(t.Context(), o, library{name: "stuck", open: func(context.Context, string) (func(int) func() error, func(), error) {
		end := make(chan struct{})
		return func(int) func() error {
			return func() error {
				<-end
				return closed
			}
		}, sync.OnceFunc(func() { close(end) }), nil
	}}, server, 2)
	if !errors.Is(err, closed) {
		t.Errorf("the run ended with %v", err)
	}
}

// never is a lock that somebody else holds for good.
type never struct{}

func (never) lock(ctx context.Context, _ string) (held, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAWaitThatGotNothingCounts(t *testing.T) {
	const run = 500 * time.Millisecond
	counts, w, err := contend(t.Context(), short, run, "", func(int) locker { return never{} })
	// They begin a little after the time of the run does.
	if err != nil || sum(counts) != 0 || len(w) != short.contenders || w.max() < run/2 {
		t.Errorf("counts %v, waits %v, %v; want no grant and %d waits of %v", counts, w, err, short.contenders, run)
	}
}

func TestFairnessIsOneForEqualsAndOneNthForOne(t *testing.T) {
	for _, tt := range []struct {
		counts []int
		want   float64
	}{{[]int{5, 5, 5, 5}, 1}, {[]int{8, 0, 0, 0}, 0.25}, {[]int{1, 3}, 0.8}, {[]int{0, 0}, 0}} {
		if got := jain(tt.counts); got != tt.want {
			t.Errorf("jain(%v) = %v, want %v", tt.counts, got, tt.want)
		}
	}
}

func TestEveryWaiterIsWoken(t *testing.T) {
	server := serverstest.Start(t)
	for _, l := range waitLibraries {
		for _, keys := range []int{1, short.waiters} {
			w, err := runWaits(t.Context(), short, l.name, server, keys)
			if err != nil || len(w.took) < short.waiters || w.changes%keys != 0 || len(w.took)*keys != w.changes*short.waiters || w.took[0] <= 0 {
				t.Errorf("%s, %d keys: %d changes, %d wakes, %v", l.name, keys, w.changes, len(w.took), err)
			}
			if requests, err := waitTraffic(t.Context(), short, l.name, server, keys); err != nil || requests < 1 {
				t.Errorf("%s, %d keys: %v requests a change, %v", l.name, keys, requests, err)
			}
		}
	}
}

func TestAWaiterThatFailsEndsTheRound(t *testing.T) {
	server := serverstest.Start(t)
	c, err := redisx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	broken := errors.New("broken")
	w := &waiting{setter: c, waiters: 3, keys: []string{"k"}, waitFor: func(context.Context, string, string, func()) error { return broken }}
	if _, _, err := w.run(t.Context(), 0); !errors.Is(err, broken) {
		t.Errorf("the round ended with %v", err)
	}
}

func TestCommandsOfScriptsAreCountedApart(t *testing.T) {
	server := serverstest.Start(t)
	c, err := redisx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := counted(server, func() error {
		for _, words := range [][]any{
			{"GET", "k"},
			{"EVAL", "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])", 1, "k", "a [b lua] \r\n c"},
			{"SET", "k", "[0 lua] x"},
		} {
			if _, err := command.Do(t.Context(), c, command.Untyped(words[0].(string), words[1:]...)); err != nil && !errors.Is(err, command.Nil) {
				return err
			}
		}
		return nil
	})
	if err != nil || got != (traffic{requests: 3, calls: 2}) {
		t.Errorf("%+v, %v; want 3 requests and 2 calls", got, err)
	}
	failed := errors.New("failed")
	if _, err := counted(server, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("what f returned came back as %v", err)
	}
}

func TestMediansAndRatiosPairWithinARepetition(t *testing.T) {
	is := func(f float64) float64 { return f }
	a, b := []float64{30, 10, 20}, []float64{10, 10, 5}
	if m := median(a, is); m != 20 {
		t.Errorf("median %v, want 20", m)
	}
	if r := ratio(a, b, is); r != "3.00" { // 3, 1, 4
		t.Errorf("ratio %v, want 3.00", r)
	}
	if r := ratio(a, nil, is); r != "-" {
		t.Errorf("ratio without a base %q, want -", r)
	}
}

func TestTheTableOfAnUnknownJobIsAnError(t *testing.T) {
	server := serverstest.Start(t)
	o := short
	o.reps, o.callers = 1, "2"
	if err := table(t.Context(), "nothing", o, server); err == nil {
		t.Error("an unknown table is printed")
	}
}
