package inspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/ds/inspect"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// secret is what users store; it must never show.
const secret = "s3cr3t"

// leave makes objects of every kind, by the primitives themselves. What it
// keeps alive ends with the test.
func leave(t *testing.T, c *redisx.Client) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	held, err := lease.Acquire(ctx, c, "video:42", lease.Owner("node-A"), lease.TTL(time.Minute))
	must(err)
	t.Cleanup(func() { held.Release(context.Background()) })
	free, err := lease.Acquire(ctx, c, "video:43", lease.Namespace("app"))
	must(err)
	must(free.Release(ctx))

	permit, err := semaphore.New(c, "gpu", 8, semaphore.Owner("node-E")).Acquire(ctx, 3)
	must(err)
	t.Cleanup(func() { permit.Release(context.Background()) })
	must(semaphore.New(c, "post", 4).SetLimit(ctx, 2))

	elected, err := coord.NewElection(c, "cron", coord.Name("node-B")).Campaign(ctx)
	must(err)
	t.Cleanup(func() { elected.Resign(context.Background()) })
	arriving(t, c, "phase", "node-C")
	member, err := coord.Join(ctx, c, "workers", coord.Name("web-1"), coord.Meta("10.0.0.7:8080"))
	must(err)
	t.Cleanup(func() { member.Leave(context.Background()) })
	sharing(t, c, "feeds", "web-2")
	latch := coord.NewLatch(c, "warm")
	must(latch.Create(ctx, 3))
	_, err = latch.Done(ctx, "node-D")
	must(err)

	q := queue.New[string](c, "mail")
	for range 3 {
		_, err := q.Enqueue(ctx, secret)
		must(err)
	}
	_, err = limiter.New(c, "100/h", limiter.Burst(10)).AllowN(ctx, "api:/users", 4)
	must(err)
	_, err = limiter.New(c, "15/h", limiter.Using(limiter.SlidingWindow)).AllowN(ctx, "tenant:acme", 5)
	must(err)
	api := limiter.NewGroup(c, "api", []limiter.Rule{{Name: "user", Rate: "1000/h"}, {Name: "tenant", Rate: "15/h"}})
	for range 15 {
		_, err = api.Allow(ctx, "ada", "acme")
		must(err)
	}
	_, err = idem.Run(ctx, c, "pay:7", func(context.Context) (string, error) { return secret, nil })
	must(err)
	_, err = coalesce.Do(ctx, c, "report", func(context.Context) (string, error) { return secret, nil }, coalesce.Keep(time.Minute))
	must(err)
	_, err = aside.GetOrCompute(ctx, c, "page:42", time.Minute, func(context.Context) (string, error) { return secret, nil }, aside.Tags("users"))
	must(err)
	filling(t, c, "profile:1")
}

// arriving has a party wait at a barrier of two until the test ends.
func arriving(t *testing.T, c *redisx.Client, name, party string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with the test
		defer close(done)
		coord.NewBarrier(c, name, 2, coord.Name(party)).Await(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	dstest.Eventually(t, 10*time.Second, "the party has arrived", func() bool {
		info, err := coord.InspectBarrier(ctx, c, name)
		return err == nil && len(info.Arrived) == 1
	})
}

// sharing has one process run the two shards of that name until the test ends.
func sharing(t *testing.T, c *redisx.Client, name, owner string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with the test
		defer close(done)
		coord.RunShards(ctx, c, name, 2, func(ctx context.Context, _ *coord.Shard) error {
			<-ctx.Done()
			return nil
		}, coord.Name(owner))
	}()
	t.Cleanup(func() { cancel(); <-done })
	dstest.Eventually(t, 10*time.Second, "both shards run", func() bool {
		info, err := coord.InspectShards(ctx, c, name)
		return err == nil && len(info.Shards) == 2 && info.Shards[0].Owner == owner && info.Shards[1].Owner == owner
	})
}

// filling has the value of key computed until the test ends.
func filling(t *testing.T, c *redisx.Client, key string) {
	began, end := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() { // ends with the test
		_, err := aside.GetOrCompute(context.Background(), c, key, time.Minute, func(context.Context) (string, error) {
			close(began)
			<-end
			return secret, nil
		})
		done <- err
	}()
	<-began
	t.Cleanup(func() {
		close(end)
		if err := <-done; err != nil {
			t.Errorf("fill: %v", err)
		}
	})
}

