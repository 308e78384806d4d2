package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/internal/servers"
)

// waitLibrary is a way to wait until a key has a value.
type waitLibrary struct {
	name string
	open func(ctx context.Context, addr string) (waitFor, func(), error)
}

// waitFor returns when key has the value want. It calls seen, at least once,
// when it has found another.
type waitFor func(ctx context.Context, key, want string, seen func()) error

var waitLibraries = []waitLibrary{
	{"redisx", openSmart},
	{"GET each 50 ms, go-redis", openPolling},
}

func openSmart(ctx context.Context, addr string) (waitFor, func(), error) {
	c, err := redisx.Connect(ctx, "redis://"+addr)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, key, want string, seen func()) error {
		_, err := smart.WaitFor(ctx, c, smart.Key(key, func(v string, _ bool) bool {
			if v != want {
				seen()
			}
			return v == want
		}))
		return err
	}, func() { c.Close() }, nil
}

// openPolling is what is written by hand where no library waits.
func openPolling(_ context.Context, addr string) (waitFor, func(), error) {
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	return func(ctx context.Context, key, want string, seen func()) error {
		for {
			v, err := c.Get(ctx, key).Result()
			if err != nil && !errors.Is(err, goredis.Nil) || v == want {
				return err
			}
			seen()
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}, func() { c.Close() }, nil
}

// wakes is one run of many waiters.
type wakes struct {
	took    []time.Duration // from before the SET to the waiter's return, sorted
	changes int
	cpu     time.Duration // of this process, per wake
	server  time.Duration // processor time, per change
}

// compareWaits lets every library's waiters, spread over so many keys, wait for
// one change after the other.
func compareWaits(ctx context.Context, o options, server *servers.Server, keys int) error {
	var names []string
	for _, l := range waitLibraries {
		names = append(names, l.name)
	}
	names = o.chosen(names)
	samples, err := interleaved(names, o.reps, func(name string) (wakes, error) { return runWaits(ctx, o, name, server, keys) })
	if err != nil {
		return err
	}
	fmt.Printf("\nWAIT, %d waiters on %d keys\n%-24s %8s %9s %9s %9s %9s %9s %9s\n", o.waiters, keys,
		"library", "changes", "p50 us", "p99 us", "max us", "cpu us", "server us", "requests")
	for _, name := range names {
		s := samples[name]
		requests, err := waitTraffic(ctx, o, name, server, keys)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		at := func(q float64) float64 { return median(s, func(w wakes) float64 { return us(quantile(w.took, q)) }) }
		fmt.Printf("%-24s %8.0f %9.1f %9.1f %9.1f %9.2f %9.2f %9.2f\n", name,
			median(s, func(w wakes) float64 { return float64(w.changes) }), at(0.50), at(0.99), at(1),
			median(s, func(w wakes) float64 { return us(w.cpu) }),
			median(s, func(w wakes) float64 { return us(w.server) }), requests)
	}
	return nil
}

func runWaits(ctx context.Context, o options, name string, server *servers.Server, keys int) (wakes, error) {
	w, closeAll, err := openWaits(ctx, o, name, server, keys)
	if err != nil {
		return wakes{}, err
	}
	defer closeAll()
	var took []time.Duration
	var changes int
	u, err := measured(server, func() (err error) {
		took, changes, err = w.run(ctx, o.time)
		return err
	})
	if err != nil {
		return wakes{}, err
	}
	slices.Sort(took)
	return wakes{took: took, changes: changes, cpu: u.cpu / time.Duration(len(took)), server: u.server / time.Duration(changes)}, nil
}

// waitTraffic returns what the waiters ask the server for one change: from the
// beginning of a wait to its end, without the SET.
func waitTraffic(ctx context.Context, o options, name string, server *servers.Server, keys int) (float64, error) {
	w, closeAll, err := openWaits(ctx, o, name, server, keys)
	if err != nil {
		return 0, err
	}
	defer closeAll()
	var changes int
	t, err := counted(server, func() (err error) {
		_, changes, err = w.run(ctx, o.time/2)
		return err
	})
	if err != nil {
		return 0, err
	}
	requests, _ := t.per(changes)
	return requests - 1, nil
}

// waiting is waiters and who wakes them.
type waiting struct {
	waitFor waitFor
	setter  *redisx.Client
	waiters int
	keys    []string
	round   int
}

func openWaits(ctx context.Context, o options, name string, server *servers.Server, keys int) (*waiting, func(), error) {
	if err := empty(ctx, server); err != nil {
		return nil, nil, err
	}
	setter, err := redisx.Connect(ctx, server.URL())
	if err != nil {
		return nil, nil, err
	}
	library := waitLibraries[slices.IndexFunc(waitLibraries, func(l waitLibrary) bool { return l.name == name })]
	wait, closeClient, err := library.open(ctx, server.Addr)
	if err != nil {
		setter.Close()
		return nil, nil, err
	}
	closeAll := func() {
		closeClient()
		setter.Close()
	}
	w := &waiting{waitFor: wait, setter: setter, waiters: o.waiters, keys: make([]string, keys)}
	for i := range w.keys {
		w.keys[i] = fmt.Sprintf("bench:wait:%04d", i)
	}
	if _, _, err := w.run(ctx, o.time/5); err != nil {
		closeAll()
		return nil, nil, err
	}
	return w, closeAll, nil
}

// run plays rounds for d, one at least.
func (w *waiting) run(ctx context.Context, d time.Duration) (took []time.Duration, changes int, err error) {
	for end := time.Now().Add(d); changes == 0 || time.Now().Before(end); changes += len(w.keys) {
		if err := w.play(ctx, &took); err != nil {
			return nil, 0, err
		}
	}
	return took, changes, nil
}

// play lets all waiters begin, changes every key once when all have looked, and
// adds how long each took from the change of its key.
func (w *waiting) play(ctx context.Context, took *[]time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("a waiter was not woken within a minute"))
	defer cancel()
	w.round++
	want := strconv.Itoa(w.round)
	set, woke, errs := make([]time.Time, len(w.keys)), make([]time.Time, w.waiters), make([]error, w.waiters)
	var missing atomic.Int32
	missing.Store(int32(w.waiters))
	all := make(chan struct{})
	var wg sync.WaitGroup
	for i := range w.waiters {
		wg.Go(func() {
			looked := sync.OnceFunc(func() {
				if missing.Add(-1) == 0 {
					close(all)
				}
			})
			errs[i] = w.waitFor(ctx, w.keys[i%len(w.keys)], want, looked)
			woke[i] = time.Now()
			if errs[i] != nil {
				cancel()
			}
		})
	}
	select {
	case <-all:
	case <-ctx.Done():
	}
	for i, k := range w.keys {
		set[i] = time.Now()
		if err := w.setter.Set(ctx, k, want); err != nil {
			cancel()
			wg.Wait()
			return errors.Join(append(errs, err)...)
		}
	}
	wg.Wait()
	for i, t := range woke {
		*took = append(*took, t.Sub(set[i%len(w.keys)]))
	}
	return errors.Join(errs...)
}
