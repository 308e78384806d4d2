package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/telemetry"
)

// breaker refuses commands for a while after too many in a row were lost.
type breaker struct {
	lost  atomic.Int64
	until atomic.Int64 // ns since 1970
}

var errOpen = errors.New("circuit open")

func (b *breaker) AdmitCommand(context.Context, *telemetry.Command) error {
	if time.Now().UnixNano() < b.until.Load() {
		return errOpen
	}
	return nil
}

func (b *breaker) CommandStarted(ctx context.Context, _ *telemetry.Command) context.Context {
	return ctx
}

func (b *breaker) CommandEnded(_ context.Context, c *telemetry.Command) {
	switch {
	case errors.Is(c.Err, errOpen):
	case c.Outcome != telemetry.Maybe && c.Outcome != telemetry.NotSent:
		b.lost.Store(0)
	case b.lost.Add(1) >= 3:
		b.lost.Store(0)
		b.until.Store(time.Now().Add(10 * time.Second).UnixNano())
	}
}

// A circuit breaker is an observer that is also a gate.
func ExampleObserver() {
	ctx := context.Background()
	cfg, err := redisx.ParseURL(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	guard := &breaker{}
	cfg.Observers = []redisx.Observer{guard}
	client, err := redisx.ConnectConfig(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	fmt.Println(client.Set(ctx, "example:k", "v"))
	for range 3 {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		client.Get(ended, "example:k")
	}
	err = client.Set(ctx, "example:k", "v")
	fmt.Println(err)
	fmt.Println(errors.Is(err, errOpen), redisx.SafeToRetry(err))
}

func TestTheBreakerExample(t *testing.T) {
	url = serverstest.Start(t).URL()
	const want = "<nil>\nredisx: SET on client: build: circuit open (not sent)\ntrue true\n"
	if got := serverstest.Printed(t, ExampleObserver); got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}
