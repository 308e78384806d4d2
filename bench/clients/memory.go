package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/redisx/redisx/internal/servers"
)

const waiters = 10_000

// memory prints what a client takes that has been used and idles, and what each
// of many callers takes that wait for a server which does not answer.
func memory(ctx context.Context, server *servers.Server) error {
	fmt.Printf("\n%-22s %12s %12s %12s %12s\n", "client", "idle KiB", "idle gorout.", "KB/waiter", "gorout./wait")
	for _, c := range clients {
		if c.lone {
			continue
		}
		o := options{op: "get", size: 64}
		if err := fill(ctx, server.Addr, o); err != nil {
			return err
		}
		if err := memoryOf(ctx, server, c, o); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func memoryOf(ctx context.Context, server *servers.Server, c client, o options) error {
	base, routines := inUse(), runtime.NumGoroutine()
	newOp, closeClient, err := c.open(ctx, server.Addr, o)
	if err != nil {
		return err
	}
	defer closeClient()
	if err := drive(newOp, newLatencies(64), 200*time.Millisecond); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // it idles: who gives memory back has done so
	idle, idleRoutines := inUse()-base, runtime.NumGoroutine()-routines

	op := newOp()
	if err := server.Pause(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() { op() }) // it fails where the client gives up on a server that pauses
	}
	time.Sleep(time.Second)
	waiting, waitingRoutines := inUse()-base-idle, runtime.NumGoroutine()-routines-idleRoutines
	if err := server.Resume(); err != nil {
		return err
	}
	wg.Wait()
	fmt.Printf("%-22s %12.0f %12d %12.2f %12.2f\n", c.name, float64(idle)/1024, idleRoutines,
		float64(waiting)/waiters/1000, float64(waitingRoutines)/waiters)
	return nil
}

// inUse returns the bytes of heap and stacks in use.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
