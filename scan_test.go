package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// connected returns a client of a server of its own.
func connected(t *testing.T, f servers.Flavor) *redisx.Client {
	t.Helper()
	client, err := redisx.Connect(t.Context(), serverstest.Start(t, servers.Options{Flavor: f}).URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// Keys that are there throughout are found, whatever comes and goes, and
// however often the server's table is rebuilt meanwhile.
func TestAScanFindsEveryKeyThatStays(t *testing.T) {
	t.Parallel()
	client := connected(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	const stay = 3000
	p := client.Pipeline()
	for i := range stay {
		p.Set("stay:"+strconv.Itoa(i), "x")
		p.HSet("hash", redisx.KV(strconv.Itoa(i), strconv.Itoa(i)))
		p.ZAdd("zset", []redisx.Z{{Score: float64(i), Member: strconv.Itoa(i)}})
		p.SAdd("set", "m"+strconv.Itoa(i))
	}
	if err := p.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	churn, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; churn.Err() == nil; n++ { // grows and shrinks the table
			p := client.Pipeline()
			for i := range 5000 {
				if n%2 == 0 {
					p.Set(fmt.Sprint("come:", i), "x")
				} else {
					p.Del(fmt.Sprint("come:", i))
				}
			}
			p.Exec(churn)
		}
	})
	found := map[string]bool{}
	steps := 0
	for key, err := range client.ScanAll(ctx, redisx.MATCH("stay:*"), redisx.COUNT(20)) {
		if err != nil {
			t.Fatal(err)
		}
		found[key] = true
		steps++
	}
	stop()
	wg.Wait()
	if len(found) != stay {
		t.Errorf("found %d of %d keys, in %d pairs", len(found), stay, steps)
	}

	n := 0
	for f, err := range client.HScanAll(ctx, "hash", redisx.COUNT(100)) {
		if err != nil || f.Key != f.Value {
			t.Fatalf("field %q has %q, %v", f.Key, f.Value, err)
		}
		n++
	}
	for z, err := range client.ZScanAll(ctx, "zset", redisx.COUNT(100)) {
		if err != nil || strconv.FormatFloat(z.Score, 'g', -1, 64) != z.Member {
			t.Fatalf("member %q has %v, %v", z.Member, z.Score, err)
		}
		n++
	}
	for m, err := range client.SScanAll(ctx, "set", redisx.MATCH("m*")) {
		if err != nil || m[0] != 'm' {
			t.Fatalf("member %q, %v", m, err)
		}
		n++
	}
	if n < 3*stay {
		t.Errorf("found %d elements of %d", n, 3*stay)
	}
}

// A server that never ends a scan keeps nobody beyond his deadline, and nothing
// of what it sent before.
func TestAScanOfAHostileServerEndsWithItsContext(t *testing.T) {
	s := newFakeServer(t)
	client, err := redisx.ConnectConfig(context.Background(), hostileConfig(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s.play("SCAN", steps(func() int { return 7 }))
	_, err = first(client.ScanAll(t.Context()), 3)
	if !errors.Is(err, command.ErrScanStuck) {
		t.Errorf("the same cursor again: %v", err)
	}
	s.drop() // the connection that scans for ever
	cursor := 0
	s.play("SCAN", steps(func() int { cursor++; return cursor }))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	found, err := first(client.ScanAll(ctx), math.MaxInt)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second || len(found) < 10 {
		t.Errorf("after %v and %d keys: %v", time.Since(began), len(found), err)
	}
	s.play("", nil)
	s.drop()
	stillGood(t, client)
}

// steps answers every step of a scan with one key and the next cursor.
func steps(cursor func() int) func(*wire) {
	return func(w *wire) {
		buf := make([]byte, 512)
		for {
			b := resp3.AppendHeader(nil, resp3.Array, 2)
			b = resp3.AppendBulk(b, strconv.Itoa(cursor()))
			b = resp3.AppendBulk(resp3.AppendHeader(b, resp3.Array, 1), "k")
			if !w.put(string(b)) {
				return
			}
			if _, w.err = w.Read(buf); w.err != nil {
				return
			}
		}
	}
}

// first returns the first n elements of a walk, or what ended it before.
func first(walk func(func(string, error) bool), n int) (all []string, err error) {
	for x, err := range walk {
		if err != nil || len(all) == n {
			return all, err
		}
		all = append(all, x)
	}
	return all, nil
}

func TestStructsGoThroughHashes(t *testing.T) {
	t.Parallel()
	type user struct {
		Name string    `redis:"name"`
		Age  int       `redis:"age"`
		Born time.Time `redis:"born"`
	}
	ann := user{"ann", 30, time.Date(1990, 1, 2, 0, 0, 0, 0, time.UTC)}
	for _, resp2 := range []bool{false, true} {
		url := serverstest.Start(t).URL()
		cfg, err := redisx.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		cfg.RESP2 = resp2
		client, err := redisx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		fields, err := command.Fields(ann)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := client.HSet(t.Context(), "user:1", fields...); err != nil || n != 3 {
			t.Fatal(n, err)
		}
		if got, err := redisx.HGetAllAs[user](t.Context(), client, "user:1"); err != nil || got != ann {
			t.Errorf("RESP2 %t: %+v, %v, want %+v", resp2, got, err, ann)
		}
		p := client.Pipeline()
		got := redisx.Queue(p, command.HGetAllAs[user]("user:1"))
		none := redisx.Queue(p, command.HGetAllAs[user]("user:2"))
		p.Exec(t.Context())
		if u, err := got.Result(); err != nil || u != ann {
			t.Errorf("in a pipeline: %+v, %v", u, err)
		}
		if u, err := none.Result(); err != redisx.Nil {
			t.Errorf("no hash: %+v, %v, want Nil", u, err)
		}
		client.HSet(t.Context(), "user:1", redisx.KV("age", "old"))
		_, err = redisx.HGetAllAs[user](t.Context(), client, "user:1")
		var f *command.FieldError
		if !errors.As(err, &f) || f.Name != "Age" {
			t.Errorf("a value that does not fit: %v", err)
		}
		buf := make([]byte, 0, 16)
		client.Set(t.Context(), "text", "hello")
		if b, err := client.GetInto(t.Context(), "text", buf); err != nil || string(b) != "hello" || &b[0] != &buf[:1][0] {
			t.Errorf("GetInto: %q, %v", b, err)
		}
	}
}
