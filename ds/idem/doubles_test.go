package idem_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
)

// storm is a run of the doubles test: batches of keys, each called by many
// callers in each of many processes at once, of which some die at a step.
type storm struct {
	seed                                 uint64
	processes, batches, keys, callers    int
	ttl                                  time.Duration
	mortality                            float64 // the share of processes that die in a batch
	plants                               [][3]string
	calls, died, told, fenced, transient int // what came of it
}

func doubles() storm {
	s := storm{seed: rand.Uint64(), processes: 4, batches: 3, keys: 60, callers: 3, ttl: 400 * time.Millisecond, mortality: 0.5}
	if dstest.Long {
		s.batches, s.keys, s.callers, s.processes, s.ttl = 24, 120, 8, 6, 300*time.Millisecond
	}
	return s
}

// answers are what the callers of one key were told.
type answers struct {
	values        map[string]int
	indeterminate int
	fenced        int
	calls         int
	errors        []string
}

// TestDoublesHaveOneEffect sends doubles from many processes at once and kills
// the runners at each of their steps: one effect for a key, the same answer for
// everybody, or ErrIndeterminate where the policy says so, never silence.
func TestDoublesHaveOneEffect(t *testing.T) {
	everywhere(t, func(t *testing.T, f servers.Flavor) {
		s := doubles()
		begun := time.Now()
		for _, wrong := range s.play(t, f) {
			t.Error(wrong)
		}
		t.Logf("%s, seed %d, %v: %d calls of %d keys, %d processes killed; %d calls told that nobody knows, %d fenced, %d transient errors",
			f, s.seed, time.Since(begun).Round(time.Millisecond), s.calls, s.batches*s.keys, s.died, s.told, s.fenced, s.transient)
	})
}

// TestTheDoublesCheckFindsPlantedBugs is the test of the test.
func TestTheDoublesCheckFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string][3]string{
		"a crash that is run again under fail":  {"begin", "if policy == 'fail' then", "if false then"},
		"a resumed run without its checkpoints": {"begin", "saved = checkpoints(key)", ""},
		"a commit that notes nothing":           {"commit", "settle(KEYS[1], state, ARGV[4])", ""},
		"an error that forgets what was done":   {"abandon", "settle(KEYS[1], 'open', ARGV[2])", "redis.call('DEL', KEYS[1])"},
		"a finish that stores another result":   {"finish", "'result', ARGV[3]", "'result', '\"other\"'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range 10 {
				s := doubles()
				s.processes, s.batches, s.keys, s.callers, s.mortality = 3, 2, 30, 3, 1
				s.plants = [][3]string{plant}
				if wrong := s.play(t, ""); len(wrong) > 0 {
					t.Logf("caught by run %d, %d violations, such as: %s", i+1, len(wrong), wrong[0])
					return
				}
			}
			t.Error("not caught in 10 runs")
		})
	}
}

// play runs it and returns what is wrong.
func (s *storm) play(t *testing.T, f servers.Flavor) []string {
	t.Helper()
	c, server := setup(t, servers.Options{Flavor: f})
	load(t, c)
	r := rand.New(rand.NewPCG(s.seed, 1))
	told := map[string]*answers{}
	procs := make([]*caller, s.processes)
	var wrong []string
	death := r.IntN(len(deaths))
	for batch := range s.batches {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range procs {
			if procs[i] == nil {
				procs[i] = startCaller(t, server.URL(), s.ttl)
			}
			o := order{Batch: batch, Child: i, Keys: s.keys, Callers: s.callers, Plants: s.plants}
			if batch > 0 {
				o.Plants = nil // it has them, unless it is new
			}
			if procs[i].fresh {
				o.Plants = s.plants
				procs[i].fresh = false
			}
			if r.Float64() < s.mortality {
				o.Die, o.After = deaths[death%len(deaths)], 1+r.Int64N(8)
				death++
			}
			wg.Go(func() {
				if !procs[i].do(o, func(key, what string) {
					mu.Lock()
					defer mu.Unlock()
					s.note(told, key, what)
				}) {
					procs[i] = nil
				}
			})
		}
		wg.Wait()
		for i := range procs {
			if procs[i] == nil {
				s.died++
			}
		}
		// Those that are left must answer for every call: no key may stay silent.
		for i := range s.keys {
			key := order{Batch: batch}.key(i)
			wrong = append(wrong, s.check(t, c, key, policyOf(i), told[key])...)
		}
	}
	for _, p := range procs {
		if p != nil {
			p.end()
		}
	}
	return wrong
}

