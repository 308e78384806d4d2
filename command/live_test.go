package command_test

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// fixture is what the server holds before every sample.
var fixture = []string{
	"FLUSHALL", "FUNCTION FLUSH", "SCRIPT FLUSH", "ACL DELUSER probe",
	"CONFIG SET maxmemory-policy noeviction slowlog-log-slower-than 10000",
	"SET text hello", "SET text2 help", "SET num 5", "SET tmp v EX 100",
	"HSET hash name ann age 30", "RPUSH list a b c", "SADD set x y z", "SADD set2 y z w",
	"ZADD zset 1 a 2 b 3 c", "ZADD zset2 20 b 30 c 40 d", "PFADD sketch a b",
	"XADD stream 1-1 k v", "XADD stream 2-1 k w", "XADD stream2 1-1 k v",
	"XGROUP CREATE stream g 0", "XREADGROUP GROUP g c1 STREAMS stream >",
}

// conn is one connection without a client.
type conn struct {
	t  testing.TB
	nc net.Conn
	r  *resp3.Reader
}

func dial(t testing.TB, s *servers.Server, protocol int) *conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	c := &conn{t: t, nc: nc, r: resp3.NewReader(nc, resp3.Limits{})}
	if protocol == 3 {
		c.must("HELLO 3")
	}
	return c
}

func (c *conn) close() { c.nc.Close() }

// do sends words and returns the reply, valid until the next call.
func (c *conn) do(list []string) resp3.View {
	c.t.Helper()
	return c.send([]byte(encode(list)))
}

func (c *conn) send(b []byte) resp3.View {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
	v, err := c.r.Read()
	if err != nil {
		c.t.Fatalf("no reply to %q: %v", b, err)
	}
	return v
}

func (c *conn) must(line string) resp3.View {
	c.t.Helper()
	v := c.do(words(line))
	if err := v.Err(); err != nil {
		c.t.Fatalf("%s: %v", line, err)
	}
	return v
}

func TestTableAgainstServer(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dial(t, s, 3)
	defer c.close()
	version := versionOf(c)
	known := map[string]bool{}
	for spec := range command.Table() {
		info, ok := describe(c, spec)
		if !ok {
			t.Logf("not on this server: %s (since %s)", spec.Name, spec.Since)
			continue
		}
		known[spec.Name] = true
		older(version, spec.Name, &info)
		for _, problem := range differences(spec, info) {
			t.Errorf("%s: %s", spec.Name, problem)
		}
	}
	if len(known) < 150 {
		t.Errorf("the server knows only %d commands of the table", len(known))
	}
	t.Logf("%d commands compared", len(known))
	t.Run("keys", func(t *testing.T) { compareKeys(t, c, known) })
	t.Run("replies", func(t *testing.T) { compareReplies(t, s, known) })
}

// info is what COMMAND INFO says.
type info struct {
	arity             int
	flags, tips       []string
	first, last, step int
}

func describe(c *conn, spec *command.Spec) (info, bool) {
	name := strings.ToLower(strings.ReplaceAll(spec.Name, " ", "|"))
	row := c.do([]string{"COMMAND", "INFO", name}).Value().Elems()[0]
	if row.IsNull() {
		return info{}, false
	}
	num := func(i int) int { n, _ := row.Elems()[i].Int(); return int(n) }
	out := info{arity: num(1), first: num(3), last: num(4), step: num(5)}
	for _, f := range row.Elems()[2].Elems() {
		out.flags = append(out.flags, f.Text())
	}
	if len(row.Elems()) > 7 {
		for _, f := range row.Elems()[7].Elems() {
			out.tips = append(out.tips, f.Text())
		}
	}
	return out, true
}

