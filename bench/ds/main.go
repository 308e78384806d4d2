// Command ds compares redisX's distributed primitives with other Go libraries
// for the same jobs, on one real server, in one interleaved run: every
// repetition runs every library once, in random order, and the tables hold
// medians and ratios. Absolute figures hold for the machine of the run only.
//
//	go run ./ds -what lock,contended -reps 5 -time 1s
//
// The server is a private redis-server from PATH. -pin runs clients and server
// on one core (Linux, taskset), where their own costs show and the scheduler's
// wake-ups do not. -what chooses the tables:
//
//	lock       lock and unlock, each caller a name of its own that is free
//	contended  many callers and one name: who gets it, and after how long
//	wait       many waiters for a value: how long after its SET they go on
//	limiter    one decision of a rate limiter, all admitted
//	cache      one value that is there, from memory or by one round trip
//	enqueue    one job into a queue
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx/internal/servers"
)

type options struct {
	what    string
	reps    int
	time    time.Duration
	pin     bool
	callers string
	only    string

	patience time.Duration

	contenders int
	clients    int
	hold       time.Duration

	waiters int
}

func main() {
	var o options
	flag.StringVar(&o.what, "what", strings.Join(tables, ","), "tables, with commas")
	flag.IntVar(&o.reps, "reps", 5, "interleaved repetitions")
	flag.DurationVar(&o.time, "time", time.Second, "length of one run")
	flag.BoolVar(&o.pin, "pin", false, "clients and server on one core")
	flag.StringVar(&o.callers, "callers", "1,8,64,512", "numbers of concurrent callers: lock, limiter, cache, enqueue")
	flag.StringVar(&o.only, "only", "", "libraries to run, separated by |; default all")
	flag.DurationVar(&o.patience, "patience", 30*time.Second, "how much longer than -time a run may take before it fails: lock, limiter, cache, enqueue")
	flag.IntVar(&o.contenders, "contenders", 16, "callers for one lock: contended")
	flag.IntVar(&o.clients, "clients", 4, "clients that the contenders share: contended")
	flag.DurationVar(&o.hold, "hold", time.Millisecond, "how long the lock is held: contended")
	flag.IntVar(&o.waiters, "waiters", 1000, "waiters: wait")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var tables = []string{"lock", "contended", "wait", "limiter", "cache", "enqueue"}

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
	fmt.Printf("# %s, %s/%s, %d cores, pinned to one core: %v\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), o.pin)
	fmt.Printf("# medians of %d interleaved runs of %v\n", o.reps, o.time)
	for _, what := range strings.Split(o.what, ",") {
		if err := table(ctx, what, o, server); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func table(ctx context.Context, what string, o options, server *servers.Server) error {
	switch what {
	case "contended":
		return compareContended(ctx, o, server)
	case "wait":
		for _, keys := range []int{1, o.waiters} {
			if err := compareWaits(ctx, o, server, keys); err != nil {
				return err
			}
		}
		return nil
	}
	i := slices.IndexFunc(jobs, func(j job) bool { return j.name == what })
	if i < 0 {
		return fmt.Errorf("not one of %v", tables)
	}
	for _, field := range strings.Split(o.callers, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return err
		}
		if err := compareJob(ctx, o, jobs[i], server, n); err != nil {
			return err
		}
	}
	return nil
}

// chosen returns those of the names that -only leaves.
func (o options) chosen(names []string) []string {
	if o.only == "" {
		return names
	}
	only := strings.Split(o.only, "|")
	return slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(only, n) })
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