// note counts what one call was told.
func (s *storm) note(told map[string]*answers, key, what string) {
	a := told[key]
	if a == nil {
		a = &answers{values: map[string]int{}}
		told[key] = a
	}
	s.calls++
	a.calls++
	kind, rest, _ := strings.Cut(what, " ")
	switch kind {
	case "answer":
		a.values[rest]++
	case "indeterminate":
		a.indeterminate++
		s.told++
	case "fenced":
		a.fenced++
		s.fenced++
	case "transient":
		s.transient++
	default:
		a.errors = append(a.errors, what)
	}
}

// errNobody is what the last double's fn returns: the key was free.
var errNobody = errors.New("nobody has run it")

func list(t *testing.T, d command.Doer, key string) []string {
	t.Helper()
	all, err := command.Do(t.Context(), d, command.LRange(key, 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// check compares what the callers of a key were told with what has happened.
func (s *storm) check(t *testing.T, c command.Doer, key, policy string, a *answers) []string {
	var wrong []string
	report := func(format string, args ...any) {
		wrong = append(wrong, key+": "+fmt.Sprintf(format, args...))
	}
	if a == nil {
		a = &answers{}
	}
	// One more double, from a process that lives, whose fn must not run.
	final, err := idem.Run(t.Context(), c, key, func(context.Context) (string, error) { return "", errNobody }, idem.TTL(s.ttl))
	runs, effect := raw(t, c, "GET", "runs:"+key), raw(t, c, "GET", "effect:"+key)
	if len(a.errors) > 0 {
		report("%d errors, such as %s", len(a.errors), a.errors[0])
	}
	if len(a.values) > 1 {
		report("different answers: %v", a.values)
	}
	for v := range a.values {
		if err != nil || v != final {
			report("answered %q, now %q, %v", v, final, err)
		}
		if a.indeterminate > 0 && policy == "fail" {
			report("%d callers have an answer, %d were told that nobody knows", a.values[v], a.indeterminate)
		}
	}
	switch policy {
	case "fail":
		if runs != "" && runs != "1" {
			report("ran %s times", runs)
		}
		if len(a.values) == 0 && a.calls > 0 && a.indeterminate == 0 && a.fenced == 0 {
			report("%d calls, and nobody was told anything", a.calls)
		}
	default:
		if a.indeterminate > 0 {
			report("%d callers that may run twice were told that nobody knows", a.indeterminate)
		}
		if len(a.values) > 0 && effect != "1" || effect != "" && effect != "1" {
			report("the effect took place %q times, %d answers", effect, len(a.values))
		}
	}
	if policy == "resume" {
		wrong = append(wrong, s.checkLog(t, c, key, final, len(a.values) > 0)...)
	}
	return wrong
}

// checkLog looks for a charge after one that was known to be kept.
func (s *storm) checkLog(t *testing.T, c command.Doer, key, final string, answered bool) []string {
	var wrong []string
	kept := ""
	for _, entry := range list(t, c, "log:"+key) {
		id, isKept := strings.CutPrefix(entry, "kept ")
		switch {
		case !isKept && kept != "":
			wrong = append(wrong, key+": charged again after "+kept+" was kept")
		case isKept && kept != "" && id != kept:
			wrong = append(wrong, key+": kept "+id+" after "+kept)
		case isKept:
			kept = id
		}
	}
	if answered && final != kept {
		wrong = append(wrong, fmt.Sprintf("%s: the answer is %q, kept was %q", key, final, kept))
	}
	return wrong
}

// caller is a process that sends doubles.
type caller struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Scanner
	fresh bool
}

func startCaller(t *testing.T, url string, ttl time.Duration) *caller {
	t.Helper()
	ch := startChild(t, url, "doubles", ttl)
	ch.line("ready")
	return &caller{t: t, cmd: ch.cmd, stdin: ch.stdin, out: ch.out, fresh: true}
}

// do sends one order, passes on what the calls were told, and reports whether
// the process lives.
func (p *caller) do(o order, told func(key, what string)) bool {
	b, err := json.Marshal(o)
	if err != nil {
		p.t.Error(err)
		return false
	}
	if _, err := fmt.Fprintf(p.stdin, "%s\n", b); err != nil {
		p.t.Error(err)
		return false
	}
	answered := 0
	for p.out.Scan() {
		if call, ok := strings.CutPrefix(p.out.Text(), "call "); ok {
			key, what, whole := strings.Cut(call, " ")
			if whole {
				told(key, what)
				answered++
			}
			continue
		}
		if answered != o.Keys*o.Callers {
			p.t.Errorf("a process that lives told of %d of %d calls", answered, o.Keys*o.Callers)
		}
		return true
	}
	if o.Die == "" {
		p.t.Errorf("a process ended that was to live: %v", p.cmd.Wait())
	}
	return false
}

func (p *caller) end() {
	p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("a process ended with %v", err)
	}
}
