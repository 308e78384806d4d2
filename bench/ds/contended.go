package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/internal/servers"
)

// contest is one run of many contenders for one lock.
type contest struct {
	rate     float64       // grants a second
	fairness float64       // Jain's index of the contenders' grants: from 1/n, one has all, to 1
	least    float64       // grants of who got least, as a part of the mean
	waits    waits         // how long until a grant
	server   time.Duration // processor time, per grant
}

// waits are sorted. Who had got nothing when the run ended has waited until
// then at least, and is among them.
type waits []time.Duration

// compareContended lets every library's callers contend for one lock.
func compareContended(ctx context.Context, o options, server *servers.Server) error {
	var names []string
	for _, l := range lockLibraries {
		if l.waits {
			names = append(names, l.name)
		}
	}
	names = o.chosen(names)
	samples, err := interleaved(names, o.reps, func(name string) (contest, error) { return runContest(ctx, o, name, server) })
	if err != nil {
		return err
	}
	fmt.Printf("\nCONTENDED, %d callers on %d clients, held for %v\n%-24s %9s %14s %9s %7s %9s %9s %9s %9s %9s %6s\n", o.contenders, o.clients, o.hold,
		"library", "grants/s", "vs rueidislock", "fairness", "least", "p50 ms", "p99 ms", "max ms", "server us", "requests", "calls")
	for _, name := range names {
		s := samples[name]
		rate := func(c contest) float64 { return c.rate }
		requests, calls, err := contestTraffic(ctx, o, name, server)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		worst := slices.MaxFunc(s, func(a, b contest) int { return int(a.waits.max() - b.waits.max()) })
		fmt.Printf("%-24s %9.0f %14s %9.2f %7.2f %9.2f %9.2f %9.2f %9.1f %9.2f %6.2f\n", name,
			median(s, rate), ratio(s, samples["rueidislock"], rate),
			median(s, func(c contest) float64 { return c.fairness }),
			median(s, func(c contest) float64 { return c.least }),
			median(s, func(c contest) float64 { return ms(quantile(c.waits, 0.50)) }),
			median(s, func(c contest) float64 { return ms(quantile(c.waits, 0.99)) }),
			ms(worst.waits.max()),
			median(s, func(c contest) float64 { return us(c.server) }),
			requests, calls)
	}
	return nil
}

func (w waits) max() time.Duration { return quantile(w, 1) }

func runContest(ctx context.Context, o options, name string, server *servers.Server) (contest, error) {
	newContender, closeAll, err := openContest(ctx, o, name, server)
	if err != nil {
		return contest{}, err
	}
	defer closeAll()
	var counts []int
	var w waits
	u, err := measured(server, func() (err error) {
		counts, w, err = contend(ctx, o, o.time, "bench:contended", newContender)
		return err
	})
	if err != nil {
		return contest{}, err
	}
	grants := sum(counts)
	if grants == 0 {
		return contest{}, errors.New("nobody got the lock")
	}
	return contest{
		rate:     float64(grants) / u.took.Seconds(),
		fairness: jain(counts),
		least:    float64(slices.Min(counts)*len(counts)) / float64(grants),
		waits:    w,
		server:   u.server / time.Duration(grants),
	}, nil
}

// contestTraffic returns the requests of one grant, and the commands inside the
// scripts of one.
func contestTraffic(ctx context.Context, o options, name string, server *servers.Server) (requests, calls float64, err error) {
	newContender, closeAll, err := openContest(ctx, o, name, server)
	if err != nil {
		return 0, 0, err
	}
	defer closeAll()
	var counts []int
	t, err := counted(server, func() (err error) {
		counts, _, err = contend(ctx, o, o.time/2, "bench:contended", newContender)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	requests, calls = t.per(max(sum(counts), 1))
	return requests, calls, nil
}

// openContest opens the clients of one library on an empty server, uses them a
// little, and returns what makes the locker of one contender.
func openContest(ctx context.Context, o options, name string, server *servers.Server) (func(i int) locker, func(), error) {
	if err := empty(ctx, server); err != nil {
		return nil, nil, err
	}
	library := lockLibraries[slices.IndexFunc(lockLibraries, func(l locks) bool { return l.name == name })]
	var makers []func() locker
	var closes []func()
	closeAll := func() {
		for _, c := range closes {
			c()
		}
	}
	for range o.clients {
		newLocker, closeClient, err := library.open(ctx, server.Addr)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		makers, closes = append(makers, newLocker), append(closes, closeClient)
	}
	newContender := func(i int) locker { return makers[i%len(makers)]() }
	if _, _, err := contend(ctx, o, o.time/5, "bench:warm", newContender); err != nil {
		closeAll()
		return nil, nil, err
	}
	return newContender, closeAll, nil
}

// contend lets all contenders take, hold and release one lock again and again
// for d. It returns how often each got it and how long they waited, and fails
// if two ever held it at once.
func contend(ctx context.Context, o options, d time.Duration, name string, newContender func(i int) locker) (counts []int, all waits, err error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	counts = make([]int, o.contenders)
	each, errs := make([]waits, o.contenders), make([]error, o.contenders)
	var inside atomic.Int32
	var wg sync.WaitGroup
	for i := range o.contenders {
		wg.Go(func() {
			k := newContender(i)
			for ctx.Err() == nil {
				start := time.Now()
				h, err := k.lock(ctx, name)
				each[i] = append(each[i], time.Since(start))
				if err != nil {
					if ctx.Err() == nil {
						errs[i] = err
					}
					return
				}
				counts[i]++
				if n := inside.Add(1); n != 1 {
					errs[i] = fmt.Errorf("%d hold the lock at once", n)
				}
				time.Sleep(o.hold)
				inside.Add(-1)
				if err := h.Release(context.WithoutCancel(ctx)); err != nil && errs[i] == nil {
					errs[i] = err
				}
				if errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, w := range each {
		all = append(all, w...)
	}
	slices.Sort(all)
	return counts, all, errors.Join(errs...)
}

// jain is Jain's index of fairness: (Σx)² / (n Σx²).
func jain(counts []int) float64 {
	var total, squares float64
	for _, n := range counts {
		total += float64(n)
		squares += float64(n) * float64(n)
	}
	if squares == 0 {
		return 0
	}
	return total * total / (float64(len(counts)) * squares)
}

func sum(counts []int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}
