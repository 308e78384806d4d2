package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

func raw(name string, args ...any) command.Request { return command.Untyped(name, args...).Request() }

func TestDoRunsAllAndReturnsTheReplies(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job")
	defer release(t, l)
	binary := "a\x00\r\n\xff"
	got, err := l.Do(t.Context(),
		raw("SET", "k", binary), raw("GET", "k"), raw("GET", "none"), raw("INCR", "n"),
		raw("HSET", "h", "f", "v"), raw("HGETALL", "h"), raw("MGET", "k", "none", "n"),
		raw("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"), raw("GET", "none"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 9 {
		t.Fatalf("%d replies, want 9", len(got))
	}
	text := func(v resp3.Value) string {
		if v.IsNull() {
			return "null"
		}
		return v.Text()
	}
	var flat []string
	for _, v := range got {
		if v.Kind().IsAggregate() {
			for _, e := range v.Elems() {
				flat = append(flat, text(e))
			}
			continue
		}
		flat = append(flat, text(v))
	}
	want := []string{"OK", binary, "null", "1", "1", "f", "v", binary, "null", "1", "OK", "null"}
	if strings.Join(flat, "|") != strings.Join(want, "|") {
		t.Errorf("replies %q, want %q", flat, want)
	}
	if got, err := l.Do(t.Context()); got != nil || err != nil {
		t.Errorf("Do of nothing: %v, %v", got, err)
	}
}

func TestDoStopsAtTheFirstError(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job")
	defer release(t, l)
	got, err := l.Do(t.Context(), raw("SET", "k", "v"), raw("INCR", "n"), raw("INCR", "k"), raw("SET", "after", "1"))
	if len(got) != 2 || err == nil || !strings.Contains(err.Error(), "command 2") || !strings.Contains(err.Error(), "INCR") {
		t.Errorf("Do: %v, %v; want two replies and the error of the third", got, err)
	}
	if command.SafeToRetry(err) {
		t.Error("the error calls a repeat safe, though two commands have run")
	}
	if dstest.Int(t, c, "EXISTS", "k", "n") != 2 || dstest.Int(t, c, "EXISTS", "after") != 0 {
		t.Error("want what was before the error written, and what was after it not")
	}
}

func TestDoIsRefusedWhenTheLeaseIsNotOurs(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	key, _ := lease.Keys("job")
	for _, tt := range []struct {
		name   string
		lose   func(l *lease.Lease)
		holder string
	}{
		{"released", func(l *lease.Lease) { release(t, l) }, ""},
		{"deleted", func(*lease.Lease) { dstest.Cmd(t, c, "DEL", key) }, ""},
		{"flushed", func(*lease.Lease) { dstest.Cmd(t, c, "FLUSHALL") }, ""},
		{"granted to another", func(*lease.Lease) {
			dstest.Cmd(t, c, "DEL", key)
			b := acquire(t, c, "job", lease.Owner("b"))
			t.Cleanup(func() { _ = b.Release(context.Background()) })
		}, "b"},
	} {
		l := acquire(t, c, "job")
		tt.lose(l)
		got, err := l.Do(t.Context(), raw("SET", "k", "v"), raw("GET", "k"))
		var fenced *lease.FencedError
		if got != nil || !errors.As(err, &fenced) || !errors.Is(err, lease.ErrFenced) || fenced.Holder != tt.holder || fenced.Token != l.Token() {
			t.Errorf("%s: Do: %v, %v", tt.name, got, err)
		} else if (tt.holder != "") != (fenced.HolderToken > l.Token()) {
			t.Errorf("%s: the holder's token is %d, ours %d", tt.name, fenced.HolderToken, l.Token())
		}
		if dstest.Int(t, c, "EXISTS", "k") != 0 {
			t.Errorf("%s: the refused write was made", tt.name)
		}
		if l.Context().Err() == nil || !errors.Is(context.Cause(l.Context()), lease.ErrLost) {
			t.Errorf("%s: the refusal did not end the context", tt.name)
		}
	}
}

func TestDoRefusesWhatCannotBeFenced(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job")
	defer release(t, l)
	for _, r := range []command.Request{
		{},
		raw("BLPOP", "q", 0),
		raw("EVAL", "return 1", 0),
		raw("SUBSCRIBE", "c"),
		raw("RPUSH", append([]any{"q"}, make([]any, 0)...)...),
	} {
		if _, err := l.Do(t.Context(), raw("SET", "k", "v"), r); err == nil {
			t.Errorf("%s was accepted", r.Name())
		}
	}
	many := []any{"q"}
	for range 5000 {
		many = append(many, "x")
	}
	if _, err := l.Do(t.Context(), raw("RPUSH", many...)); err == nil || !strings.Contains(err.Error(), "5001") {
		t.Errorf("a command of 5001 words: %v", err)
	}
	if _, err := l.Do(t.Context(), raw("RPUSH", many[:4000]...)); err != nil {
		t.Errorf("a command of 4000 words: %v", err)
	}
	if err := context.Cause(l.Context()); err != nil {
		t.Errorf("a refused command ended the lease: %v", err)
	}
}

// TestDoDeclaresItsKeys runs on a node of a cluster, which refuses scripts that
// use keys of several slots or of slots that are not its own.
func TestDoDeclaresItsKeys(t *testing.T) {
	t.Parallel()
	c := dstest.Connect(t, serverstest.Start(t, servers.Options{Args: []string{"--cluster-enabled", "yes"}}))
	dstest.Cmd(t, c, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	dstest.Eventually(t, 5e9, "the cluster is up", func() bool {
		return strings.Contains(dstest.Cmd(t, c, "CLUSTER", "INFO").Text(), "cluster_state:ok")
	})
	l := acquire(t, c, "job")
	defer release(t, l)
	if _, err := l.Do(t.Context(), raw("SET", "{redisx:lease:job}:a", "1"), raw("MSET", "{redisx:lease:job}:b", "1", "{redisx:lease:job}:c", "1")); err != nil {
		t.Errorf("keys in the lease's slot: %v", err)
	}
	if _, err := l.Do(t.Context(), raw("SET", "elsewhere", "1")); !command.IsCode(err, "CROSSSLOT") {
		t.Errorf("a key of another slot: %v, want CROSSSLOT", err)
	}
}
