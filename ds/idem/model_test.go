package idem_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/internal/servers"
)

// The clocks of the model, in seconds. Time passes in tens of them, so nothing
// is ever due within 5 s of a look: the machine may be slow.
const (
	modelLease     = 95
	modelRetention = 1005
)

// claim is one run that was begun.
type claim struct {
	runner string
	token  string
}

// machine is the reference model of one record: what a person would say becomes
// of it, without a look at the scripts.
type machine struct {
	now int // seconds

	state     string // "none" is no record
	holder    claim
	print     string
	ends      int // of the lease
	expires   int
	runs      int
	crashes   int
	steps     map[string]string
	result    string
	abandoned bool

	effects int
	claims  []claim // all there ever were
}

func (m *machine) pass(seconds int) {
	m.now += seconds
	if m.state != "none" && m.now > m.expires {
		m.forget()
	}
}

func (m *machine) forget() {
	*m = machine{now: m.now, state: "none", effects: m.effects, claims: m.claims}
}

// seen is the state as anybody sees it: a run whose lease has lapsed is lost.
func (m *machine) seen() string {
	if m.state == "running" && m.now > m.ends {
		return "lost"
	}
	return m.state
}

func (m *machine) settle(state string) {
	m.state, m.expires = state, m.now+modelRetention
}

// begin says what a caller is to be told; claimed makes it the runner.
func (m *machine) begin(policy, print string) string {
	if m.state != "none" && print != "" && m.print != "" && print != m.print {
		return "mismatch"
	}
	if m.state == "running" {
		if m.seen() == "running" {
			return "running"
		}
		m.crashes++
		if policy == "fail" {
			m.settle("lost")
		}
	}
	switch m.state {
	case "done", "final", "unstored":
		return m.state
	case "lost":
		if policy == "fail" {
			return "lost"
		}
	}
	if m.print == "" {
		m.print = print
	}
	if policy == "rerun" || m.steps == nil {
		m.steps = map[string]string{}
	}
	m.state, m.abandoned, m.result = "running", false, ""
	m.runs++
	m.ends, m.expires = m.now+modelLease, m.now+modelLease+modelRetention
	return "claimed"
}

// is reports whether that run may still write.
func (m *machine) is(c claim) bool { return m.state == "running" && m.holder == c }

func (m *machine) finish(c claim, state, result string) bool {
	if m.state != "none" && m.holder == c && m.state == state {
		return true // told again
	}
	if !m.is(c) {
		return false
	}
	m.steps, m.result = nil, result
	m.settle(state)
	return true
}

func (m *machine) abandon(c claim, doubt bool, unsure map[string]string) bool {
	if m.state == "none" || m.holder == c && m.abandoned {
		return true
	}
	if !m.is(c) {
		return false
	}
	maps.Copy(m.steps, unsure)
	switch {
	case doubt || m.crashes > 0:
		m.settle("lost")
	case len(m.steps) > 0:
		m.settle("open")
	default:
		m.forget()
		return true
	}
	m.abandoned = true
	return true
}

// keyed is the real record beside the model.
type keyed struct {
	t      *testing.T
	d      command.Doer
	record string
	effect string
	key    string
	m      machine
}

func (k *keyed) run(rt *rapid.T, script string, args ...string) []string {
	list := make([]command.Arg, len(args))
	for i, a := range args {
		list[i] = command.Str(a)
	}
	keys := []string{k.record}
	if script == "commit" {
		keys = append(keys, k.effect)
	}
	got, err := command.RunScript(k.t.Context(), k.d, idem.Scripts()[script], texts, keys, list...)
	if err != nil {
		rt.Fatalf("%s %q: %v", script, args, err)
	}
	return got
}

