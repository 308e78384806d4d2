package coord_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// The examples have no "Output:" comment, because go test would then run them
// without a way to give them a server, or to pass over them where there is
// none. TestExamples runs them and knows what they print.

// exampleURL is where they connect to.
var exampleURL = "redis://127.0.0.1:6379"

func ExampleBarrier_Await() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, exampleURL)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var parties sync.WaitGroup
	for range 3 { // goroutines here, processes elsewhere
		parties.Go(func() {
			b := coord.NewBarrier(client, "phase", 3) // each party has its own
			for range 2 {
				generation, err := b.Await(ctx)
				if err != nil {
					log.Fatal(err)
				}
				fmt.Println("passed generation", generation)
			}
		})
	}
	parties.Wait()
	// Prints generation 1 three times, then generation 2 three times.
}

func ExampleLatch_Wait() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, exampleURL)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	warm := coord.NewLatch(client, "warm")
	if err := warm.Create(ctx, 2); err != nil {
		log.Fatal(err)
	}
	for _, loader := range []string{"users", "prices", "prices"} { // one of them twice
		left, err := warm.Done(ctx, loader)
		fmt.Println(left, err)
	}
	fmt.Println("open:", warm.Wait(ctx) == nil)
	// Prints:
	// 1 <nil>
	// 0 <nil>
	// 0 <nil>
	// open: true
}

func ExampleJoin() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, exampleURL)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	m, err := coord.Join(ctx, client, "workers", coord.Name("web-1"), coord.Meta("10.0.0.7:8080"))
	if err != nil {
		log.Fatal(err)
	}
	for now, err := range coord.WatchMembers(ctx, client, "workers") {
		if err != nil {
			log.Fatal(err)
		}
		if len(now.Members) == 0 {
			break // as we have left
		}
		fmt.Println(now.Members[0].Name, now.Members[0].Meta)
		if err := m.Leave(ctx); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("lost:", errors.Is(context.Cause(m.Context()), coord.ErrLost))
	// Prints:
	// web-1 10.0.0.7:8080
	// lost: true
}

func ExampleRunShards() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client, err := redisx.Connect(ctx, exampleURL)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var running atomic.Int32
	err = coord.RunShards(ctx, client, "orders", 4, func(ctx context.Context, s *coord.Shard) error {
		// Here a consumer of shard s.Index() would run, with s.Token() in its writes.
		if running.Add(1) == 4 {
			fmt.Println("all four are ours")
			cancel()
		}
		<-ctx.Done()
		return nil
	})
	fmt.Println(errors.Is(err, context.Canceled))
	// Prints:
	// all four are ours
	// true
}

func TestExamples(t *testing.T) {
	exampleURL = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Barrier_Await", "passed generation 1\npassed generation 1\npassed generation 1\npassed generation 2\npassed generation 2\npassed generation 2\n", ExampleBarrier_Await},
		{"Latch_Wait", "1 <nil>\n0 <nil>\n0 <nil>\nopen: true\n", ExampleLatch_Wait},
		{"Join", "web-1 10.0.0.7:8080\nlost: true\n", ExampleJoin},
		{"RunShards", "all four are ours\ntrue\n", ExampleRunShards},
		{"Election_Lead", "web-1 <nil>\n", ExampleElection_Lead},
		{"Election_Campaign", "leads: true\nresigned: <nil>\nleads: false\n", ExampleElection_Campaign},
		{"Election_Observe", "web-1 leads\n", ExampleElection_Observe},
		{"Election_StepDown", "<nil>\nasked by ops: deploy\n", ExampleElection_StepDown},
		{"Healthy", "fit to lead\n<nil>\n", ExampleHealthy},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
