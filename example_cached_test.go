package redisx_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func ExampleCached() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	user := command.HGetAll("example:user:1") // a command is a value: made once, used often
	client.HSet(ctx, "example:user:1", command.Pair{Key: "name", Value: "Ada"})
	for range 3 {
		fields, err := redisx.Cached(ctx, client, user, time.Minute)
		fmt.Println(fields["name"], err)
	}
	client.HSet(ctx, "example:user:1", command.Pair{Key: "name", Value: "Grace"})
	fields, err := redisx.Cached(ctx, client, user, time.Minute) // one's own write is seen at once
	fmt.Println(fields["name"], err)

	s := client.CacheStats()
	fmt.Println(s.Misses, "fetched,", s.Hits, "from memory")
}

func TestExampleCached(t *testing.T) {
	url = serverstest.Start(t).URL()
	const want = "Ada <nil>\nAda <nil>\nAda <nil>\nGrace <nil>\n2 fetched, 2 from memory\n"
	if got := serverstest.Printed(t, ExampleCached); got != want {
		t.Errorf("ExampleCached printed %q, want %q", got, want)
	}
}
