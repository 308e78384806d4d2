package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
)

// interleaved calls measure for every name once in each repetition, in random
// order, and returns what it returned, by name.
func interleaved[S any](names []string, reps int, measure func(name string) (S, error)) (map[string][]S, error) {
	samples := map[string][]S{}
	for range reps {
		order := slices.Clone(names)
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, name := range order {
			s, err := measure(name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			samples[name] = append(samples[name], s)
		}
	}
	return samples, nil
}

func median[S any](s []S, f func(S) float64) float64 {
	v := make([]float64, len(s))
	for i := range s {
		v[i] = f(s[i])
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// ratio is the median of the ratios within each repetition.
func ratio[S any](s, base []S, f func(S) float64) string {
	if len(base) != len(s) {
		return "-"
	}
	type pair struct{ s, base S }
	pairs := make([]pair, len(s))
	for i := range s {
		pairs[i] = pair{s[i], base[i]}
	}
	return fmt.Sprintf("%.2f", median(pairs, func(p pair) float64 { return f(p.s) / f(p.base) }))
}

// usage is what a run has used: of this process and of the server.
type usage struct {
	took          time.Duration
	cpu, server   time.Duration
	allocs, bytes uint64
}

// measured runs f and says what it used.
func measured(server *servers.Server, f func() error) (usage, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, own := cpuTime(), processTime(server.Pid())
	start := time.Now()
	err := f()
	u := usage{took: time.Since(start), cpu: cpuTime() - cpu, server: processTime(server.Pid()) - own}
	runtime.ReadMemStats(&after)
	u.allocs, u.bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return u, err
}

// callers are callers that repeat one operation, and how long each call took:
// of more than a million calls, of the first.
type callers struct {
	took  [][]time.Duration
	calls []int
}

// newCallers returns n callers. It takes all the memory that drive needs.
func newCallers(n int) *callers {
	c := &callers{took: make([][]time.Duration, n), calls: make([]int, n)}
	for i := range c.took {
		c.took[i] = make([]time.Duration, 0, 1<<20/n)
	}
	return c
}

// drive lets each caller repeat its operation for d.
func (c *callers) drive(d time.Duration, newOp func(caller int) func() error) error {
	errs := make([]error, len(c.calls))
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for i := range c.calls {
		wg.Go(func() {
			op := newOp(i)
			for start := time.Now(); start.Before(end); {
				if errs[i] = op(); errs[i] != nil {
					return
				}
				now := time.Now()
				if len(c.took[i]) < cap(c.took[i]) {
					c.took[i] = append(c.took[i], now.Sub(start))
				}
				c.calls[i]++
				start = now
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sum returns how long the calls took, in order of length, and how many there
// were.
func (c *callers) sum() (took []time.Duration, calls int) {
	for i := range c.calls {
		took = append(took, c.took[i]...)
		calls += c.calls[i]
	}
	slices.Sort(took)
	return took, calls
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// empty removes what the run before has left, so that all find the same server.
func empty(ctx context.Context, server *servers.Server) error {
	c, err := redisx.Connect(ctx, server.URL())
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = command.Do(ctx, c, command.Untyped("FLUSHALL"))
	return err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// processTime returns the processor time of another process's main thread, 0
// where the system does not say.
func processTime(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0
	}
	ns, _, _ := strings.Cut(string(b), " ")
	n, _ := strconv.ParseInt(ns, 10, 64)
	return time.Duration(n)
}
