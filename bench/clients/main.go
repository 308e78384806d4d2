// Command clients compares redisX with other Go clients on one real server, in
// one interleaved run: every repetition runs every client once, in random
// order, and the table holds medians and ratios. Absolute figures hold for the
// machine of the run only.
//
//	go run ./clients -reps 5 -time 1s
//
// The server is a private redis-server from PATH. -pin runs client and server
// on one core (Linux, taskset), where the client's own cost shows and the
// scheduler's wake-ups do not. -op chooses the operation; those of many values
// are counted in values. -memory measures what idle clients and waiting callers
// take instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redisx/redisx/internal/servers"
)

type options struct {
	reps    int
	time    time.Duration
	pin     bool
	callers string
	op      string
	size    int
	only    string
	memory  bool
}

// sample is one run of one client.
type sample struct {
	rate     float64 // values a second
	p50, p99 time.Duration
	cpu      time.Duration // of this process, per value
	server   time.Duration // processor time of the server, per value
	allocs   float64       // per value
	bytes    float64       // allocated, per value
}

func main() {
	var o options
	flag.IntVar(&o.reps, "reps", 5, "interleaved repetitions")
	flag.DurationVar(&o.time, "time", time.Second, "length of one run")
	flag.BoolVar(&o.pin, "pin", false, "client and server on one core")
	flag.StringVar(&o.callers, "callers", "1,8,64,512,4096", "numbers of concurrent callers")
	flag.StringVar(&o.op, "op", "get", strings.Join(operations, ", ")+"; several with commas")
	flag.IntVar(&o.size, "size", 64, "size of the value, bytes")
	flag.StringVar(&o.only, "only", "", "clients to run, separated by |; default all")
	flag.BoolVar(&o.memory, "memory", false, "measure memory instead of speed")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.pin && os.Getenv("REDISX_PINNED") == "" {
		return repin()
	}
	ctx := context.Background()
	server, err := servers.Launch(ctx, servers.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	if o.pin {
		if out, err := exec.Command("taskset", "-acp", "0", strconv.Itoa(server.Pid())).CombinedOutput(); err != nil {
			return fmt.Errorf("taskset: %v: %s", err, out)
		}
	}
	if o.memory && o.only != "" {
		return memory(ctx, server, o.only)
	}
	fmt.Printf("# %s, %s/%s, %d cores, pinned to one core: %v\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), o.pin)
	if o.memory {
		return memory(ctx, server, "")
	}
	fmt.Printf("# values of %d bytes, medians of %d interleaved runs of %v\n", o.size, o.reps, o.time)
	if err := fill(ctx, server.Addr, o); err != nil {
		return err
	}
	for _, o.op = range strings.Split(o.op, ",") {
		for _, field := range strings.Split(o.callers, ",") {
			n, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			if err := compare(ctx, o, server, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// repin starts the program again on core 0.
func repin() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command("taskset", append([]string{"-c", "0", exe}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), "REDISX_PINNED=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// compare runs every client with n callers and prints one table.
func compare(ctx context.Context, o options, server *servers.Server, n int) error {
	samples := map[string][]sample{}
	var names []string
	for _, c := range clients {
		floor := c.raw && !slices.Contains([]string{"get", "set", "pipeline", "mget"}, o.op)
		auto := c.name == "go-redis AutoPipeline" && o.op == "pipeline" // it is one already
		if (c.lone && n > 1) || floor || auto || (o.only != "" && !slices.Contains(strings.Split(o.only, "|"), c.name)) {
			continue
		}
		names = append(names, c.name)
	}
	var limit []float64 // what the server's own benchmark reaches
	for range o.reps {
		order := slices.Clone(names)
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, name := range order {
			c := clients[slices.IndexFunc(clients, func(c client) bool { return c.name == name })]
			s, err := measure(ctx, o, c, server, n)
			if err != nil {
				return fmt.Errorf("%s with %d callers: %w", name, n, err)
			}
			samples[name] = append(samples[name], s)
		}
		if rate, ok := serversOwn(o, server, n); ok && o.only == "" {
			limit = append(limit, rate)
		}
	}
	fmt.Printf("\n%s, %d callers\n%-22s %10s %9s %9s %9s %9s %9s %9s %7s %8s\n", strings.ToUpper(o.op), n, "client", "k val/s", "vs rueid.", "p50 us", "p99 us", "p50/raw", "cpu us", "server us", "allocs", "bytes")
	for _, name := range names {
		s := samples[name]
		fmt.Printf("%-22s %10.1f %9s %9.1f %9.1f %9s %9.2f %9.2f %7.2f %8.0f\n", name,
			median(s, func(s sample) float64 { return s.rate })/1000,
			ratio(s, samples["rueidis"], func(s sample) float64 { return s.rate }),
			median(s, func(s sample) float64 { return us(s.p50) }),
			median(s, func(s sample) float64 { return us(s.p99) }),
			ratio(s, samples["raw net.Conn"], func(s sample) float64 { return us(s.p50) }),
			median(s, func(s sample) float64 { return us(s.cpu) }),
			median(s, func(s sample) float64 { return us(s.server) }),
			median(s, func(s sample) float64 { return s.allocs }),
			median(s, func(s sample) float64 { return s.bytes }))
	}
	if len(limit) > 0 {
		fmt.Printf("%-22s %10.1f\n", ownName(o, n), median(limit, func(f float64) float64 { return f })/1000)
	}
	return nil
}

// depth is how deep the server's own benchmark pipelines to compare with n
// callers, who batch by themselves.
func depth(o options, n int) int {
	switch {
	case o.op == "pipeline":
		return many
	case n >= 64:
		return 16
	}
	return 1
}

func ownName(o options, n int) string { return fmt.Sprintf("redis-benchmark -P %d", depth(o, n)) }

// serversOwn runs redis-benchmark with 50 connections, if there is one.
func serversOwn(o options, server *servers.Server, n int) (float64, bool) {
	if o.op != "get" && o.op != "set" && o.op != "pipeline" {
		return 0, false
	}
	name := o.op
	if name == "pipeline" {
		name = "get"
	}
	host, port, _ := strings.Cut(server.Addr, ":")
	p := depth(o, n)
	requests := 50_000 * min(p, 20)
	out, err := exec.Command("redis-benchmark", "-h", host, "-p", port, "-c", "50", "-q", "--csv", "-t", name,
		"-P", strconv.Itoa(p), "-n", strconv.Itoa(requests), "-d", strconv.Itoa(o.size)).Output()
	if err != nil {
		return 0, false
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.Split(lines[len(lines)-1], ",")
	if len(fields) < 2 {
		return 0, false
	}
	rate, err := strconv.ParseFloat(strings.Trim(fields[1], `"`), 64)
	return rate, err == nil
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func median[T any](s []T, f func(T) float64) float64 {
	v := make([]float64, len(s))
	for i := range s {
		v[i] = f(s[i])
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// ratio is the median of the ratios within each repetition.
func ratio(s, base []sample, f func(sample) float64) string {
	if len(base) != len(s) {
		return "-"
	}
	v := make([]float64, len(s))
	for i := range s {
		v[i] = f(s[i]) / f(base[i])
	}
	slices.Sort(v)
	return fmt.Sprintf("%.2f", (v[(len(v)-1)/2]+v[len(v)/2])/2)
}

// measure opens a client, warms it up, and runs n callers for the time asked.
func measure(ctx context.Context, o options, c client, server *servers.Server, n int) (sample, error) {
	op, closeClient, err := c.open(ctx, server.Addr, o)
	if err != nil {
		return sample{}, err
	}
	defer closeClient()
	warm := n
	if c.burst {
		warm = 64
	}
	if err := drive(op, newLatencies(warm), o.time/5); err != nil {
		return sample{}, err
	}
	lat := newLatencies(n)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, own := cpuTime(), processTime(server.Pid())
	start := time.Now()
	err = drive(op, lat, o.time)
	took := time.Since(start)
	cpu, own = cpuTime()-cpu, processTime(server.Pid())-own
	runtime.ReadMemStats(&after)
	if err != nil {
		return sample{}, err
	}
	total := 0
	for _, l := range lat {
		total += l.n
	}
	all := merge(lat)
	total *= values(o.op)
	return sample{
		rate:   float64(total) / took.Seconds(),
		p50:    quantile(all, 0.50),
		p99:    quantile(all, 0.99),
		cpu:    cpu / time.Duration(total),
		server: own / time.Duration(total),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(total),
		bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(total),
	}, nil
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

// latencies is what one caller saw: every one of its calls when they are few,
// else every 16th.
type latencies struct {
	n  int
	at []time.Duration
}

func newLatencies(callers int) []latencies {
	lat := make([]latencies, callers)
	for i := range lat {
		lat[i].at = make([]time.Duration, 0, 1<<20/callers)
	}
	return lat
}

// drive runs one caller for each of lat.
func drive(newOp func() func() error, lat []latencies, d time.Duration) error {
	n := len(lat)
	errs := make([]error, n)
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for i := range n {
		wg.Go(func() {
			l, op := &lat[i], newOp()
			for l.n&15 != 0 || time.Now().Before(end) {
				if l.n&15 != 0 && n > 1 {
					if errs[i] = op(); errs[i] != nil {
						return
					}
					l.n++
					continue
				}
				t := time.Now()
				if errs[i] = op(); errs[i] != nil {
					return
				}
				if len(l.at) < cap(l.at) {
					l.at = append(l.at, time.Since(t))
				}
				l.n++
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func merge(lat []latencies) []time.Duration {
	var all []time.Duration
	for _, l := range lat {
		all = append(all, l.at...)
	}
	slices.Sort(all)
	return all
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
