package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// The examples have no "Output:" comment, because go test would then run them
// without a way to give them a server, or to pass over them where there is
// none. TestExamples runs them and knows what they print.

// url is where the examples connect to.
var url = "redis://127.0.0.1:6379"

func ExampleWith() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	err = lease.With(ctx, client, "invoice:42", func(ctx context.Context, l *lease.Lease) error {
		// ctx ends when the lease is lost. Outside of Redis, pass l.Token() on.
		_, err := l.Do(ctx, command.Set("invoice:42:state", "sent"))
		return err
	})
	state, _ := client.Get(ctx, "invoice:42:state")
	fmt.Println(state, err)
	// Prints: sent <nil>
}

func ExampleTryAcquire() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	l, err := lease.Acquire(ctx, client, "cron", lease.Owner("web-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer l.Release(ctx)

	_, err = lease.TryAcquire(ctx, client, "cron", lease.Owner("web-2"))
	var held *lease.HeldError
	if errors.As(err, &held) {
		fmt.Println("held by", held.Owner)
	}
	// Prints: held by web-1
}

func ExampleLease_Do() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	old, err := lease.Acquire(ctx, client, "report")
	if err != nil {
		log.Fatal(err)
	}
	// The lease goes to somebody else, as it does after a pause beyond its TTL.
	if err := old.Release(ctx); err != nil {
		log.Fatal(err)
	}
	next, err := lease.Acquire(ctx, client, "report")
	if err != nil {
		log.Fatal(err)
	}
	defer next.Release(ctx)

	_, err = old.Do(ctx, command.Set("report:state", "stale"))
	fmt.Println("refused:", errors.Is(err, lease.ErrFenced))
	// Prints: refused: true
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"With", "sent <nil>\n", ExampleWith},
		{"TryAcquire", "held by web-1\n", ExampleTryAcquire},
		{"Lease_Do", "refused: true\n", ExampleLease_Do},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
