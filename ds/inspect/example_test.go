package inspect_test

import (
	"context"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/inspect"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// The examples have no "Output:" comment, because go test would then run them
// without a server to give them. TestExamples runs them and knows what they
// print.

// url is where the examples connect to.
var url = "redis://127.0.0.1:6379"

func ExampleReports() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := queue.New[string](client, "mail").Enqueue(ctx, "welcome"); err != nil {
		log.Fatal(err)
	}

	for r, err := range inspect.Reports(ctx, client, inspect.OfKind("queue")) {
		if err != nil {
			log.Fatal(err) // what came before is right, but not all
		}
		fmt.Printf("%s %s: %s\n", r.Kind, r.Name, r.Says)
	}
	// Prints: queue mail: 1 waiting, 0 running, 0 delayed, 0 dead; 0 consumers
}

func ExampleExplain() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	l, err := lease.Acquire(ctx, client, "video:42", lease.Owner("node-A"), lease.TTL(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	defer l.Release(ctx)

	objects, err := inspect.Lookup(ctx, client, "video:42", inspect.OfKind("lease"))
	if err != nil {
		log.Fatal(err) // *inspect.NotFoundError
	}
	r, err := inspect.Explain(ctx, client, objects[0])
	if err != nil {
		log.Fatal(err)
	}
	info := r.Info.(lease.Info)
	fmt.Println(r.Name, "is held by", info.Owner, info.Token == l.Token())
	// Prints: video:42 is held by node-A true
}

func TestExamples(t *testing.T) {
	defer func(was string) { url = was }(url)
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Reports", "queue mail: 1 waiting, 0 running, 0 delayed, 0 dead; 0 consumers\n", ExampleReports},
		{"Explain", "video:42 is held by node-A true\n", ExampleExplain},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
