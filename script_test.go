package redisx_test

import (
	"context"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestAScriptRunsOnAServerThatHasNeverSeenIt(t *testing.T) {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, serverstest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	script := redisx.NewScript(`redis.call('INCRBY', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[1]), ARGV[2]}`)
	for i, want := range []string{"5", "10"} { // sent whole, then by its digest
		v, err := script.Run(ctx, client, []string{"n"}, 5, []byte("raw"))
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Elems(); len(got) != 2 || got[0].Text() != want || got[1].Text() != "raw" {
			t.Errorf("run %d returned %v, want [%s raw]", i, got, want)
		}
	}
	if _, err := client.Cmd(ctx, "SCRIPT", "FLUSH"); err != nil {
		t.Fatal(err)
	}
	if v, err := script.Run(ctx, client, []string{"n"}, 1, "x"); err != nil || v.Elems()[0].Text() != "11" {
		t.Errorf("after SCRIPT FLUSH: %v, %v; want 11", v, err)
	}
	if _, err := script.Run(ctx, client, nil, struct{}{}); err == nil {
		t.Error("an argument of a type that commands cannot carry was accepted")
	}
}