// pass lets time pass for the record: everything in it was so much earlier.
func (k *keyed) pass(seconds int) {
	raw := func(name string, args ...string) string { return raw(k.t, k.d, name, args...) }
	if raw("EXISTS", k.record) == "1" {
		for _, field := range []string{"since", "ends", "settled"} {
			if raw("HEXISTS", k.record, field) == "1" {
				raw("HINCRBY", k.record, field, strconv.Itoa(-seconds*1_000_000))
			}
		}
		left, _ := strconv.Atoi(raw("PTTL", k.record))
		raw("PEXPIRE", k.record, strconv.Itoa(left-seconds*1000)) // one in the past deletes
	}
	k.m.pass(seconds)
}

// any draws one of the runs that there have been.
func (k *keyed) any(rt *rapid.T) claim {
	if len(k.m.claims) == 0 {
		rt.Skip("nobody has begun")
	}
	// The last ones are of more interest.
	from := max(0, len(k.m.claims)-4)
	return rapid.SampledFrom(k.m.claims[from:]).Draw(rt, "run")
}

func (k *keyed) agree(rt *rapid.T, what string, got []string, ok bool) {
	if (got[0] == "1") != ok {
		rt.Fatalf("%s answered %q, the model says %v, from %+v", what, got, ok, k.m)
	}
}

const leaseText, retentionText = "95000", "1005000" // ms

func (k *keyed) begin(rt *rapid.T) {
	policy := rapid.SampledFrom([]string{"fail", "rerun", "resume"}).Draw(rt, "policy")
	print := rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "print")
	runner := fmt.Sprint("runner-", len(k.m.claims))
	got := k.run(rt, "begin", runner, leaseText, retentionText, print, policy)
	want := k.m.begin(policy, print)
	if got[0] != want {
		rt.Fatalf("begin answered %q, the model says %s", got, want)
	}
	switch want {
	case "claimed":
		if n := len(k.m.claims); n > 0 {
			last := k.m.claims[n-1].token
			if len(got[1]) < len(last) || got[1] <= last {
				rt.Fatalf("token %s after %s", got[1], last)
			}
		}
		k.m.holder = claim{runner, got[1]}
		k.m.claims = append(k.m.claims, k.m.holder)
		saved := map[string]string{}
		for i := 6; i < len(got); i += 2 {
			saved[got[i]] = got[i+1]
		}
		if !maps.Equal(saved, k.m.steps) {
			rt.Fatalf("the run gets the checkpoints %q, want %q", saved, k.m.steps)
		}
	case "done", "final", "unstored":
		if got[5] != k.m.result || got[2] != k.m.holder.runner {
			rt.Fatalf("begin answered %q, want the result %q of %s", got, k.m.result, k.m.holder.runner)
		}
	}
}

func (k *keyed) inspect(rt *rapid.T) {
	info, err := idem.Inspect(k.t.Context(), k.d, k.key)
	if err != nil {
		rt.Fatal(err)
	}
	slices.Sort(info.Checkpoints)
	crashes := k.m.crashes
	if k.m.state == "running" && k.m.seen() == "lost" {
		crashes++
	}
	got := fmt.Sprint(info.State, info.Runs, info.Crashes, info.Size, info.Checkpoints)
	want := fmt.Sprint(k.m.seen(), k.m.runs, crashes, len(k.m.result), slices.Sorted(maps.Keys(k.m.steps)))
	if got != want {
		rt.Fatalf("Inspect says %s, the model %s", got, want)
	}
	if k.m.state == "none" {
		return
	}
	if left := float64(k.m.expires - k.m.now); info.Expires.Seconds() > left+1 || info.Expires.Seconds() < left-4 {
		rt.Fatalf("forgotten in %v, the model says %v s", info.Expires, left)
	}
	if k.m.seen() == "running" {
		if left := float64(k.m.ends - k.m.now); info.Lease.Seconds() > left+1 || info.Lease.Seconds() < left-4 {
			rt.Fatalf("the lease lapses in %v, the model says %v s", info.Lease, left)
		}
	}
}

