package intent_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/intent"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// url is where the examples connect to.
var url = "redis://127.0.0.1:6379"

type User struct{ Name string }

func ExampleGetOrCompute() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	user, err := intent.GetOrCompute(ctx, client, "user:1", time.Minute, func(ctx context.Context) (User, error) {
		return User{Name: "Ada"}, nil // ask the database, with ctx
	})
	fmt.Println(user.Name, err)

	// The database has changed: no older user is read from here on.
	fmt.Println(intent.Invalidate(ctx, client, "user:1"))
}

func ExampleRateLimit() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	err = intent.RateLimit(ctx, client, "api:/users", "100/m", intent.Burst(20))
	var limited *limiter.LimitedError
	switch {
	case errors.As(err, &limited):
		fmt.Println("come again in", limited.RetryAfter)
	case err != nil:
		fmt.Println("nobody could be asked:", err)
	default:
		fmt.Println("admitted")
	}
}

func ExampleLeaseLock() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	err = intent.LeaseLock(ctx, client, "file:upload", func(ctx context.Context) error {
		return ctx.Err() // upload, with ctx: it ends before anyone else gets in
	})
	fmt.Println(err)
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"GetOrCompute", "Ada <nil>\n<nil>\n", ExampleGetOrCompute},
		{"RateLimit", "admitted\n", ExampleRateLimit},
		{"Once", "charging the card\nreceipt 1 <nil>\nreceipt 1 <nil>\n", ExampleOnce},
		{"LeaseLock", "<nil>\n", ExampleLeaseLock},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
