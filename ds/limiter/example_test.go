package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// The examples have no "Output:" comment, because go test would then run them
// without a way to give them a server, or to pass over them where there is
// none. TestExamples runs them and knows what they print.

// url is where the examples connect to.
var url = "redis://127.0.0.1:6379"

func ExampleLimiter_Allow() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	logins := limiter.New(client, "10/h", limiter.Burst(2))
	for range 3 {
		d, err := logins.Allow(ctx, "login:ada")
		if err != nil {
			log.Fatal(err) // nobody could be asked: let pass or not, as you decide
		}
		fmt.Println("allowed:", d.Allowed, "remaining:", d.Remaining, "limited:", errors.Is(d.Err(), limiter.ErrLimited))
	}
	// Prints:
	// allowed: true remaining: 1 limited: false
	// allowed: true remaining: 0 limited: false
	// allowed: false remaining: 0 limited: true
}

func ExampleLimiter_AllowN() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	tokens := limiter.New(client, "1000/m")
	d, err := tokens.AllowN(ctx, "model:ada", 800)
	fmt.Println(d.Allowed, err)
	_, err = tokens.AllowN(ctx, "model:ada", 4000)
	fmt.Println(err)
	// Prints:
	// true <nil>
	// limiter: model:ada: cost 4000 never fits a burst of 1000
}

func ExampleNewGroup() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	api := limiter.NewGroup(client, "example:api", []limiter.Rule{
		{Name: "user", Rate: "10/h"},
		{Name: "tenant", Rate: "15/h"},
	})
	for _, user := range []string{"ada", "bob"} {
		d, err := api.AllowN(ctx, 10, user, "acme") // a key for each rule
		fmt.Println(user, d.Allowed, d.Rule, err)
	}
	// Prints:
	// ada true user <nil>
	// bob false tenant <nil>
}

func ExampleLimiter_Reserve() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	tokens := limiter.New(client, "10000/d", limiter.Using(limiter.FixedWindow))
	r, err := tokens.Reserve(ctx, "example:model:ada", 4000)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Cancel(ctx) // after Settle it does nothing
	if err := r.Settle(ctx, 1200); err != nil {
		log.Fatal(err)
	}
	d, err := tokens.Peek(ctx, "example:model:ada")
	fmt.Println(d.Remaining, err)
	// Prints:
	// 8800 <nil>
}

func ExampleLimiter_Stock() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	stock, err := limiter.New(client, "100000/h").Stock("example:events", 1000)
	if err != nil {
		log.Fatal(err)
	}
	defer stock.Close(ctx) // gives back what is left
	n := 0
	for range 2500 { // three round trips, or five: chunks are settled, too
		if stock.Take(ctx, 1) == nil {
			n++
		}
	}
	fmt.Println(n)
	// Prints:
	// 2500
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{
			"Limiter_Allow",
			"allowed: true remaining: 1 limited: false\nallowed: true remaining: 0 limited: false\nallowed: false remaining: 0 limited: true\n",
			ExampleLimiter_Allow,
		},
		{"NewGroup", "ada true user <nil>\nbob false tenant <nil>\n", ExampleNewGroup},
		{"Limiter_Reserve", "8800 <nil>\n", ExampleLimiter_Reserve},
		{"Limiter_Stock", "2500\n", ExampleLimiter_Stock},
		{"Limiter_AllowN", "true <nil>\nlimiter: model:ada: cost 4000 never fits a burst of 1000\n", ExampleLimiter_AllowN},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
