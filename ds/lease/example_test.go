package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/servers"
)

// exampleServer starts a server for an example, which has no *testing.T to do
// it with. Without one on the machine it ends the test binary, loudly.
func exampleServer() (client *redisx.Client, done func()) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := servers.Launch(ctx, servers.Options{})
	if err != nil {
		log.Fatalf("the examples need a redis-server: %v", err)
	}
	client, err = redisx.Connect(ctx, s.URL())
	if err != nil {
		s.Close()
		log.Fatal(err)
	}
	return client, func() { client.Close(); s.Close() }
}

func ExampleWith() {
	client, done := exampleServer()
	defer done()
	ctx := context.Background()

	err := lease.With(ctx, client, "invoice:42", func(ctx context.Context, l *lease.Lease) error {
		// ctx ends when the lease is lost. Outside of Redis, pass l.Token() on.
		_, err := l.Do(ctx, command.Untyped("SET", "invoice:42:state", "sent").Request())
		return err
	})
	state, _ := client.Get(ctx, "invoice:42:state")
	fmt.Println(state, err)
	// Output: sent <nil>
}

func ExampleTryAcquire() {
	client, done := exampleServer()
	defer done()
	ctx := context.Background()

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
	// Output: held by web-1
}

func ExampleLease_Do() {
	client, done := exampleServer()
	defer done()
	ctx := context.Background()

	old, err := lease.Acquire(ctx, client, "report")
	if err != nil {
		log.Fatal(err)
	}
	// The lease goes to somebody else, as after a pause beyond its TTL.
	if err := old.Release(ctx); err != nil {
		log.Fatal(err)
	}
	next, err := lease.Acquire(ctx, client, "report")
	if err != nil {
		log.Fatal(err)
	}
	defer next.Release(ctx)

	_, err = old.Do(ctx, command.Untyped("SET", "report:state", "stale").Request())
	fmt.Println(errors.Is(err, lease.ErrFenced), next.Token() > old.Token())
	// Output: true true
}
