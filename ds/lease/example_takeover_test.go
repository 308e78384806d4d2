package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func ExampleLease_HandOver() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	old, err := lease.Acquire(ctx, client, "shard:7", lease.Owner("web-1"))
	if err != nil {
		log.Fatal(err)
	}
	// The work has ended. The ticket goes to another process, as JSON perhaps.
	ticket, err := old.HandOver(ctx)
	if err != nil {
		log.Fatal(err)
	}
	next, err := lease.Adopt(ctx, client, ticket, lease.Owner("web-2"))
	if err != nil {
		log.Fatal(err)
	}
	defer next.Release(ctx)
	fmt.Println(next.Owner(), "has it, with a greater token:", next.Token() > old.Token())
	// Prints: web-2 has it, with a greater token: true
}

func ExampleTakeOver() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	hung, err := lease.Acquire(ctx, client, "import", lease.TTL(300*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	l, err := lease.TakeOver(ctx, client, "import", lease.Owner("operator"))
	if err != nil {
		log.Fatal(err)
	}
	defer l.Release(ctx)

	<-hung.Context().Done() // with its next renewal
	var lost *lease.LostError
	if errors.As(context.Cause(hung.Context()), &lost) {
		fmt.Println("the old holder hears:", lost.Reason)
	}
	// Prints: the old holder hears: taken over
}

// tableRow is one row of a table. write does what a database does for
//
//	UPDATE report SET body = ?, fence = ? WHERE id = 1 AND fence <= ?
//
// and returns how many rows it changed.
type tableRow struct {
	body  string
	fence int64
}

func (r *tableRow) write(body string, token int64) int {
	if r.fence > token {
		return 0
	}
	r.body, r.fence = body, token
	return 1
}

// The resource keeps the token beside the data, and changes both in one step.
func Example_sql() {
	var row tableRow
	for _, holder := range []struct {
		name  string
		token int64
	}{{"first", 17}, {"second", 18}, {"first, back from a pause", 17}} {
		if row.write("by "+holder.name, holder.token) == 0 {
			fmt.Printf("%s: refused, the row has token %d\n", holder.name, row.fence)
		}
	}
	fmt.Println(row.body)
	// Output:
	// first, back from a pause: refused, the row has token 18
	// by second
}

func ExampleFence() {
	var fence lease.Fence
	write := func(token int64) error { return fence.Do(token, func() error { return nil }) }
	fmt.Println(write(17), write(18))
	fmt.Println(errors.Is(write(17), lease.ErrFenced))
	// Output:
	// <nil> <nil>
	// true
}

func TestExamplesOfTakingOver(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Lease_HandOver", "web-2 has it, with a greater token: true\n", ExampleLease_HandOver},
		{"TakeOver", "the old holder hears: taken over\n", ExampleTakeOver},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
