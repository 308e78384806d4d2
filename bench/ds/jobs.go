package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redisx/redisx/internal/servers"
)

// job is an operation that callers repeat, and the libraries that can do it.
type job struct {
	name, unit string
	bases      []string // whom the others are compared with
	libraries  []library
}

// library is one way to do a job. open returns what makes the operation of one
// caller, and what closes the client.
type library struct {
	name string
	open func(ctx context.Context, addr string) (newOp func(caller int) func() error, closeClient func(), err error)
	// local: the operation asks the server nothing.
	local bool
}

var jobs = []job{
	{name: "lock", unit: "pairs", bases: []string{"rueidislock", "redsync"}, libraries: freeLocks()},
	{name: "limiter", unit: "calls", bases: []string{"redis_rate"}, libraries: limiters},
	{name: "cache", unit: "values", bases: []string{"rueidisaside", "rueidisaside, no memory"}, libraries: caches},
	{name: "enqueue", unit: "jobs", bases: []string{"asynq"}, libraries: queues},
}

// sample is one run of one library.
type sample struct {
	rate          float64 // a second
	p50, p99      time.Duration
	cpu, server   time.Duration // per operation
	allocs, bytes float64       // per operation
}

func (j job) find(name string) library {
	return j.libraries[slices.IndexFunc(j.libraries, func(l library) bool { return l.name == name })]
}

// compareJob runs every library with n callers and prints one table.
func compareJob(ctx context.Context, o options, j job, server *servers.Server, n int) error {
	var names []string
	for _, l := range j.libraries {
		names = append(names, l.name)
	}
	names = o.chosen(names)
	samples, err := interleaved(names, o.reps, func(name string) (sample, error) { return runJob(ctx, o, j.find(name), server, n) })
	if err != nil {
		return err
	}
	fmt.Printf("\n%s, %d callers\n%-24s %10s", strings.ToUpper(j.name), n, "library", "k "+j.unit+"/s")
	for _, b := range j.bases {
		fmt.Printf(" %14s", "vs "+b)
	}
	fmt.Printf(" %9s %9s %9s %9s %7s %8s %9s %6s\n", "p50 us", "p99 us", "cpu us", "server us", "allocs", "bytes", "requests", "calls")
	for _, name := range names {
		s := samples[name]
		rate := func(s sample) float64 { return s.rate }
		fmt.Printf("%-24s %10.1f", name, median(s, rate)/1000)
		for _, b := range j.bases {
			fmt.Printf(" %14s", ratio(s, samples[b], rate))
		}
		requests, calls, err := trafficOf(ctx, o, j.find(name), server, n)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Printf(" %9.1f %9.1f %9.2f %9.2f %7.2f %8.0f %9.2f %6.2f\n",
			median(s, func(s sample) float64 { return us(s.p50) }),
			median(s, func(s sample) float64 { return us(s.p99) }),
			median(s, func(s sample) float64 { return us(s.cpu) }),
			median(s, func(s sample) float64 { return us(s.server) }),
			median(s, func(s sample) float64 { return s.allocs }),
			median(s, func(s sample) float64 { return s.bytes }),
			requests, calls)
	}
	return nil
}

// runJob opens a library, warms it up, and runs n callers for the time asked.
func runJob(ctx context.Context, o options, l library, server *servers.Server, n int) (sample, error) {
	newOp, closeClient, err := opened(ctx, o, l, server, n)
	if err != nil {
		return sample{}, err
	}
	defer closeClient()
	defer o.unstick(closeClient)()
	all := newCallers(n)
	u, err := measured(server, func() error { return all.drive(o.time, newOp) })
	if err != nil {
		return sample{}, err
	}
	took, done := all.sum()
	calls := time.Duration(done)
	return sample{
		rate:   float64(done) / u.took.Seconds(),
		p50:    quantile(took, 0.50),
		p99:    quantile(took, 0.99),
		cpu:    u.cpu / calls,
		server: u.server / calls,
		allocs: float64(u.allocs) / float64(done),
		bytes:  float64(u.bytes) / float64(done),
	}, nil
}

// trafficOf returns the requests of one operation, and the commands inside the
// scripts of one.
func trafficOf(ctx context.Context, o options, l library, server *servers.Server, n int) (requests, calls float64, err error) {
	newOp, closeClient, err := opened(ctx, o, l, server, n)
	if err != nil {
		return 0, 0, err
	}
	defer closeClient()
	defer o.unstick(closeClient)()
	all := newCallers(n)
	t, err := counted(server, func() error { return all.drive(o.time/5, newOp) })
	_, done := all.sum()
	requests, calls = t.per(done)
	return requests, calls, err
}

// opened returns a library that n callers have used on an empty server.
func opened(ctx context.Context, o options, l library, server *servers.Server, n int) (func(int) func() error, func(), error) {
	if err := empty(ctx, server); err != nil {
		return nil, nil, err
	}
	newOp, closeClient, err := l.open(ctx, server.Addr)
	if err != nil {
		return nil, nil, err
	}
	defer o.unstick(closeClient)()
	if err := newCallers(n).drive(o.time/5, newOp); err != nil {
		closeClient()
		return nil, nil, err
	}
	return newOp, closeClient, nil
}

// unstick closes a client whose callers do not come back, until it is stopped.
// Their contexts must not end: a context that can costs some libraries more.
func (o options) unstick(closeClient func()) (stop func() bool) {
	return time.AfterFunc(o.time+o.patience, closeClient).Stop
}
