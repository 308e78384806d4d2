package smart_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// TestEachConditionIsOnTheRungThatServesIt sets what the server publishes, and
// looks at how each condition then learns of its change.
func TestEachConditionIsOnTheRungThatServesIt(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	admin := dstest.Connect(t, s)
	conditions := []struct {
		wait   smart.Condition
		change []any
	}{
		{smart.Key("v", is("b")), []any{"SET", "v", "b"}},
		{smart.ListLen("l", 1), []any{"RPUSH", "l", "x"}},
		{smart.StreamAfter("s", "0"), []any{"XADD", "s", "*", "f", "v"}},
		{smart.Exists("e"), []any{"SADD", "e", "x"}},
	}
	for _, tt := range []struct {
		letters string
		want    [4]string // of value, list, stream, presence
	}{
		{"AKE", [4]string{"events", "events", "events", "events"}},
		{"AE", [4]string{"poll", "poll", "poll", "poll"}},
		{"", [4]string{"poll", "poll", "poll", "poll"}},
		{"K$", [4]string{"poll", "poll", "poll", "poll"}},
		{"Kg$e", [4]string{"events", "poll", "poll", "poll"}},
		{"Kgle", [4]string{"poll", "events", "poll", "poll"}},
		{"Kgtxe", [4]string{"poll", "poll", "events", "poll"}},
		{"Kg$lshzte", [4]string{"events", "events", "events", "poll"}}, // modules have keys, too
		{"Kg$lshztde", [4]string{"events", "events", "events", "events"}},
	} {
		t.Run("notify-keyspace-events "+tt.letters, func(t *testing.T) {
			dstest.Cmd(t, admin, "CONFIG", "SET", "notify-keyspace-events", tt.letters)
			c := dstest.ConnectTo(t, events.url(s.Addr))
			for i, cond := range conditions {
				dstest.Cmd(t, admin, "FLUSHALL")
				done := make(chan error, 1)
				go func() {
					_, err := smart.WaitFor(within(t, 30*time.Second), c, cond.wait)
					done <- err
				}()
				st := func() string {
					st := smart.StatsOf(c)
					return map[smart.Stats]string{{Push: 1}: "push", {Events: 1}: "events", {Poll: 1}: "poll"}[smart.Stats{Push: st.Push, Events: st.Events, Poll: st.Poll}]
				}
				// A server that is slow to confirm leaves it on poll for a while.
				dstest.Eventually(t, 20*time.Second, fmt.Sprintf("condition %d on rung %s", i, tt.want[i]), func() bool { return st() == tt.want[i] })
				start := time.Now()
				dstest.Cmd(t, admin, cond.change[0].(string), cond.change[1:]...)
				if err := <-done; err != nil || time.Since(start) > slack(100*time.Millisecond) {
					t.Errorf("condition %d: met after %v, error %v", i, time.Since(start), err)
				}
			}
		})
	}
}

// TestWhoMayNotTrackIsServedByEvents is about all reasons for which a client
// learns nothing by push, and what else may be missing.
func TestWhoMayNotTrackIsServedByEvents(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t, servers.Options{Args: []string{"--notify-keyspace-events", "AK"}})
	bare := serverstest.Start(t, servers.Options{Args: []string{"--notify-keyspace-events", "AK", "--rename-command", "CLIENT", ""}})
	admin := dstest.Connect(t, s)
	user := func(name string, rules ...any) string {
		dstest.Cmd(t, admin, "ACL", append([]any{"SETUSER", name, "on", ">pw", "~*", "+@all", "-client|tracking"}, rules...)...)
		return "redis://" + name + ":pw@" + s.Addr
	}
	for _, tt := range []struct {
		name, url string
		want      rung
	}{
		{"RESP2", events.url(s.Addr), events},
		{"a server without CLIENT", bare.URL(), events},
		{"a user who may not track", user("ann", "&*"), events},
		{"a user with the channels of some keys", user("bob", "resetchannels", "&__keyspace@0__:k*"), events},
		{"a user without channels", user("cid", "resetchannels"), poll},
		{"a user who may not ask for the setting", user("dan", "&*", "-config"), poll},
		{"a user who may not subscribe", user("eve", "&*", "-subscribe"), poll},
	} {
		t.Run(tt.name, func(t *testing.T) {
			setter := admin
			if tt.url == bare.URL() {
				setter = dstest.Connect(t, bare)
			}
			dstest.Cmd(t, setter, "FLUSHALL")
			c := dstest.ConnectTo(t, tt.url)
			w := waitForAll(t, c, 20)
			dstest.Eventually(t, 15*time.Second, "all are on "+tt.want.name, func() bool { return on(c, tt.want) == 20 })
			before := rejected(t, admin)
			start := time.Now()
			for i := range 20 {
				dstest.Cmd(t, setter, "SET", fmt.Sprint("k", i), "done")
			}
			took := w.last().Sub(start)
			t.Logf("all awake after %v", took)
			if took > slack(350*time.Millisecond) {
				t.Errorf("all awake after %v", took)
			}
			_, err := smart.WaitFor(t.Context(), c, smart.Key("k0", is("never")), smart.Budget(500*time.Millisecond))
			var budget *smart.BudgetError
			if !errors.As(err, &budget) || budget.Rung != tt.want.name {
				t.Errorf("error %v", err)
			}
			if now := rejected(t, admin); now != before {
				t.Errorf("what the server has refused was tried again: %d calls, %d before", now, before)
			}
		})
	}
}

