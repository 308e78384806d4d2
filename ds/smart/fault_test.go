package smart_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/faultproxy"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// waiters are waits for the values of k0, k1, … to be "done".
type waiters struct {
	woken chan time.Time
	wg    sync.WaitGroup
}

func waitForAll(t *testing.T, c *redisx.Client, n int) *waiters {
	t.Helper()
	w := &waiters{woken: make(chan time.Time, n)}
	reads := smart.StatsOf(c).Reads
	for i := range n {
		w.wg.Go(func() {
			_, err := smart.WaitFor(t.Context(), c, smart.Key(fmt.Sprint("k", i), is("done")), smart.Budget(20*time.Second))
			if err != nil {
				t.Error(err)
			}
			w.woken <- time.Now()
		})
	}
	dstest.Eventually(t, 10*time.Second, "all are read", func() bool { return smart.StatsOf(c).Reads >= reads+int64(n) })
	return w
}

// last returns when the last of them woke.
func (w *waiters) last() (last time.Time) {
	w.wg.Wait()
	close(w.woken)
	for at := range w.woken {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// TestWhatChangedDuringACutIsSeen is SB4.
func TestWhatChangedDuringACutIsSeen(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		proxy, err := faultproxy.Start(s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer proxy.Close()
		c, other := dstest.ConnectTo(t, via.url(proxy.Addr)), dstest.Connect(t, s)
		const n = 200
		w := waitForAll(t, c, n)
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
			proxy.Apply(faultproxy.Fault{Kind: faultproxy.Cut})
		}
		for i := range n {
			dstest.Cmd(t, other, "SET", fmt.Sprint("k", i), "done")
		}
		proxy.Apply(faultproxy.Fault{Kind: faultproxy.Cut})
		// Reconnected is when the client's own commands pass again.
		dstest.Eventually(t, 10*time.Second, "reconnected", func() bool { _, err := c.Ping(within(t, time.Second)); return err == nil })
		start := time.Now()
		last := w.last()
		t.Logf("%d waiters, all awake %v after the reconnect; %+v", n, last.Sub(start), smart.StatsOf(c))
		if late := last.Sub(start); late > slack(300*time.Millisecond) {
			t.Errorf("the last woke %v after the reconnect", late)
		}
	})
}

// TestWhateverEndsTrackingEverythingIsReadAgain is about all ways in which the
// server stops telling of a key.
func TestWhateverEndsTrackingEverythingIsReadAgain(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		other := dstest.Connect(t, s)
		for _, tt := range []struct {
			name string
			stop func()
		}{
			{"FLUSHALL", func() { dstest.Cmd(t, other, "FLUSHALL") }},
			{"the end of the connections", func() {
				dstest.Cmd(t, other, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
				dstest.Cmd(t, other, "CLIENT", "KILL", "TYPE", "pubsub")
			}},
			{"a full tracking table", func() {
				dstest.Cmd(t, other, "CONFIG", "SET", "tracking-table-max-keys", "1")
				dstest.Eventually(t, 10*time.Second, "an empty table", func() bool {
					info := dstest.Cmd(t, other, "INFO", "stats").Text()
					return strings.Contains(info, "tracking_total_keys:1\r\n") || via == events && strings.Contains(info, "tracking_total_keys:0\r\n")
				})
			}},
		} {
			c := dstest.ConnectTo(t, via.url(s.Addr))
			w := waitForAll(t, c, 50)
			tt.stop()
			for i := range 50 {
				dstest.Cmd(t, other, "SET", fmt.Sprint("k", i), "done")
			}
			start := time.Now()
			if took := w.last().Sub(start); took > slack(300*time.Millisecond) {
				t.Errorf("%s: all awake after %v", tt.name, took)
			}
			dstest.Cmd(t, other, "CONFIG", "SET", "tracking-table-max-keys", "1000000")
			dstest.Cmd(t, other, "FLUSHALL")
		}
	})
}