// actions are what runners, late runners and callers may do in any order.
func (k *keyed) actions() map[string]func(*rapid.T) {
	step := func(rt *rapid.T) (string, string) {
		return rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "step"), rapid.StringN(0, 5, 20).Draw(rt, "payload")
	}
	return map[string]func(*rapid.T){
		"begin":       k.begin,
		"begin again": k.begin,
		"renew": func(rt *rapid.T) {
			c := k.any(rt)
			got := k.run(rt, "renew", c.token, leaseText, retentionText)
			k.agree(rt, "renew", got[1:], k.m.is(c))
			if k.m.is(c) {
				k.m.ends, k.m.expires = k.m.now+modelLease, k.m.now+modelLease+modelRetention
			}
		},
		"checkpoint": func(rt *rapid.T) {
			c := k.any(rt)
			name, payload := step(rt)
			k.agree(rt, "checkpoint", k.run(rt, "checkpoint", c.token, name, payload), k.m.is(c))
			if k.m.is(c) {
				k.m.steps[name] = payload
			}
		},
		"finish": func(rt *rapid.T) {
			c := k.any(rt)
			state := rapid.SampledFrom([]string{"done", "final", "unstored"}).Draw(rt, "state")
			result := rapid.StringN(0, 5, 20).Draw(rt, "result")
			got := k.run(rt, "finish", c.token, state, result, retentionText)
			k.agree(rt, "finish", got, k.m.finish(c, state, result))
		},
		"commit": func(rt *rapid.T) {
			c := k.any(rt)
			was := k.m.is(c)
			got := k.run(rt, "commit", c.token, "done", "committed", retentionText, "2", "INCR", k.effect)
			k.agree(rt, "commit", got, k.m.finish(c, "done", "committed"))
			if was {
				k.m.effects++
			}
		},
		"abandon": func(rt *rapid.T) {
			c := k.any(rt)
			doubt := rapid.SampledFrom([]string{"0", "0", "1"}).Draw(rt, "doubt")
			args := []string{c.runner, retentionText, doubt}
			unsure := map[string]string{}
			if rapid.Bool().Draw(rt, "unsure") {
				name, payload := step(rt)
				unsure[name] = payload
				args = append(args, name, payload)
			}
			k.agree(rt, "abandon", k.run(rt, "abandon", args...), k.m.abandon(c, doubt == "1", unsure))
		},
		"forget": func(rt *rapid.T) {
			if rapid.IntRange(0, 3).Draw(rt, "seldom") > 0 {
				rt.Skip()
			}
			want := k.m.seen()
			if got := k.run(rt, "forget"); got[0] != want {
				rt.Fatalf("forget answered %q, the model says %s", got, want)
			}
			if want != "running" {
				k.m.forget()
			}
		},
		"time passes": func(rt *rapid.T) {
			k.pass(10 * rapid.SampledFrom([]int{1, 3, 6, 10, 40, 120}).Draw(rt, "tens of seconds"))
		},
		"": func(rt *rapid.T) {
			k.inspect(rt)
			if n, _ := strconv.Atoi(raw(k.t, k.d, "GET", k.effect)); n != k.m.effects {
				rt.Fatalf("the effect took place %d times, the model says %d", n, k.m.effects)
			}
			if ttl := raw(k.t, k.d, "PTTL", k.record); strings.HasPrefix(ttl, "-1") {
				rt.Fatal("the record has no TTL")
			}
		},
	}
}

// TestRecordsEqualTheModel plays random histories, time included, against the
// scripts and the model.
func TestRecordsEqualTheModel(t *testing.T) { everywhere(t, testRecordsEqualTheModel) }

func testRecordsEqualTheModel(t *testing.T, f servers.Flavor) {
	c, _ := setup(t, servers.Options{Flavor: f})
	load(t, c)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		key := fmt.Sprint("model", n)
		k := &keyed{t: t, d: c, key: key, record: "{redisx:idem:" + key + "}:record", effect: "effect:" + key, m: machine{state: "none"}}
		rt.Repeat(k.actions())
	})
	t.Logf("%d histories", n)
}
