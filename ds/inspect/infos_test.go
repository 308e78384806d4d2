package inspect_test

import (
	"context"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/ds/inspect"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/resp3"
)

// one returns the report of the only object of that name.
func one(t testing.TB, c command.Doer, name string) inspect.Report {
	t.Helper()
	objects, err := inspect.Lookup(t.Context(), c, name)
	if err != nil || len(objects) != 1 {
		t.Fatalf("%s: %v, %v", name, objects, err)
	}
	r, err := inspect.Explain(t.Context(), c, objects[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A limiter has no Inspect of its own, so what is computed here must be what
// its script computes.
func TestALimiterIsReportedAsItWouldDecide(t *testing.T) {
	c := dstest.Start(t)
	for _, rate := range []string{"100/m", "7/3s burst 50", "1000/s", "1/1h30m", "3/7ms burst 9"} {
		l := limiter.New(c, rate, limiter.Namespace("redisx"))
		for range 4 {
			if _, err := l.Allow(t.Context(), rate); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // so that something drains
			// Both ask the server at moments of its own: the truth at the report
			// is between those of the looks around it.
			before, err := l.Peek(t.Context(), rate)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := inspect.Lookup(t.Context(), c, rate)
			if err != nil {
				continue // full again, and gone
			}
			r, err := inspect.Explain(t.Context(), c, objects[0])
			if err != nil {
				t.Fatal(err)
			}
			after, err := l.Peek(t.Context(), rate)
			if err != nil {
				t.Fatal(err)
			}
			info := r.Info.(inspect.LimiterInfo)
			if info.Burst == 0 {
				continue // gone meanwhile
			}
			if info.Left < int64(before.Remaining) || info.Left > int64(after.Remaining) || info.Full > before.ResetAfter || info.Full < after.ResetAfter ||
				info.Burst != int64(before.Limit) {
				t.Errorf("%s: reported %+v, between %+v and %+v", rate, info, before, after)
			}
		}
	}
}

// durations returns the fields that hold one, by their names in JSON.
func durations(v reflect.Type) []string {
	switch v.Kind() {
	case reflect.Slice, reflect.Pointer, reflect.Map:
		return durations(v.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var names []string
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Type == reflect.TypeFor[time.Duration]() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
		} else if f.Type != reflect.TypeFor[time.Time]() {
			names = append(names, durations(f.Type)...)
		}
	}
	return names
}

func TestDurationsInJSONSayThatTheyAreNanoseconds(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	n := 0
	for id, r := range reports(t, c) {
		for _, name := range slices.Concat(durations(reflect.TypeOf(r)), durations(reflect.TypeOf(r.Info))) {
			if n++; !strings.HasSuffix(name, "_ns") {
				t.Errorf("%s: the field %q is a duration", id, name)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d durations were looked at", n)
	}
}

func TestARuleOfAGroupIsFoundByWhatItCounts(t *testing.T) {
	c := dstest.Start(t)
	for _, a := range []limiter.Algorithm{limiter.GCRA, limiter.TokenBucket, limiter.FixedWindow, limiter.SlidingWindow} {
		// What they count may look like a part of a key.
		for _, counted := range []string{"acme", "a:b", "x:bucket", "rule:y:z", "{a}"} {
			name := string(a) + counted
			g := limiter.NewGroup(c, name, []limiter.Rule{{Name: "tenant", Rate: "4/h", Algorithm: a}})
			for range 4 {
				if _, err := g.Allow(t.Context(), counted); err != nil {
					t.Fatal(err)
				}
			}
			r := one(t, c, name+":rule:tenant:"+counted)
			info, ok := r.Info.(inspect.LimiterInfo)
			if !ok || r.Kind != "rule" || r.Problem != "" || info.Rule != "tenant" || info.Key != counted || info.Algorithm != a ||
				!strings.Contains(r.Says, "rule tenant: refused") || !strings.Contains(r.Says, "next call fits in ") {
				t.Errorf("%s, %q: %+v", a, counted, r)
			}
			all := reports(t, c, inspect.Named(quoteMeta(name)+":rule:*"))
			if len(all) != 1 {
				t.Errorf("%s, %q: the search found %v", a, counted, sortedKeys(all))
			}
		}
	}
	// The name of a group may hold what stands between it and the rule.
	g := limiter.NewGroup(c, "odd:rule:x", []limiter.Rule{{Name: "user", Rate: "4/h"}})
	if _, err := g.Allow(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if r := reports(t, c)["rule redisx odd:rule:x:rule:user:ada"]; !strings.Contains(r.Says, "rule user: 3 of 4 calls left") {
		t.Errorf("it says %q", r.Says)
	}
}

func TestAStateThatNoLimiterWritesIsRefused(t *testing.T) {
	c := dstest.Start(t)
	for _, state := range []string{
		"limiter/1 ", "limiter/1 x", "limiter/1 0 1 1 1 1", "limiter/1 1 0 1 1 1", "limiter/1 1 1 0 1 1", "limiter/1 1 1 1 1 -1",
		"limiter/1 9223372036854775807 1 1 1 1", "limiter/1 1 9223372036854775807 9223372036854775807 1 1", "limiter/1 1 4503599627370496 2 1 1",
		"limiter/1 99999999999999999999 1 1 1 1",
	} {
		dstest.Cmd(t, c, "SET", "{redisx:limiter:x}:bucket", state)
		if r := reports(t, c)["limiter redisx x"]; r.Problem == "" || !strings.Contains(r.Says, "limiter") {
			t.Errorf("%q: says %q", state, r.Says)
		}
	}
}

func TestOneObjectThatIsBrokenDoesNotHideTheOthers(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	dstest.Cmd(t, c, "HSET", "{redisx:lease:broken}:lease", "kind", "lease", "v", "1", "id", "x", "token", "no number")
	all := reports(t, c)
	if r := all["lease redisx broken"]; r.Problem == "" {
		t.Errorf("it says %q", r.Says)
	}
	if len(all) != len(says)+1 {
		t.Errorf("found %v", sortedKeys(all))
	}
}

func TestWhatBecameOfAnOperationIsSaid(t *testing.T) {
	for state, want := range map[string]string{
		"none":     "nothing is known",
		"running":  "run by web-1 since 2026-11-23T12:03:05Z, whose lease lapses in 4.2 s unless renewed",
		"lost":     "begun by web-1 at 2026-11-23T12:03:05Z and never ended",
		"done":     "done by web-1 at 2026-11-23T12:03:06Z, result of 1 byte, forgotten in 24h0m0s",
		"final":    "failed for good by web-1",
		"unstored": "done, but its result was not stored, by web-1",
		"newer":    "newer by web-1",
	} {
		at := time.Date(2026, 11, 23, 12, 3, 5, 0, time.UTC)
		i := inspect.IdemInfo(idem.Info{State: state, Runner: "web-1", Since: at, Settled: at.Add(time.Second), Lease: 4200 * time.Millisecond, Size: 1, Expires: 24 * time.Hour})
		if got := i.Explain(); !strings.Contains(got, want) {
			t.Errorf("%s: says %q, want %q", state, got, want)
		}
	}
}

func TestASemaphoreThatIsFullTellsWhoHoldsItAndWhoIsNext(t *testing.T) {
	c := dstest.Start(t)
	permit, err := semaphore.New(c, "gpu", 8, semaphore.Owner("node-A")).Acquire(t.Context(), 8)
	if err != nil {
		t.Fatal(err)
	}
	defer permit.Release(context.Background())
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer func() { cancel(); waiting.Wait() }()
	for i, owner := range []string{"node-B", "node-C", "node-D"} {
		waiting.Go(func() { semaphore.New(c, "gpu", 8, semaphore.Owner(owner)).Acquire(ctx, 2) })
		dstest.Eventually(t, 10*time.Second, owner+" waits", func() bool {
			info, err := semaphore.Inspect(ctx, c, "gpu")
			return err == nil && info.Waiting == i+1
		})
	}
	all := reports(t, c)
	r := all["semaphore redisx gpu"]
	if want := regexp.MustCompile(`^8 of 8 held: node-A \(8\) since \S+Z; 3 waiting, next is node-B$`); len(all) != 1 || !want.MatchString(r.Says) {
		t.Errorf("found %v, want one that says %s", all, want)
	}
}

func TestATagThatWasInvalidatedSaysThatItsValuesDoNotCount(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	tag := reports(t, c)["tag redisx users"]
	dstest.Cmd(t, c, "PERSIST", "{redisx:aside:users}:tag")
	if r := one(t, c, "users"); !strings.HasSuffix(r.Says, " count, without an end: somebody took its TTL away") {
		t.Errorf("says %q", r.Says)
	}
	if err := aside.InvalidateTag(t.Context(), c, "users"); err != nil {
		t.Fatal(err)
	}
	r, err := inspect.Explain(t.Context(), c, tag.Object)
	if err != nil || r.Says != "no generation: values with the tag do not count" {
		t.Errorf("says %q, %v", r.Says, err)
	}
}

func TestOwnersPrintSafely(t *testing.T) {
	c := dstest.Start(t)
	l, err := lease.Acquire(t.Context(), c, "x", lease.Owner("web-1\x1b[2J\n\xff\u202e"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release(t.Context())
	r := one(t, c, "x")
	doc, err := r.MarshalJSON()
	if err != nil || !printable(r.Says) || !printable(string(doc)) || !strings.Contains(r.Says, `web-1\x1b[2J\n\xff\u202e`) {
		t.Errorf("says %q, and %s, %v", r.Says, doc, err)
	}
	var back inspect.Report
	if err := back.UnmarshalJSON(doc); err != nil || !strings.HasPrefix(back.Info.(lease.Info).Owner, "web-1\x1b[2J\n") {
		t.Errorf("came back as %+v, %v", back, err)
	}
}

func TestAnObjectThatIsGoneIsExplainedAsSuch(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	var objects []inspect.Object
	for o, err := range inspect.Find(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Kind == "value" && o.Name == "profile:1" {
			continue // goes on
		}
		objects = append(objects, o)
	}
	for _, o := range objects {
		for _, k := range o.Keys {
			dstest.Cmd(t, c, "DEL", string(k.Name))
		}
		if r, err := inspect.Explain(t.Context(), c, o); err != nil || r.Says == "" || r.Info == nil {
			t.Errorf("%s %s: %+v, %v", o.Kind, o.Name, r, err)
		}
	}
	if _, err := inspect.Explain(t.Context(), c, inspect.Object{Kind: "leese"}); err == nil {
		t.Error("a kind that does not exist was explained")
	}
}

func TestAReplyOfAnotherFormIsAnErrorOfThatObject(t *testing.T) {
	for _, kind := range inspect.Kinds() {
		if kind == inspect.Unknown || kind == "barrier" { // which takes any word for "none"
			continue
		}
		for _, wire := range []string{"_\r\n", "+OK\r\n", ":1\r\n", "*1\r\n$1\r\nx\r\n", bulks("a", "b"), bulks("a", "b", "c", "d", "e", "f", "g", "h", "i"), "%1\r\n+a\r\n:1\r\n"} {
			d := fakeReply(t, wire)
			if r, err := inspect.Explain(t.Context(), d, inspect.Object{Kind: kind, Name: "x"}); err == nil {
				t.Errorf("%s: of %q it says %q", kind, wire, r.Says)
			}
		}
	}
}

func fakeReply(t testing.TB, wire string) fake {
	return func(context.Context, command.Request) (resp3.Value, error) { return value(t, wire), nil }
}
