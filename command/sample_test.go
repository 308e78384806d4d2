package command_test

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// sample is one call from the table.
type sample struct {
	command  string // name of the row
	function string // "" for raw requests
	cmd      probe
	wire     string // what must be sent, as words
	reply    string // the shape of the reply over RESP3
	before   []string
	varies   bool // the reply differs from call to call
	resp3    bool // RESP2 has no such reply
	unrun    bool // no test may run it
	// where its option came after its command
	since, sinceValkey string
}

// probe is a Cmd of any type.
type probe struct {
	request command.Request
	decode  func(resp3.View) (any, error)
}

func typed[T any](c command.Cmd[T]) probe {
	return probe{c.Request(), func(v resp3.View) (any, error) { return c.Decode(v) }}
}

func raw(line string) probe { return typed(untyped(words(line))) }

func untyped(list []string) command.Cmd[resp3.Value] {
	args := make([]any, len(list)-1)
	for i, w := range list[1:] {
		args[i] = w
	}
	return command.Untyped(list[0], args...)
}

func (s sample) String() string {
	if s.function == "" {
		return s.wire
	}
	return s.function + ": " + s.wire
}

// words splits a line at spaces; words in double quotes are Go strings.
func words(line string) []string {
	var out []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] != '"' {
			w, rest, _ := strings.Cut(line, " ")
			out, line = append(out, w), rest
			continue
		}
		q, err := strconv.QuotedPrefix(line)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", line, err))
		}
		w, _ := strconv.Unquote(q)
		out, line = append(out, w), line[len(q):]
	}
	return out
}

func encode(list []string) string {
	b := resp3.AppendHeader(nil, resp3.Array, len(list))
	for _, w := range list {
		b = resp3.AppendBulk(b, w)
	}
	return string(b)
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	for _, s := range samples {
		r := s.cmd.request
		if err := r.Err(); err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		got := string(r.Append(nil))
		if want := encode(words(s.wire)); got != want {
			t.Errorf("%s is sent as\n%q, want\n%q", s, got, want)
		}
		if n := r.Size(); n < len(got) {
			t.Errorf("%s: Size is %d, less than the %d bytes sent", s, n, len(got))
		}
	}
}

// A request built from its words knows the same as one built by its function.
func TestUntypedEqualsTyped(t *testing.T) {
	t.Parallel()
	for _, s := range samples {
		if s.function == "" {
			continue
		}
		want := s.cmd.request
		lower := words(s.wire)
		lower[0] = strings.ToLower(lower[0])
		got := untyped(lower).Request()
		if err := got.Err(); err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if string(got.Append(nil)) != string(want.Append(nil)) {
			t.Errorf("%s: untyped it is sent as %q", s, got.Append(nil))
		}
		if got.Spec() != want.Spec() {
			t.Errorf("%s: untyped it has the facts of %s, typed those of %s", s, got.Name(), want.Name())
		}
		if got.Block() != want.Block() {
			t.Errorf("%s: untyped it blocks for %v, typed for %v", s, got.Block(), want.Block())
		}
		if got.Retry() != want.Retry() {
			t.Errorf("%s: untyped its retry class is %d, typed %d", s, got.Retry(), want.Retry())
		}
		if g, w := keysOf(got), keysOf(want); !reflect.DeepEqual(g, w) {
			t.Errorf("%s: untyped its keys are %q, typed %q", s, g, w)
		}
	}
}

func keysOf(r command.Request) []string {
	var keys []string
	for k := range r.Keys() {
		keys = append(keys, k)
	}
	return keys
}

func TestTableInvariants(t *testing.T) {
	t.Parallel()
	sampled := map[string]bool{}
	for _, s := range samples {
		sampled[s.cmd.request.Name()] = true
	}
	last, n := "", 0
	for s := range command.Table() {
		n++
		if s.Name <= last {
			t.Errorf("%s stands after %s", s.Name, last)
		}
		last = s.Name
		if got, ok := command.Lookup(strings.ToLower(s.Name)); !ok || got != s {
			t.Errorf("Lookup does not find %s", s.Name)
		}
		if s.Summary == "" || !strings.HasSuffix(s.Summary, ".") || !unicode.IsUpper(rune(s.Summary[0])) {
			t.Errorf("%s: summary %q", s.Name, s.Summary)
		}
		if _, err := parseShape(s.Reply); err != nil {
			t.Errorf("%s: reply: %v", s.Name, err)
		}
		if !sampled[s.Name] {
			t.Errorf("%s has no sample", s.Name)
		}
		if s.Arity == 0 || s.Since+s.SinceValkey == "" || s.Group == "" {
			t.Errorf("%s: a fact is missing: %+v", s.Name, s)
		}
		checkFlags(t, s)
	}
	if n < 150 {
		t.Errorf("the table has %d commands", n)
	}
	t.Logf("%d commands, %d samples", n, len(samples))
}

// halfAdmin are commands that a server lets everybody send and that must not be
// repeated, or that it keeps for operators and that bind their connection.
var halfAdmin = map[string]bool{
	"SCRIPT FLUSH": true, "SCRIPT KILL": true, "FUNCTION KILL": true, "MEMORY PURGE": true,
	"MONITOR": true, "SYNC": true, "PSYNC": true, "REPLCONF": true,
}

func checkFlags(t *testing.T, s *command.Spec) {
	keyed := s.Keys != command.KeySpec{}
	for _, rule := range []struct {
		broken bool
		why    string
	}{
		{s.Has(command.ReadOnly | command.Write), "reads only and writes"},
		{s.Has(command.Cacheable) && (!keyed || !s.Has(command.ReadOnly) || s.Retry != command.RetryRead || s.Has(command.Blocking)), "is cacheable, but no keyed read"},
		{s.Retry == command.RetryRead && s.Has(command.Write), "writes, but may be repeated at any time"},
		{s.Retry == command.RetryState && !s.Has(command.Write) && s.Name != "SCRIPT LOAD", "does not write, but leaves a state"},
		{s.Has(command.Admin) != (s.Retry == command.RetryAdmin) && !halfAdmin[s.Name], "is for operators in its flags or its retry class only"},
		// The keys that SORT_RO reads by patterns have no places.
		{s.Has(command.Movable) != (s.Keys.NumKeys > 0 || s.Keys.Keyword != "") && s.Name != "SORT_RO", "has keys whose places are said wrong"},
		{keyed && s.Keys.Step < 1, "has keys without a step"},
	} {
		if rule.broken {
			t.Errorf("%s %s", s.Name, rule.why)
		}
	}
}

// Every function of the table has a sample: without one its encoding and its
// reply are unchecked.
func TestEveryFunctionHasASample(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, s := range samples {
		if s.function != "" {
			seen[s.function]++
		}
	}
	for name := range constructors(t) {
		if seen[name] == 0 {
			t.Errorf("%s has no sample", name)
		}
	}
}
