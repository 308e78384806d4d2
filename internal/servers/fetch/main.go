// Command fetch gets servers for the tests: those of servers.Required that this
// machine lacks, and with -all the other ones too.
//
//	go run ./internal/servers/fetch [-all]
//
// It needs a Debian machine and its mirror, but no root: the packages are taken
// from a private apt tree and unpacked, never installed, into servers.Cache. The
// mirror, its proxy and the keys are those of the machine. A server runs on the
// libraries of its own Debian release, by that release's own loader. What is in
// the cache already costs nothing.
//
// It says what it could not get, and why. It ends with status 1 if that is a
// required one.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/redisx/redisx/internal/servers"
)

func main() {
	all := flag.Bool("all", false, "also get the flavors that no test requires")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	flavors := servers.Required()
	if *all {
		flavors = servers.Known()
	}
	if !run(ctx, flavors) {
		stop()
		os.Exit(1)
	}
}

// run gets the flavors that are missing, one Debian release after the other. It
// reports whether all required ones are there now.
func run(ctx context.Context, flavors []servers.Flavor) bool {
	ok := true
	wanted := map[string][]servers.Flavor{}
	var order []string
	for _, f := range flavors {
		if _, err := f.Find(ctx); err == nil {
			continue
		}
		suite := sources[f].suite
		if wanted[suite] == nil {
			order = append(order, suite)
		}
		wanted[suite] = append(wanted[suite], f)
	}
	for _, suite := range order {
		start := time.Now()
		a, err := openApt(ctx, suite)
		for _, f := range wanted[suite] {
			if err == nil {
				var version string
				if version, err = a.fetch(ctx, f); err == nil {
					say("%s: got %s from Debian %s, %.1f s", f, version, suite, time.Since(start).Seconds())
					continue
				}
			}
			if slices.Contains(servers.Required(), f) {
				say("MISSING: %s: %v", f, err)
				ok = false
			} else {
				say("going on without %s, which nothing requires: %v", f, err)
			}
		}
		if a != nil {
			a.close()
		}
	}
	return ok
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "== servers: "+format+"\n", args...)
}
