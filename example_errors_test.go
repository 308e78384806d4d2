package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func ExampleError() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = client.BLPop(short, time.Minute, "example:nothing")

	var e *redisx.Error
	if errors.As(err, &e) {
		fmt.Println(e.Command, e.Phase, e.Attempts, e.Outcome)
	}
	switch {
	case redisx.SafeToRetry(err):
		fmt.Println("the server did not run it")
	case e.Outcome == command.Done:
		fmt.Println("the server ran it, and this is its answer")
	default: // command.Maybe
		fmt.Println("nobody knows whether the server ran it")
	}
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
}

// A write whose repeat leaves the same data, sent again if its answer is lost.
func ExampleRepeatable() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	fmt.Println(client.Set(redisx.Repeatable(ctx), "example:last-seen", "2026-11-23"))
}

func ExampleClient_CopyTo() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	client.Set(ctx, "example:page", strings.Repeat("a line\n", 3))
	n, err := client.CopyTo(ctx, os.Stdout, command.Get("example:page")) // a file, an http.ResponseWriter…
	fmt.Println(n, err)
}

func TestErrorExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Error", "BLPOP read 1 may have run\nnobody knows whether the server ran it\ntrue\n", ExampleError},
		{"Repeatable", "<nil>\n", ExampleRepeatable},
		{"Client_CopyTo", "a line\na line\na line\n21 <nil>\n", ExampleClient_CopyTo},
	} {
		got := serverstest.Printed(t, e.run)
		for tries := 0; tries < 20 && strings.Contains(got, "not sent"); tries++ {
			got = serverstest.Printed(t, e.run) // the deadline came before the connection
		}
		if got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
