package semaphore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// url is where the examples connect to. TestExamples runs them and knows what
// they print.
var url = "redis://127.0.0.1:6379"

func ExampleSemaphore_Acquire() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	gpu := semaphore.New(client, "gpu", 8, semaphore.Owner("node-A"))
	p, err := gpu.Acquire(ctx, 6) // six of eight
	if err != nil {
		log.Fatal(err)
	}
	_, err = gpu.TryAcquire(ctx, 3)
	var full *semaphore.FullError
	fmt.Println(errors.As(err, &full), err)
	fmt.Println(p.Release(ctx))
	// Prints:
	// true semaphore: gpu: 6 of 8 in use, no room for 3
	// <nil>
}

func ExampleSemaphore_With() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	// At most 20 queries at a time to begin with; as many as the database bears.
	db := semaphore.New(client, "db", 20, semaphore.Adaptive(4, 200))
	err = db.With(ctx, 1, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return ctx.Err() // the query: its deadline, or ErrOverloaded, is an overload
	})
	fmt.Println(err)
	// Prints: <nil>
}

func ExampleSemaphore_SetLimit() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	mail := semaphore.New(client, "mail", 10)
	if err := mail.SetLimit(ctx, 2); err != nil { // for all processes
		log.Fatal(err)
	}
	info, err := mail.Inspect(ctx)
	fmt.Println(info.Explain(), err)
	// Prints: 0 of 2 held; the limit is kept on the server <nil>
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Acquire", "true semaphore: gpu: 6 of 8 in use, no room for 3\n<nil>\n", ExampleSemaphore_Acquire},
		{"With", "<nil>\n", ExampleSemaphore_With},
		{"SetLimit", "0 of 2 held; the limit is kept on the server <nil>\n", ExampleSemaphore_SetLimit},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
