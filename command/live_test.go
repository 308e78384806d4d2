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
	"RPUSH numbers 3 1 2", "MSET weight_1 30 weight_2 20", "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
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

// unproven are the rows that none of the known servers has: they follow the
// published syntax, and nothing has run them yet.
var unproven = []string{"DELEX", "DIGEST", "XACKDEL", "XDELEX"}

func TestTableAgainstServers(t *testing.T) {
	t.Parallel()
	met, asked := map[string]bool{}, 0
	defer func() {
		var unmet []string
		for spec := range command.Table() {
			if !met[spec.Name] {
				unmet = append(unmet, spec.Name)
			}
		}
		t.Logf("%d servers asked; on none of them: %s", asked, strings.Join(unmet, ", "))
		if asked == len(servers.Known()) && !slices.Equal(unmet, unproven) {
			t.Errorf("rows that no server has: %q, known as such: %q", unmet, unproven)
		}
	}()
	serverstest.Each(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		c := dial(t, s, 3)
		defer c.close()
		v := versionOf(c)
		asked++
		known := map[string]bool{}
		var absent []string
		for spec := range command.Table() {
			info, ok := describe(c, spec)
			if want := v.has(spec.Since, spec.SinceValkey); ok != want {
				t.Errorf("%s: the server has it: %t, by the table's versions (%q, Valkey %q): %t", spec.Name, ok, spec.Since, spec.SinceValkey, want)
			}
			if !ok {
				absent = append(absent, spec.Name)
				continue
			}
			known[spec.Name], met[spec.Name] = true, true
			older(v, spec.Name, &info)
			for _, problem := range differences(spec, info) {
				t.Errorf("%s: %s", spec.Name, problem)
			}
		}
		if len(known) < 300 {
			t.Errorf("the server knows only %d commands of the table", len(known))
		}
		t.Logf("%v: %d commands compared, not on this server: %s", v, len(known), strings.Join(absent, ", "))
		t.Run("keys", func(t *testing.T) { compareKeys(t, c, v, known) })
		t.Run("replies", func(t *testing.T) { compareReplies(t, s, v, known) })
	})
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

// version is what a server says it is: a version of Redis, for Valkey that of
// the Redis it is compatible with, and its own.
type version struct{ redis, valkey string }

func versionOf(c *conn) version {
	text, err := command.AsString(c.must("INFO server"))
	if err != nil {
		c.t.Fatal(err)
	}
	field := func(name string) string {
		_, rest, _ := strings.Cut(text, name+":")
		line, _, _ := strings.Cut(rest, "\r\n")
		return line
	}
	v := version{field("redis_version"), field("valkey_version")}
	if v.redis == "" {
		c.t.Fatalf("no redis_version in INFO:\n%s", text)
	}
	return v
}

// has reports whether the server has what came with a version of Redis and one
// of Valkey; "" is never.
func (v version) has(since, sinceValkey string) bool {
	if v.valkey != "" {
		return sinceValkey != "" && !before(v.valkey, sinceValkey)
	}
	return since != "" && !before(v.redis, since)
}

// lacks reports whether the server has the sample's command, but not its option.
func (v version) lacks(x sample) bool {
	return x.since+x.sinceValkey != "" && !v.has(x.since, x.sinceValkey)
}

// before compares versions, number by number.
func before(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return m < n
		}
	}
	return false
}

// older makes up for what servers said before they said what the table says,
// or say since.
// Each entry holds for servers before the version only, so that it cannot hide
// a mistake for long.
func older(v version, name string, in *info) {
	for _, x := range []struct {
		name   string
		before string
		fix    func()
	}{
		{"ZRANK", "7.2.0", func() { in.arity = -in.arity }}, // WITHSCORE came
		{"ZREVRANK", "7.2.0", func() { in.arity = -in.arity }},
		{"COMMAND GETKEYS", "7.2.0", func() { in.arity++ }}, // one-word commands were refused
		{"COMMAND GETKEYSANDFLAGS", "7.2.0", func() { in.arity++ }},
		{"WAIT", "7.2.0", func() { in.flags = append(in.flags, "blocking") }},
	} {
		if x.name == name && before(v.redis, x.before) {
			x.fix()
		}
	}
	if name == "SCRIPT DEBUG" && v.has("", "9.1.0") { // it names the engine, if it likes
		in.arity = -in.arity
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
func compareKeys(t *testing.T, c *conn, v version, known map[string]bool) {
	keyed := map[string]bool{}
	for _, s := range samples {
		r := s.cmd.request
		if !known[r.Name()] || v.lacks(s) {
			continue
		}
		want := keysOf(r)
		if len(words(s.wire)) == 1 { // GETKEYS refuses them before 7.2
			if len(want) > 0 {
				t.Errorf("%s: Keys finds %q", s, want)
			}
			continue
		}
		reply := c.do(append([]string{"COMMAND", "GETKEYS"}, words(s.wire)...))
		var got []string
		if reply.Err() == nil {
			got, _ = command.AsStrings(reply)
		} else if !strings.Contains(reply.Err().Error(), "no key arguments") {
			t.Errorf("%s: COMMAND GETKEYS: %v", s, reply.Err())
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
func compareReplies(t *testing.T, s *servers.Server, v version, known map[string]bool) {
	admin := dial(t, s, 2)
	defer admin.close()
	n := 0
	for _, x := range samples {
		if !known[x.cmd.request.Name()] {
			continue // named among those that are not on this server
		}
		if v.lacks(x) {
			t.Logf("the server lacks the option: %s", x)
			continue
		}
		if x.unrun {
			t.Logf("not to be run: %s", x)
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
		sortUnordered(x, two)
		sortUnordered(x, three)
		if x.function != "" && !x.varies && !same(two, three) {
			t.Errorf("%s: over RESP2 it is\n%#v, over RESP3\n%#v", x, two, three)
		}
	}
	t.Logf("%d samples run", n)
}

// sortUnordered sorts what the server is free to give in any order.
func sortUnordered(x sample, v any) {
	switch v := v.(type) {
	case command.ScanResult:
		slices.Sort(v.Keys)
	case []string:
		if strings.HasPrefix(x.reply, "set<") || x.command == "KEYS" {
			slices.Sort(v)
		}
	}
}

// same compares decoded values. Untyped ones keep the protocol's kinds, so only
// typed ones can be equal.
func same(a, b any) bool {
	switch a.(type) {
	case resp3.Value, []resp3.Value, map[string]resp3.Value:
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