// versionOf returns the server's version of Redis, major and minor, as 7.0.
func versionOf(c *conn) float64 {
	text, err := command.AsString(c.must("INFO server"))
	_, rest, ok := strings.Cut(text, "redis_version:")
	if err != nil || !ok {
		c.t.Fatalf("no redis_version in INFO: %v", err)
	}
	parts := strings.SplitN(rest, ".", 3)
	v, err := strconv.ParseFloat(strings.Join(parts[:2], "."), 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// older makes up for what servers said before they said what the table says.
// Each entry holds for servers before the version only, so that it cannot hide
// a mistake for long.
func older(version float64, name string, in *info) {
	for _, x := range []struct {
		name   string
		before float64
		fix    func()
	}{
		{"ZRANK", 7.2, func() { in.arity = -in.arity }}, // WITHSCORE came
		{"ZREVRANK", 7.2, func() { in.arity = -in.arity }},
		{"COMMAND GETKEYS", 7.2, func() { in.arity++ }}, // one-word commands were refused
		{"WAIT", 7.2, func() { in.flags = append(in.flags, "blocking") }},
	} {
		if x.name == name && version < x.before {
			x.fix()
		}
	}
}

var sameFlags = map[string]command.Flags{
	"readonly": command.ReadOnly, "write": command.Write, "blocking": command.Blocking, "pubsub": command.PubSub,
	"admin": command.Admin, "no_auth": command.NoAuth, "movablekeys": command.Movable,
}

// differences compares a row with the server's facts.
func differences(spec *command.Spec, in info) (out []string) {
	if in.arity != spec.Arity {
		out = append(out, fmt.Sprintf("arity is %d, in the table %d", in.arity, spec.Arity))
	}
	for name, flag := range sameFlags {
		server, table := slices.Contains(in.flags, name), spec.Has(flag)
		// Scripts may write; the server does not call that a write.
		if flag == command.Write && spec.Has(command.Scripting) && table {
			continue
		}
		if server != table {
			out = append(out, fmt.Sprintf("flag %s is %t, in the table %t", name, server, table))
		}
	}
	if spec.Has(command.Cacheable) && slices.Contains(in.tips, "nondeterministic_output") {
		out = append(out, "it is cacheable, but its reply varies")
	}
	// For keys that depend on the arguments the server names none, or the
	// destination; GETKEYS checks those.
	k := spec.Keys
	want := [3]int{k.First, k.Last, k.Step}
	switch {
	case k.Dest > 0:
		want = [3]int{k.Dest, k.Dest, 1}
	case k.NumKeys > 0, k.Keyword == "STREAMS":
		want = [3]int{}
	}
	if got := [3]int{in.first, in.last, in.step}; got != want {
		out = append(out, fmt.Sprintf("keys (first, last, step) are at %v, in the table %v", got, want))
	}
	return out
}

// compareKeys asks the server for the keys of every sample.
func compareKeys(t *testing.T, c *conn, known map[string]bool) {
	keyed := map[string]bool{}
	for _, s := range samples {
		r := s.cmd.request
		if !known[r.Name()] {
			continue
		}
		want := keysOf(r)
		if len(words(s.wire)) == 1 { // GETKEYS refuses them before 7.2
			if len(want) > 0 {
				t.Errorf("%s: Keys finds %q", s, want)
			}
			continue
		}
		v := c.do(append([]string{"COMMAND", "GETKEYS"}, words(s.wire)...))
		var got []string
		if v.Err() == nil {
			got, _ = command.AsStrings(v)
		} else if !strings.Contains(v.Err().Error(), "no key arguments") {
			t.Errorf("%s: COMMAND GETKEYS: %v", s, v.Err())
			continue
		}
		// Channels decide the slot as keys do, but are none to GETKEYS.
		if r.Spec().Has(command.PubSub) && len(got) == 0 {
			got = want
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the server finds the keys %q, Keys finds %q", s, got, want)
		}
		keyed[r.Name()] = keyed[r.Name()] || len(want) > 0
	}
	for spec := range command.Table() {
		if known[spec.Name] && spec.Keys != (command.KeySpec{}) && !keyed[spec.Name] {
			t.Errorf("%s has keys, but no sample with one", spec.Name)
		}
	}
}

// compareReplies runs every sample over RESP3 and RESP2: the reply must have
// the row's shape, its decoder must take both, and both must mean the same.
func compareReplies(t *testing.T, s *servers.Server, known map[string]bool) {
	admin := dial(t, s, 2)
	defer admin.close()
	n := 0
	for _, x := range samples {
		if !known[x.cmd.request.Name()] {
			t.Logf("not on this server: %s", x)
			continue
		}
		three, err := run(t, admin, s, 3, x)
		if err != nil {
			t.Errorf("%s over RESP3: %v", x, err)
			continue
		}
		n++
		if x.resp3 {
			continue
		}
		two, err := run(t, admin, s, 2, x)
		if err != nil {
			t.Errorf("%s over RESP2: %v", x, err)
			continue
		}
		if x.function != "" && !x.varies && !same(two, three) {
			t.Errorf("%s: over RESP2 it is\n%#v, over RESP3\n%#v", x, two, three)
		}
	}
	t.Logf("%d samples run", n)
}

// same compares decoded values. Untyped ones keep the protocol's kinds, so only
// typed ones can be equal.
func same(a, b any) bool {
	switch a.(type) {
	case resp3.Value, []resp3.Value:
		return true
	}
	return reflect.DeepEqual(a, b)
}

// run puts the fixture up, runs a sample on a connection of its own and returns
// what its decoder makes of the reply.
func run(t *testing.T, admin *conn, s *servers.Server, protocol int, x sample) (any, error) {
	t.Helper()
	for _, line := range fixture {
		admin.must(line)
	}
	c := dial(t, s, protocol)
	defer c.close()
	for _, line := range x.before {
		c.must(line)
	}
	r := x.cmd.request
	v := c.send(r.Append(nil))
	if err := v.Err(); err != nil {
		return nil, err
	}
	if protocol == 3 {
		shape, err := parseShape(x.reply)
		if err != nil {
			return nil, err
		}
		if err := shape.match(v); err != nil {
			return nil, fmt.Errorf("the reply is no %s: %w", x.reply, err)
		}
	}
	got, err := x.cmd.decode(v)
	if err == command.Nil {
		if !strings.Contains(x.reply, "null") && !strings.Contains(x.reply, "[]") && !strings.Contains(x.wire, "absent") {
			return nil, errors.New("the decoder returned Nil where the table knows no null")
		}
		return command.Nil, nil
	}
	return got, err
}
