package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// masked returns a text without what differs from run to run.
func masked(text string) string {
	for _, m := range []struct{ pattern, by string }{
		{`\d\d\d\d-\d\d-\d\dT`, ""},
		{`\d\d:\d\d:\d\dZ?`, "TIME"},
		{`\d{16}`, "TOKEN"},
		{`\d+\.\d+ ?s`, "SECONDS"},
		{`(\d+m)?\d+s`, "SECONDS"},
		{`\d+ ms`, "MILLISECONDS"},
		{`(?m) +$`, ""},
	} {
		text = regexp.MustCompile(m.pattern).ReplaceAllString(text, m.by)
	}
	return text
}

// The README shows what redisx inspect prints of these objects.
func TestTheREADMEShowsWhatInspectPrints(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(readme), "```text\nKIND ")
	shown, _, end := strings.Cut("KIND "+shown, "```")
	if !ok || !end {
		t.Fatal("the README shows no table")
	}

	s := serverstest.Start(t)
	c, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = coord.NewElection(c, "cron", coord.Name("node-B")).Campaign(ctx)
	must(err)
	_, err = lease.Acquire(ctx, c, "video:42", lease.Owner("node-A"))
	must(err)
	waiting := make(chan struct{})
	go func() { // ends with the test
		defer close(waiting)
		lease.Acquire(ctx, c, "video:42", lease.Owner("node-B"), lease.Fair())
	}()
	defer func() { cancel(); <-waiting }()
	latch := coord.NewLatch(c, "warm")
	must(latch.Create(ctx, 3))
	_, err = latch.Done(ctx, "node-A")
	must(err)
	_, err = queue.New[string](c, "mail").EnqueueMany(ctx, []string{"a", "b", "c"})
	must(err)
	_, err = limiter.New(c, "100/h", limiter.Namespace("shop")).AllowN(ctx, "api:/users", 40)
	must(err)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if i, err := lease.Inspect(ctx, c, "video:42"); err == nil && i.Waiting == 1 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("nobody waits: %+v, %v", i, err)
		}
	}

	out, err := inspectHere(t, s.URL())
	if err != nil {
		t.Fatal(err)
	}
	if masked(out) != masked(shown) {
		t.Errorf("redisx inspect prints\n%s\nand the README shows\n%s", out, shown)
	}
}
