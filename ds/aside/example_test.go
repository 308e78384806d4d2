package aside_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// url is where the examples connect to.
var url = "redis://127.0.0.1:6379"

func ExampleCache() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	users := aside.New(client, time.Minute, func(ctx context.Context, key string) (string, error) {
		return "Ada", nil // ask the database, with ctx
	}, aside.Stale(10*time.Second), aside.Memory(64<<20))

	name, err := users.Get(ctx, "user:42")
	fmt.Println(name, err)

	// The database has a new name: no older one is readable from here on.
	fmt.Println(users.Invalidate(ctx, "user:42"))
}

func ExampleGetOrCompute() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	total, err := aside.GetOrCompute(ctx, client, "total", time.Minute, func(ctx context.Context) (int, error) {
		return 1200, nil // add up, with ctx
	}, aside.StaleIfError(time.Hour))
	fmt.Println(total, err)
}

func ExampleNegative() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	users := aside.New(client, time.Minute, func(ctx context.Context, key string) (string, error) {
		return "", fmt.Errorf("no row: %w", aside.ErrNotFound)
	}, aside.Negative(5*time.Second))

	for range 2 { // one compute
		_, err = users.Get(ctx, "user:0")
		fmt.Println(err, errors.Is(err, aside.ErrNotFound))
	}
}

func ExampleInvalidateTag() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	price := 995
	prices := aside.New(client, time.Minute, func(ctx context.Context, key string) (int, error) { return price, nil },
		aside.TagBy(func(key string) []string { return []string{"catalogue"} }))

	before, _ := prices.Get(ctx, "price:tea")
	price = 1095
	if err := prices.InvalidateTag(ctx, "catalogue"); err != nil {
		fmt.Println(err)
	}
	after, _ := prices.Get(ctx, "price:tea")
	fmt.Println(before, after)
}

func ExampleSetTTL() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	_, err = aside.GetOrCompute(ctx, client, "token", time.Minute, func(ctx context.Context) (string, error) {
		aside.SetTTL(ctx, time.Hour) // as the token says
		return "secret", nil
	})
	info, _ := aside.Inspect(ctx, client, "token")
	fmt.Println(info.Fresh > 59*time.Minute, err)
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Cache", "Ada <nil>\n<nil>\n", ExampleCache},
		{"GetOrCompute", "1200 <nil>\n", ExampleGetOrCompute},
		{"Negative", "aside: user:0: not found true\naside: user:0: not found true\n", ExampleNegative},
		{"InvalidateTag", "995 1095\n", ExampleInvalidateTag},
		{"SetTTL", "true <nil>\n", ExampleSetTTL},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