// says are what reports must say of what leave makes.
var says = map[string]string{
	"members redisx workers":           `web-1`,
	"shards redisx feeds":              `web-2 has 2`,
	"lease redisx shard:feeds/0":       `^held by web-2 `,
	"lease redisx shard:feeds/1":       `^held by web-2 `,
	"leader redisx cron":               `led by node-B since \S+, term \d{16}`,
	"semaphore redisx gpu":             `^3 of 8 held: node-E \(3\) since \S+Z$`,
	"semaphore redisx post":            `^0 of 2 held; the limit is kept on the server$`,
	"latch redisx warm":                `2 more|1 of 3`,
	"barrier redisx phase":             `generation 1 .*1 more of 2.*node-C`,
	"lease redisx video:42":            `^held by node-A since \S+Z, token \d{16}, renewed \d\.\d s ago, lapses in \S+ s unless renewed$`,
	"lease app video:43":               `^free, last token \d{16}$`,
	"queue redisx mail":                `^3 waiting, 0 running, 0 delayed, 0 dead; 0 consumers$`,
	"limiter redisx api:/users":        `^6 of 10 calls left, full again in 2m[0-2]\ds; 1 each 36s$`,
	"limiter redisx tenant:acme":       `^10 of 15 calls left, full again in (1h0m0s|59m\d+s); 15 each 1h0m0s by sliding window$`,
	"rule redisx api:rule:tenant:acme": `^rule tenant: refused: 1 each 4m0s, next call fits in (4m0s|3m\d+s)$`,
	"rule redisx api:rule:user:ada":    `^rule user: `,
	"idem redisx pay:7":                `^done by \S+ at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, result of \d+ bytes, forgotten in (24h0m0s|23h59m\d+s)$`,
	"coalesce redisx report":           `^a value of 8 bytes is stored for (1m0s|\d+\.\d s)$`,
	"value page:42":                    `^a value of 8 bytes, fresh for another \S+s, computed in \S+s, \S+s ago$`,
	"value profile:1":                  `^no value; computed by \S+ since \d\d:\d\d:\d\d, which lapses in \S+s unless renewed$`,
	"tag redisx users":                 `^values of the generation \S+ count; it is kept for another \d+m\d+s$`,
}

func TestEveryObjectIsFoundOnceAndExplained(t *testing.T) {
	serverstest.Each(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		leave(t, c)
		dstest.Cmd(t, c, "EVAL", "for i = 1, 2000 do redis.call('SET', 'user:' .. i, 'x') end", 0)
		all := reports(t, c)
		for id, want := range says {
			r, ok := all[id]
			switch {
			case !ok:
				t.Errorf("%s was not found", id)
			case r.Problem != "" || !regexp.MustCompile(want).MatchString(r.Says):
				t.Errorf("%s: says %q (problem %q), want %s", id, r.Says, r.Problem, want)
			case len(r.Keys) == 0 || r.Info == nil:
				t.Errorf("%s: keys %v, info %v", id, r.Keys, r.Info)
			}
			if doc, err := json.Marshal(r); err != nil || strings.Contains(string(doc), secret) {
				t.Errorf("%s: %s, %v", id, doc, err)
			}
		}
		if len(all) != len(says) {
			t.Errorf("found %d objects, want %d: %v", len(all), len(says), all)
		}
	})
}

func TestAReportIsTheSameAfterJSON(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	for id, r := range reports(t, c) {
		doc, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back inspect.Report
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		again, err := json.Marshal(back)
		if err != nil || string(again) != string(doc) {
			t.Errorf("%s came back as\n%s, %v\nand was\n%s", id, again, err, doc)
		}
		if reflect.TypeOf(back.Info) != reflect.TypeOf(r.Info) {
			t.Errorf("%s: the info came back as %T, and was %T", id, back.Info, r.Info)
		}
	}
}

