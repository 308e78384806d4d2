package coalesce_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// url is where the examples connect to.
var url = "redis://127.0.0.1:6379"

func ExampleLocal() {
	var g coalesce.Group
	defer g.Close()
	fetches := 0
	fetch := func(context.Context) (string, error) {
		fetches++
		time.Sleep(50 * time.Millisecond)
		return "page", nil
	}
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			if page, err := coalesce.Local(context.Background(), &g, "/index", fetch); page != "page" || err != nil {
				fmt.Println(page, err)
			}
		})
	}
	callers.Wait()
	fmt.Println("fetched", fetches, "time")
	// Output: fetched 1 time
}

func ExampleDo() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	// However many pods get the request at once, one builds the report.
	report, err := coalesce.Do(ctx, client, "report:2026-11", func(ctx context.Context) ([]string, error) {
		return []string{"line 1", "line 2"}, nil
	})
	fmt.Println(report, err)
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Do", "[line 1 line 2] <nil>\n", ExampleDo},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