func TestARestartedServerIsWaitedFor(t *testing.T) {
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	w := waitForAll(t, c, 20)
	s.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	r, err := smart.WaitFor(ctx, c, smart.Absent("new"))
	if !errors.Is(err, context.DeadlineExceeded) || r.Known {
		t.Errorf("while the server is away: %+v, error %v", r, err)
	}
	_, err = smart.WaitFor(t.Context(), c, smart.Exists("k0"), smart.Budget(300*time.Millisecond))
	var budget *smart.BudgetError
	if !errors.As(err, &budget) {
		t.Errorf("while the server is away: %v", err)
	} else if budget.Err == nil && budget.Last.Known {
		t.Errorf("nothing says that the server is away: %+v", budget)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := dstest.Connect(t, s)
	for i := range 20 {
		dstest.Cmd(t, other, "SET", fmt.Sprint("k", i), "done")
	}
	start := time.Now()
	if took := w.last().Sub(start); took > 5*time.Second {
		t.Errorf("all awake after %v", took)
	}
}

func TestWithoutPushTheKeysArePolled(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	admin := dstest.Connect(t, s)
	dstest.Cmd(t, admin, "ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-client|tracking")
	for name, url := range map[string]string{
		"over RESP2":                   "redis://" + s.Addr + "?protocol=2",
		"for a user who may not track": "redis://bob:pw@" + s.Addr,
	} {
		t.Run(name, func(t *testing.T) {
			dstest.Cmd(t, admin, "FLUSHALL")
			c := dstest.ConnectTo(t, url)
			w := waitForAll(t, c, 20)
			dstest.Eventually(t, 5*time.Second, "all are polled", func() bool { return on(c, poll) == 20 })
			time.Sleep(500 * time.Millisecond)
			start, before := time.Now(), calls(t, admin, "get")
			time.Sleep(time.Second)
			// Every 125 to 250 ms by now.
			if n, took := calls(t, admin, "get")-before, time.Since(start); n < 20 || float64(n) > 20*(8*took.Seconds()+2) {
				t.Errorf("20 keys cost %d reads in %v", n, took)
			}
			start = time.Now()
			for i := range 20 {
				dstest.Cmd(t, admin, "SET", fmt.Sprint("k", i), "done")
			}
			took := w.last().Sub(start)
			t.Logf("all awake after %v", took)
			if took > slack(350*time.Millisecond) {
				t.Errorf("all awake after %v, want at most 250 ms and a read", took)
			}
			_, err := smart.WaitFor(t.Context(), c, smart.Exists("never"), smart.Budget(500*time.Millisecond))
			var budget *smart.BudgetError
			if !errors.As(err, &budget) || budget.Rung != "poll" || !strings.Contains(budget.Explain(), "10 to 250 ms") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAUserWhoMayNotReadIsTold(t *testing.T) {
	s := serverstest.Start(t)
	admin := dstest.Connect(t, s)
	dstest.Cmd(t, admin, "ACL", "SETUSER", "bob", "on", ">pw", "~mine:*", "+@all")
	c := dstest.ConnectTo(t, "redis://bob:pw@"+s.Addr)
	_, err := smart.WaitFor(within(t, 10*time.Second), c, smart.Exists("theirs:1"))
	var said redisx.ServerError
	if !errors.As(err, &said) || said.Code() != "NOPERM" {
		t.Errorf("error %v", err)
	}
	if _, err := smart.WaitFor(within(t, 10*time.Second), c, smart.Absent("mine:1")); err != nil {
		t.Errorf("of its own key: %v", err)
	}
}

func TestASessionCanWait(t *testing.T) {
	c := dstest.Start(t)
	dstest.Cmd(t, c, "SET", "k", "a")
	err := c.WithSession(t.Context(), func(ctx context.Context, s *redisx.Session) error {
		time.AfterFunc(30*time.Millisecond, func() { c.Set(ctx, "k", "b") })
		_, err := smart.WaitFor(ctx, s, smart.AnyOf(smart.Key("k", is("b")), smart.Exists("other")), smart.Budget(10*time.Second))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