func TestOptionsNarrowTheSearch(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	for _, tt := range []struct {
		name string
		opts []inspect.Option
		want string
	}{
		{"a kind", []inspect.Option{inspect.OfKind("queue")}, "queue redisx mail"},
		{"two kinds", []inspect.Option{inspect.OfKind("idem", "limiter", "idem")}, "idem redisx pay:7,limiter redisx api:/users,limiter redisx tenant:acme"},
		{"values", []inspect.Option{inspect.OfKind("value")}, "value page:42,value profile:1"},
		{"tags", []inspect.Option{inspect.OfKind("tag")}, "tag redisx users"},
		{"semaphores", []inspect.Option{inspect.OfKind("semaphore")}, "semaphore redisx gpu,semaphore redisx post"},
		{"a namespace", []inspect.Option{inspect.InNamespace("app")}, "lease app video:43"},
		{"a namespace that nobody uses", []inspect.Option{inspect.InNamespace("ap")}, ""},
		{"a kind in a namespace", []inspect.Option{inspect.OfKind("queue"), inspect.InNamespace("app")}, ""},
		{"a pattern", []inspect.Option{inspect.Named("video:*")}, "lease app video:43,lease redisx video:42"},
		{"a name", []inspect.Option{inspect.Named("video:43")}, "lease app video:43"},
		{"only unknown", []inspect.Option{inspect.OfKind(inspect.Unknown)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(sortedKeys(reports(t, c, tt.opts...)), ","); got != tt.want {
				t.Errorf("found %s, want %s", got, tt.want)
			}
		})
	}
}

func TestLookupAsksForANameWithoutASearch(t *testing.T) {
	c := dstest.Start(t)
	leave(t, c)
	scans := func() int64 {
		stats := dstest.Cmd(t, c, "INFO", "commandstats").Text()
		if strings.Contains(stats, "cmdstat_scan:") {
			return 1
		}
		return 0
	}
	for _, tt := range []struct {
		name string
		opts []inspect.Option
		want string
	}{
		{"video:42", nil, "lease"},
		{"mail", nil, "queue"},
		{"profile:1", nil, "value"},
		{"page:42", nil, "value"},
		{"users", nil, "tag"},
		{"gpu", nil, "semaphore"},
		{"video:43", []inspect.Option{inspect.InNamespace("app")}, "lease"},
		{"video:43", nil, ""},
		{"mail", []inspect.Option{inspect.OfKind("lease")}, ""},
		{"none", nil, ""},
	} {
		objects, err := inspect.Lookup(t.Context(), c, tt.name, tt.opts...)
		var missing *inspect.NotFoundError
		switch {
		case tt.want == "":
			if !errors.As(err, &missing) || string(missing.Name) != tt.name {
				t.Errorf("%s: found %v, %v", tt.name, objects, err)
			}
		case err != nil || len(objects) != 1 || objects[0].Kind != tt.want:
			t.Errorf("%s: found %v, %v; want one of kind %s", tt.name, objects, err, tt.want)
		default:
			r, err := inspect.Explain(t.Context(), c, objects[0])
			if err != nil || r.Says == "" || r.Info == nil {
				t.Errorf("%s: %+v, %v", tt.name, r, err)
			}
		}
	}
	if scans() != 0 {
		t.Error("a lookup has searched")
	}
	// Of the same name in several kinds, all are found.
	if _, err := queue.New[string](c, "video:42").Enqueue(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if objects, err := inspect.Lookup(t.Context(), c, "video:42"); err != nil || len(objects) != 2 {
		t.Errorf("found %v, %v; want a lease and a queue", objects, err)
	}
}

// The user below may run scripts, and nothing that writes, in scripts either.
func TestInspectionOnlyReads(t *testing.T) {
	s := serverstest.Start(t)
	leave(t, dstest.Connect(t, s))
	admin := dstest.Connect(t, s)
	dstest.Cmd(t, admin, "ACL", "SETUSER", "viewer", "on", ">pw", "~*", "-@all", "+@read", "+@connection", "+time", "+eval", "+evalsha", "+eval_ro", "+evalsha_ro", "-@dangerous")
	viewer, err := redisx.Connect(t.Context(), "redis://viewer:pw@"+s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer viewer.Close()
	if _, err := viewer.Cmd(t.Context(), "EVAL", "return redis.call('SET', KEYS[1], 'x')", 1, "k"); err == nil {
		t.Fatal("the user may write")
	}
	for id, r := range reports(t, viewer) {
		if r.Problem != "" {
			t.Errorf("%s: %s", id, r.Problem)
		}
	}
}
