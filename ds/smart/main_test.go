package smart_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rung is how a test's client learns of changes.
type rung struct{ name, query string }

var (
	push   = rung{"push", ""}
	events = rung{"events", "?protocol=2"}
	poll   = rung{name: "poll"}
)

// url returns where a client on the rung connects to.
func (r rung) url(addr string) string { return "redis://" + addr + r.query }

// eachServer runs a test against the servers that are required, or all, on the
// rungs on which the server tells of changes. By default the lower one is tried
// with one server.
func eachServer(t *testing.T, test func(t *testing.T, s *servers.Server, via rung), args ...string) {
	t.Helper()
	run := func(t *testing.T, f servers.Flavor) {
		for _, via := range []rung{push, events} {
			o := servers.Options{Flavor: f, Args: args}
			if via == events {
				o.Args = append([]string{"--notify-keyspace-events", "AK"}, args...)
			}
			if via == push || dstest.Long || f == servers.Redis70 {
				t.Run(via.name, func(t *testing.T) { test(t, serverstest.Start(t, o), via) })
			}
		}
	}
	if dstest.Long {
		serverstest.Each(t, run)
	} else {
		serverstest.EachRequired(t, run)
	}
}

// is returns a predicate for one value.
func is(want string) func(string, bool) bool {
	return func(v string, ok bool) bool { return ok && v == want }
}

// within bounds what must not hang.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// waiting waits until the client waits for n conditions, and all keys have
// been read.
func waiting(t testing.TB, c *redisx.Client, n int) {
	t.Helper()
	dstest.Eventually(t, 10*time.Second, fmt.Sprintf("%d conditions waited for", n), func() bool {
		return smart.StatsOf(c).Waiters == n
	})
}

// calls returns how often the server has run the commands.
func calls(t testing.TB, c *redisx.Client, names ...string) (n int) {
	t.Helper()
	info := dstest.Cmd(t, c, "INFO", "commandstats").Text()
	for _, name := range names {
		m := regexp.MustCompile(`(?m)^cmdstat_` + regexp.QuoteMeta(name) + `:calls=(\d+)`).FindStringSubmatch(info)
		if m != nil {
			calls, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			n += calls
		}
	}
	return n
}

// tellers returns how many connections the server tells of changes, by push or
// by events.
func tellers(t testing.TB, c *redisx.Client) (n int) {
	t.Helper()
	for _, line := range strings.Split(dstest.Cmd(t, c, "CLIENT", "LIST").Text(), "\n") {
		for _, field := range strings.Fields(line) {
			if flags, ok := strings.CutPrefix(field, "flags="); ok && strings.ContainsAny(flags, "tP") {
				n++
			}
		}
	}
	return n
}

// on returns how many keys are waited for on a rung.
func on(c *redisx.Client, via rung) int {
	st := smart.StatsOf(c)
	return map[rung]int{push: st.Push, events: st.Events, poll: st.Poll}[via]
}

// quantile returns the q-th of some durations, and sorts them.
func quantile(ds []time.Duration, q float64) time.Duration {
	slices.Sort(ds)
	return ds[min(int(float64(len(ds))*q), len(ds)-1)]
}

// machineLag measures, until it is called, by how much the machine is late to
// wake a goroutine that does nothing: what no wait can be quicker than.
func machineLag() (worst func() time.Duration) {
	stop, lag := make(chan struct{}), make(chan time.Duration)
	go func() {
		var worst time.Duration
		for {
			start := time.Now()
			select {
			case <-stop:
				lag <- worst
				return
			case <-time.After(time.Millisecond):
				worst = max(worst, time.Since(start)-time.Millisecond)
			}
		}
	}()
	return func() time.Duration { close(stop); return <-lag }
}