// rejected returns how many calls the server has refused of the commands that
// are needed for events.
func rejected(t *testing.T, c *redisx.Client) (n int) {
	t.Helper()
	info := dstest.Cmd(t, c, "INFO", "commandstats").Text()
	for _, m := range regexp.MustCompile(`(?m)^cmdstat_(?:config\|get|subscribe):.*rejected_calls=(\d+)`).FindAllStringSubmatch(info, -1) {
		calls, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		n += calls
	}
	return n
}

// TestEventsOfOtherKeysCostNothing: the server is asked for the keys that are
// waited for, not for patterns.
func TestEventsOfOtherKeysCostNothing(t *testing.T) {
	s := serverstest.Start(t, servers.Options{Args: []string{"--notify-keyspace-events", "AKE"}})
	c, setter := dstest.ConnectTo(t, events.url(s.Addr)), dstest.Connect(t, s)
	w := waitForAll(t, c, 3)
	dstest.Eventually(t, 5*time.Second, "on events", func() bool { return on(c, events) == 3 })
	start, before, reads := time.Now(), c.Stats(), smart.StatsOf(c).Reads
	p := setter.Pipeline()
	for i := range 20_000 {
		p.Set("other"+fmt.Sprint(i), "v")
	}
	if err := p.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := c.Stats()
	looks := 3 * int64(1+time.Since(start)/(2500*time.Millisecond)) // after a silence
	if n := smart.StatsOf(c).Reads - reads; n > looks || after.Pushes != before.Pushes || after.BytesIn-before.BytesIn > 20_000 {
		t.Errorf("%d reads, %d events and %d bytes came of writes to other keys", n, after.Pushes-before.Pushes, after.BytesIn-before.BytesIn)
	}
	for i := range 3 {
		dstest.Cmd(t, setter, "SET", fmt.Sprint("k", i), "done")
	}
	w.last()
}

// TestAnybodyMayPublishOnTheChannels: what comes there is a reason to look, and
// nothing more.
func TestAnybodyMayPublishOnTheChannels(t *testing.T) {
	s := serverstest.Start(t, servers.Options{Args: []string{"--notify-keyspace-events", "AK"}})
	c, other := dstest.ConnectTo(t, events.url(s.Addr)), dstest.Connect(t, s)
	dstest.Cmd(t, other, "SET", "k0", "pending")
	w := waitForAll(t, c, 1)
	dstest.Eventually(t, 5*time.Second, "on events", func() bool { return on(c, events) == 1 })
	reads := smart.StatsOf(c).Reads
	payloads := []string{"", "set", "del", "expired", "done", "\x00\r\n\x1b]0;x\a"}
	for range 20 {
		for _, p := range payloads {
			dstest.Cmd(t, other, "PUBLISH", "__keyspace@0__:k0", p)
		}
	}
	dstest.Cmd(t, other, "PUBLISH", "__keyspace@0__:k0", strings.Repeat("x", 5<<20)) // more than is kept
	dstest.Eventually(t, 5*time.Second, "it looked", func() bool { return smart.StatsOf(c).Reads > reads })
	if n := smart.StatsOf(c).Reads - reads; n > int64(20*len(payloads)+1) {
		t.Errorf("%d messages cost %d reads", 20*len(payloads)+1, n)
	}
	if st := smart.StatsOf(c); st.Waiters != 1 || st.Changes != 0 {
		t.Errorf("%+v", st)
	}
	dstest.Cmd(t, other, "SET", "k0", "done")
	w.last()
}

