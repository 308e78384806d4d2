package inspect_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/ds/inspect"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/resp3"
)

// hostile are names that strangers may have chosen.
var hostile = []string{
	"a\nb", "\x1b[2J\x1b[H", "\x9b2J", "\u009b2J", "tab\there", "\x00", "\x7f", "50%", "%41", "%0A", "{a}", "a}b", "}:redisx:fill:x",
	"\xff\xfe", "caf\xc3", "\u202egnp.exe", "zero\u200bwidth", `"quoted"`, `back\slash`, "*?[x]", " ", "日本語", "é", "\U000e0041",
	":", "a:b:c", "}", "{", strings.Repeat("long", 3000), strings.Repeat("\x1b", 1000),
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == '\ufffd' }) < 0
}

func TestHostileNamesAreFoundExactlyAndPrintSafely(t *testing.T) {
	c := dstest.Start(t)
	l := limiter.New(c, "10/h")
	for _, name := range hostile {
		if _, err := l.Allow(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	found := map[string]bool{}
	shown := map[string]string{}
	for r, err := range inspect.Reports(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
		name := string(r.Name)
		found[name] = true
		if other, ok := shown[r.Name.String()]; ok {
			t.Errorf("%q and %q are shown alike", name, other)
		}
		shown[r.Name.String()] = name
		doc, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !printable(r.Name.String()) || !printable(r.Says) || !printable(string(doc)) || !printable(r.Keys[0].Name.String()) {
			t.Errorf("%q prints as %v, %q and %s", name, r.Name, r.Says, doc)
		}
		var back inspect.Report
		if err := json.Unmarshal(doc, &back); err != nil || back.Name != r.Name || back.Keys[0] != r.Keys[0] {
			t.Errorf("%q came back from JSON as %q, keys %q, %v", name, string(back.Name), back.Keys, err)
		}
		if objects, err := inspect.Lookup(t.Context(), c, name); err != nil || len(objects) != 1 {
			t.Errorf("%q was found by the search, and by its name: %v, %v", name, objects, err)
		}
	}
	for _, name := range hostile {
		if !found[name] {
			t.Errorf("%q was not found", name)
		}
	}
}

func TestValuesWithAnyKeyAreFoundOnceAndByTheirKey(t *testing.T) {
	c := dstest.Start(t)
	for _, key := range []string{"plain", "{tag}:x", "a}b", "x{}y", "\x1b]0;x\a", "{a:lease:b}:lease", "{x}:redisx:fill:y", "{x}:redisx:aside:x", "a:b:c"} {
		if _, err := aside.GetOrCompute(t.Context(), c, key, time.Minute, func(context.Context) (string, error) { return secret, nil }); err != nil {
			t.Fatal(err)
		}
		filling(t, c, key+"?")
		for name, want := range map[string]string{key: "a value of 8 bytes, fresh for another ", key + "?": "no value; computed by "} {
			all := reports(t, c, inspect.Named(quoteMeta(name)))
			r, ok := all["value "+inspect.Text(name).String()]
			if !ok || len(all) != 1 || r.Problem != "" || !strings.HasPrefix(r.Says, want) {
				t.Errorf("%q: found %v", name, all)
			}
			if found := one(t, c, name); found.Kind != "value" || !strings.HasPrefix(found.Says, want) {
				t.Errorf("%q: by its key, found %+v", name, found)
			}
		}
	}
}

func TestWhatNoPrimitiveWritesOfAValueATagOrASemaphoreIsRefused(t *testing.T) {
	for _, tt := range []struct {
		id      string
		command []any
	}{
		{"value x", []any{"HSET", "{x}:redisx:aside:x", "kind", "aside", "v", 1, "absent", 1}},
		{"value x", []any{"HSET", "{x}:redisx:aside:x", "kind", "aside", "v", 1, "absent", 1, "fresh", "no", "expires", 1, "took", 1, "quiet", 0, "version", "a", "tags", ""}},
		{"value x", []any{"HSET", "{x}:redisx:aside:x", "kind", "aside", "v", 1, "absent", 1, "fresh", 1, "expires", 1, "took", -1, "quiet", 0, "version", "a", "tags", ""}},
		{"value x", []any{"HSET", "{x}:redisx:aside:x", "kind", "aside", "v", 1, "absent", 1, "fresh", 1, "expires", 1, "took", 1, "quiet", 0, "version", "a", "tags", "", "spent", -1}},
		{"value x", []any{"HSET", "{x}:redisx:fill:x", "kind", "coalesce.fill/1", "token", "a", "since", "no number"}},
		{"value x", []any{"SET", "{x}:redisx:aside:x", secret}},
		{"value list", []any{"HSET", "{list}:redisx:fill:list", "kind", "coalesce.fill/1", "token", "a", "since", 1}},
		{"tag redisx x", []any{"RPUSH", "{redisx:aside:x}:tag", secret}},
		{"tag redisx x", []any{"HSET", "{redisx:aside:x}:tag", "kind", "aside.tag", "v", 2, "generation", secret}},
		{"semaphore redisx x", []any{"HSET", "{redisx:lease:semaphore:x}:limit", "kind", "semaphore.limit", "v", 1, "limit", -1}},
		{"semaphore redisx x", []any{"HSET", "{redisx:lease:semaphore:x}:limit", "kind", "semaphore.limit", "v", 1, "limit", "no number"}},
		{"semaphore redisx x", []any{"HSET", "{redisx:lease:semaphore:x}:limit", "kind", "semaphore.limit", "v", 9, "limit", 1}},
		{"semaphore redisx x", []any{"HSET", "{redisx:lease:semaphore:x}:lease", "kind", "lease", "v", 1, "id", "readers", "used", -3}},
	} {
		c := dstest.Start(t)
		dstest.Cmd(t, c, "RPUSH", "list", secret)
		dstest.Cmd(t, c, tt.command[0].(string), tt.command[1:]...)
		all := reports(t, c)
		r, ok := all[tt.id]
		doc, err := json.Marshal(r)
		if !ok || len(all) != 1 || r.Problem == "" || r.Info != nil || err != nil || strings.Contains(string(doc), secret) {
			t.Errorf("%v: found %v", tt.command, all)
		}
	}
}

// Only where ds/aside looks for it can something be about a value.
func TestWhatLiesBesideAnotherKeyIsNotOfAValue(t *testing.T) {
	c := dstest.Start(t)
	for _, key := range []string{"{y}:redisx:fill:x", "{y}:redisx:aside:x", "{}:redisx:aside:x", "{1}:redisx:aside:a}b", "x{x}:redisx:aside:x", "{x}:redisx:other:x"} {
		dstest.Cmd(t, c, "HSET", key, "kind", "aside", "v", "1", "token", secret)
	}
	if all := reports(t, c); len(all) != 0 {
		t.Errorf("found %v", all)
	}
}

func quoteMeta(s string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, `\`, `\\`).Replace(s)
}

func TestKeysThatAreNotAsExpectedAreNotGuessed(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	for _, command := range [][]any{
		{"SET", "{redisx:lease:a}:lease", secret},
		{"RPUSH", "{redisx:limiter:b}:bucket", secret},
		{"SET", "{redisx:limiter:c}:bucket", secret},
		{"HSET", "{redisx:idem:d}:record", "x", secret},
		{"HSET", "{redisx:lease:e}:lease", "kind", "lease", "v", "2", "id", secret},
		{"HSET", "{redisx:queue:f}:meta", "kind", "queue", "schema", "9\x1b"},
		{"SET", "{redisx:queue:g}:jobs", secret},
		{"HSET", "{redisx:lease:h}:lease", "kind", "queue", "v", "1"},
		{"HSET", "{x}:redisx:fill:x", "kind", "coalesce.fill/2", "token", secret},
		{"HSET", "{redisx:future:i}:state", "kind", "future\x1b", "v", "3", "x", secret},
		{"HSET", "{redisx:lease:j}:extra", "kind", "lease.extra", "v", "1"},
		{"HSET", "{redisx:lease:k}:lease", "kind", strings.Repeat("x", 1<<20), "v", strings.Repeat("y", 1<<20)},
	} {
		dstest.Cmd(t, c, command[0].(string), command[1:]...)
	}
	all := reports(t, c)
	for id, problem := range map[string]string{
		"lease redisx a":   "{redisx:lease:a}:lease holds a string, not a hash",
		"limiter redisx b": "{redisx:limiter:b}:bucket holds a list, not a string",
		"limiter redisx c": "{redisx:limiter:c}:bucket does not say that it is of kind limiter",
		"idem redisx d":    "{redisx:idem:d}:record does not say that it is of kind idem",
		"lease redisx e":   "{redisx:lease:e}:lease is of schema version 2; this version of redisX knows 1",
		"queue redisx f":   `{redisx:queue:f}:meta is of schema version 9\x1b; this version of redisX knows 1`,
		"queue redisx g":   "{redisx:queue:g}:jobs holds a string, not a stream",
		"lease redisx h":   "{redisx:lease:h}:lease does not say that it is of kind lease",
		"value x":          "{x}:redisx:fill:x is of schema version 2; this version of redisX knows 1",
		"unknown redisx i": `a future\x1b of schema version 3, which this version of redisX does not know`,
		"unknown redisx j": "a lease.extra of schema version 1, which this version of redisX does not know",
		"lease redisx k":   "{redisx:lease:k}:lease does not say that it is of kind lease",
	} {
		r, ok := all[id]
		if !ok || r.Problem != problem || r.Says != problem || r.Info != nil {
			t.Errorf("%s: found %v, problem %q, says %q; want %q", id, ok, r.Problem, r.Says, problem)
		}
		if doc, err := json.Marshal(r); err != nil || strings.Contains(string(doc), secret) || !printable(string(doc)) {
			t.Errorf("%s: %s, %v", id, doc, err)
		}
	}
	if len(all) != 12+len(says) {
		t.Errorf("found %d objects, want 12 with problems and %d without", len(all), len(says))
	}
}

// Anybody may write keys of names that no primitive would take.
func TestAnObjectThatNobodyCanHaveMadeDoesNotHideTheOthers(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	odd := 0
	for _, name := range []string{"", strings.Repeat("long", 3000)} {
		for primitive, main := range map[string]string{
			"lease": "lease", "lease:leader": "lease", "lease:semaphore": "lease", "barrier": "barrier", "latch": "latch",
			"members": "members", "shards": "members", "idem": "record", "coalesce": "fill", "aside": "tag",
		} {
			kind, _, _ := strings.Cut(primitive, ":")
			kind = cmp.Or(map[string]string{"coalesce": "coalesce.fill", "aside": "aside.tag"}[kind], kind)
			dstest.Cmd(t, c, "HSET", "{redisx:"+primitive+":"+name+"}:"+main, "kind", kind, "v", "1")
			odd++
		}
		dstest.Cmd(t, c, "HSET", "{redisx:queue:"+name+"}:meta", "kind", "queue", "schema", "1")
		dstest.Cmd(t, c, "SET", "{redisx:limiter:"+name+"}:bucket", "limiter/1 1 1 1 1 1")
		odd += 2
	}
	all := reports(t, c)
	for id := range says {
		if r, ok := all[id]; !ok || r.Problem != "" {
			t.Errorf("%s: found %v, problem %q", id, ok, r.Problem)
		}
	}
	if len(all) != len(says)+odd {
		t.Errorf("found %d objects, want %d: %v", len(all), len(says)+odd, sortedKeys(all))
	}
}

func TestWhatStrictNotesOfTheServerIsNoObject(t *testing.T) {
	c := dstest.Start(t)
	if _, err := lease.TryAcquire(t.Context(), c, "job", lease.Strict()); !errors.Is(err, lease.ErrUnsettled) {
		t.Fatal(err)
	}
	if n := dstest.Int(t, c, "EXISTS", "{redisx:lease:}:server"); n != 1 {
		t.Error("it notes nothing")
	}
	if all := reports(t, c); len(all) > 1 || len(all) == 1 && all["lease redisx job"].Kind == "" {
		t.Errorf("found %v", all)
	}
}

func TestKeysOfOthersAreLeftAlone(t *testing.T) {
	c := dstest.Start(t)
	for _, key := range []string{"{user:42:cart}:items", "{a:b:c}:d", "{a:b:c}", "{a}:b", "lease", "redisx:lease:x", "{redisx:lease:%zz}:lease", "{redisx:lease:%41}:lease", "}{", "{", "{}:redisx:fill:"} {
		dstest.Cmd(t, c, "SET", key, secret)
	}
	dstest.Cmd(t, c, "HSET", "{user:42:cart}:meta", "kind", "cart")
	dstest.Cmd(t, c, "HSET", "{user:42:cart}:more", "v", "1")
	if all := reports(t, c); len(all) != 0 {
		t.Errorf("found %v", all)
	}
}

// fake is a Doer that answers in Go.
type fake func(ctx context.Context, r command.Request) (resp3.Value, error)

func (f fake) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	v, err := f(ctx, r)
	if err != nil {
		return command.Reply{}, err
	}
	view := v.View()
	return command.NewReply(&view, nil), nil
}

func value(t testing.TB, wire string) resp3.Value {
	t.Helper()
	v, _, err := resp3.Decode([]byte(wire))
	if err != nil {
		t.Fatalf("%q: %v", wire, err)
	}
	return v
}

func bulks(items ...string) string {
	s := fmt.Sprintf("*%d\r\n", len(items))
	for _, i := range items {
		s += fmt.Sprintf("$%d\r\n%s\r\n", len(i), i)
	}
	return s
}

func TestRepliesOfTheWrongFormEndTheSearchWithATypedError(t *testing.T) {
	page := "*2\r\n$1\r\n0\r\n" + bulks(bucket)
	for _, tt := range []struct{ name, scan, describe string }{
		{"a page that is no array", "+OK\r\n", ""},
		{"a page of one", "*1\r\n$1\r\n0\r\n", ""},
		{"a cursor that is no number", "*2\r\n$1\r\nx\r\n*0\r\n", ""},
		{"keys that are no array", "*2\r\n$1\r\n0\r\n:1\r\n", ""},
		{"forms that are no array", page, "+OK\r\n"},
		{"too few forms", page, "*0\r\n"},
		{"too many forms", page, "*2\r\n*0\r\n*0\r\n"},
		{"a form that is no array", page, "*1\r\n:1\r\n"},
		{"a form of two", page, "*1\r\n" + bulks("hash", "1")},
		{"a time that is no number", page, "*1\r\n" + bulks("hash", "x", "lease", "1")},
		{"no type", page, "*1\r\n" + bulks("", "1", "lease", "1")},
		{"null", page, "_\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := fake(func(_ context.Context, r command.Request) (resp3.Value, error) {
				if r.Name() == "SCAN" {
					return value(t, tt.scan), nil
				}
				return value(t, tt.describe), nil
			})
			if found, e := broken(t, t.Context(), d); e == nil || len(found) != 0 || e.Found != 0 {
				t.Errorf("found %v, %v", found, e)
			}
		})
	}
}

func TestAnErrorReplyEndsTheSearch(t *testing.T) {
	want := resp3.ServerError("NOPERM this user has no permissions to run the 'scan' command")
	d := fake(func(context.Context, command.Request) (resp3.Value, error) { return resp3.Value{}, want })
	_, e := broken(t, t.Context(), d)
	if e == nil || !errors.Is(e, want) {
		t.Errorf("the search ended with %v", e)
	}
}
