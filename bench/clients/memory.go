package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/redisx/redisx/internal/servers"
)

const waiters = 10_000

// memory prints what a client takes that has been used and idles, and what each
// of many callers takes that wait for a server which does not answer. Every
// client is measured in a process of its own.
func memory(ctx context.Context, server *servers.Server, only string) error {
	if only != "" {
		for _, c := range clients {
			if c.name == only {
				return memoryOf(ctx, server, c, options{op: "get", size: 64})
			}
		}
		return fmt.Errorf("no client %q", only)
	}
	fmt.Printf("\n%-22s %12s %12s %12s %12s\n", "client", "idle KiB", "idle gorout.", "KB/waiter", "gorout./wait")
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range clients {
		if c.lone {
			continue
		}
		cmd := exec.CommandContext(ctx, exe, "-memory", "-only", c.name)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		errs = append(errs, cmd.Run())
	}
	return errors.Join(errs...)
}

func memoryOf(ctx context.Context, server *servers.Server, c client, o options) error {
	if err := fill(ctx, server.Addr, o); err != nil {
		return err
	}
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

	if err := server.Pause(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() { newOp()() }) // it fails where the client gives up on a server that pauses
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