func TestEventsAreOfTheClientsDatabase(t *testing.T) {
	s := serverstest.Start(t, servers.Options{Args: []string{"--notify-keyspace-events", "AK"}})
	c := dstest.ConnectTo(t, "redis://"+s.Addr+"/3?protocol=2")
	w := waitForAll(t, c, 1)
	dstest.Eventually(t, 5*time.Second, "on events", func() bool { return on(c, events) == 1 })
	before := c.Stats().Pushes
	dstest.Cmd(t, dstest.Connect(t, s), "SET", "k0", "done")
	time.Sleep(100 * time.Millisecond)
	if n := c.Stats().Pushes - before; n != 0 {
		t.Errorf("another database's key cost %d events", n)
	}
	start := time.Now()
	dstest.Cmd(t, c, "SET", "k0", "done")
	if took := w.last().Sub(start); took > slack(100*time.Millisecond) {
		t.Errorf("awake after %v", took)
	}
}

// TestTheRungIsChosenAnewAfterAReconnect: the server that comes back may publish
// more or less than before.
func TestTheRungIsChosenAnewAfterAReconnect(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, before, after string // what is published
		want                func(smart.Stats) bool
	}{
		{"nothing any more", "AK", "", func(st smart.Stats) bool { return st.Poll == 20 }},
		{"now it publishes", "", "AK", func(st smart.Stats) bool { return st.Events == 20 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serverstest.Start(t, servers.Options{Args: []string{"--notify-keyspace-events", tt.after}})
			dstest.Cmd(t, dstest.Connect(t, s), "CONFIG", "SET", "notify-keyspace-events", tt.before)
			c := dstest.ConnectTo(t, events.url(s.Addr))
			w := waitForAll(t, c, 20)
			if st := smart.StatsOf(c); tt.want(st) {
				t.Errorf("before: %+v", st)
			}
			s.Kill()
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			dstest.Eventually(t, 20*time.Second, "another rung", func() bool { return tt.want(smart.StatsOf(c)) })
			t.Logf("another rung after %v", time.Since(start))
			other := dstest.Connect(t, s)
			start = time.Now()
			for i := range 20 {
				dstest.Cmd(t, other, "SET", fmt.Sprint("k", i), "done")
			}
			if took := w.last().Sub(start); took > slack(350*time.Millisecond) {
				t.Errorf("all awake after %v", took)
			}
		})
	}
}

func TestWhatPublishesNothingIsSeenAfterASilence(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.noPush, d.letters = true, "g$lshztde"
		d.set("k", "v")
		absent := await(t, d, smart.Absent("k"))
		time.Sleep(time.Minute)
		if st := smart.StatsOf(d); st.Events != 1 || st.Poll != 0 {
			t.Errorf("%+v", st)
		}
		if reads, _ := d.count(); reads < 60/5 || reads > 60*2/5+2 {
			t.Errorf("%d reads in a minute of silence", reads)
		}
		d.mu.Lock()
		d.silent = true
		d.change("k", "", false) // FLUSHALL
		d.silent = false
		d.mu.Unlock()
		start := time.Now()
		<-absent
		if took := time.Since(start); took > 5*time.Second+3*d.rtt {
			t.Errorf("seen after %v", took)
		}
		// The server stops publishing while somebody waits.
		done := await(t, d, smart.Key("k", is("z")))
		time.Sleep(time.Second)
		d.mu.Lock()
		d.letters, d.silent = "", true
		d.mu.Unlock()
		time.Sleep(5*time.Second + 4*d.rtt)
		if st := smart.StatsOf(d); st.Poll != 1 || st.Events != 0 {
			t.Errorf("the server publishes no more, and %+v", st)
		}
		d.set("k", "z")
		<-done
	})
}

func TestTheEndOfAKeyIsCountedDownOnEvents(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.noPush, d.letters = true, "g$lshztde"
		for _, life := range []time.Duration{3 * time.Millisecond, 50 * time.Millisecond, 2 * time.Second, time.Hour} {
			d.setFor("k", "v", life)
			start := time.Now()
			<-await(t, d, smart.Absent("k"))
			if late := time.Since(start) - life; late > 2*time.Millisecond+3*d.rtt {
				t.Errorf("the end of a life of %v was seen %v late", life, late)
			}
		}
	})
}

func TestAChangeOnEventsCostsOneRead(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.noPush, d.letters = true, "g$e"
		d.set("k", "a")
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { <-await(t, d, smart.Key("k", is("z"))) })
		}
		time.Sleep(time.Second)
		if reads, pttls := d.count(); reads != 1 || pttls != 1 {
			t.Errorf("100 waiters: %d reads, %d PTTL; want one of each", reads, pttls)
		}
		d.set("k", "b")
		time.Sleep(100 * time.Millisecond)
		d.set("k", "z")
		wg.Wait()
		if reads, pttls := d.count(); reads != 3 || pttls != 2 {
			t.Errorf("in the end %d reads, %d PTTL; want 3 and 2", reads, pttls)
		}
	})
}
