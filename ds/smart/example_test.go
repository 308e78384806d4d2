package smart_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// The examples have no "Output:" comment, because go test would then run them
// without a way to give them a server, or to pass over them where there is
// none. TestExamples runs them and knows what they print.

// url is where the examples connect to.
var url = "redis://127.0.0.1:6379"

func ExampleWaitFor() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	time.AfterFunc(50*time.Millisecond, func() { client.Set(ctx, "job:42:status", "done") })

	r, err := smart.WaitFor(ctx, client,
		smart.Key("job:42:status", func(v string, ok bool) bool { return v == "done" || v == "failed" }),
		smart.Budget(15*time.Second))
	fmt.Println(r.Value, err)
	// Prints: done <nil>
}

func ExampleBudget() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	if err := client.Set(ctx, "job:43:status", "running"); err != nil {
		log.Fatal(err)
	}
	r, err := smart.WaitFor(ctx, client,
		smart.Key("job:43:status", func(v string, ok bool) bool { return v == "done" }),
		smart.Budget(100*time.Millisecond))
	fmt.Println(errors.Is(err, smart.ErrBudget), r.Value)
	// Prints: true running
}

func ExampleAnyOf() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	if _, err := client.RPush(ctx, "inbox", "a", "b", "c"); err != nil {
		log.Fatal(err)
	}
	// A full inbox, or the order to stop.
	r, err := smart.WaitFor(ctx, client, smart.AnyOf(smart.Exists("stop"), smart.ListLen("inbox", 3)))
	fmt.Println(r.Index, r.Key, r.Len, err)
	// Prints: 1 inbox 3 <nil>
}

func ExampleAllOf() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	time.AfterFunc(20*time.Millisecond, func() { client.Set(ctx, "ready:api", "1") })
	time.AfterFunc(40*time.Millisecond, func() { client.Set(ctx, "ready:db", "1") })

	r, err := smart.WaitFor(ctx, client, smart.AllOf(smart.Exists("ready:api"), smart.Exists("ready:db"), smart.Absent("maintenance")))
	fmt.Println(len(r.All), err)
	// Prints: 3 <nil>
}

func ExampleStreamAfter() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	for i := range 5 {
		if _, err := client.Cmd(ctx, "XADD", "ticks", fmt.Sprintf("%d-0", i+1), "n", i); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := client.Cmd(ctx, "XTRIM", "ticks", "MAXLEN", 2); err != nil {
		log.Fatal(err)
	}
	r, err := smart.WaitFor(ctx, client, smart.StreamAfter("ticks", "0"))
	fmt.Println(r.LastID, err)
	if r.Lost != 0 {
		fmt.Println(r.Lost, "missing, the oldest left is", r.FirstID)
	}
	// Prints:
	// 5-0 <nil>
	// 3 missing, the oldest left is 4-0
}

func ExampleChanges() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	time.AfterFunc(50*time.Millisecond, func() { command.Do(ctx, client, command.Set("mode", "night")) })
	for v, err := range smart.Changes(ctx, client, "mode") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v %q\n", v.Exists, v.Value)
		if v.Value == "night" {
			break
		}
	}
	// Prints:
	// false ""
	// true "night"
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"WaitFor", "done <nil>\n", ExampleWaitFor},
		{"Budget", "true running\n", ExampleBudget},
		{"AnyOf", "1 inbox 3 <nil>\n", ExampleAnyOf},
		{"AllOf", "3 <nil>\n", ExampleAllOf},
		{"StreamAfter", "5-0 <nil>\n3 missing, the oldest left is 4-0\n", ExampleStreamAfter},
		{"Changes", "false \"\"\ntrue \"night\"\n", ExampleChanges},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
