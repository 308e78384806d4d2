package redisx_test

import (
	"context"
	"errors"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestEachCommandOfAPipelineHasItsOwnResult(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	p := client.Pipeline()
	for range 2 { // a pipeline can be used again
		set := p.Set("k", "text")
		bad := p.Incr("k")
		get := p.Get("k")
		none := p.Get("none")
		if _, err := get.Result(); !errors.Is(err, redisx.ErrNotExecuted) {
			t.Errorf("before Exec: %v", err)
		}
		err := p.Exec(bg)
		var e redisx.ServerError
		if !errors.As(err, &e) {
			t.Errorf("Exec returned %v, want the server's error on INCR", err)
		}
		if _, err := set.Result(); err != nil {
			t.Error(err)
		}
		if _, err := bad.Result(); !errors.As(err, &e) || redisx.SafeToRetry(err) {
			t.Errorf("INCR of a text: %v", err)
		}
		if v, err := get.Result(); err != nil || v != "text" {
			t.Errorf("GET after the failed command: %q, %v", v, err)
		}
		if _, err := none.Result(); !errors.Is(err, redisx.Nil) {
			t.Error(err)
		}
		if p.Exec(bg) == nil {
			t.Error("a pipeline ran twice")
		}
		p.Reset()
	}
}

func TestAPipelineThatIsNotSentSaysSoForEachCommand(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	ctx, cancel := context.WithCancel(bg)
	cancel()
	p := client.Pipeline()
	a, b := p.Incr("a"), p.Incr("a")
	if err := p.Exec(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, f := range []redisx.Future[int64]{a, b} {
		if _, err := f.Result(); !redisx.SafeToRetry(err) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if _, err := client.Get(bg, "a"); !errors.Is(err, redisx.Nil) {
		t.Errorf("the server saw it: %v", err)
	}
}
