package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncgoredis "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
)

// locker is one caller's way to a lock. lock waits for it; its errors wrap the
// cause of ctx, if that has ended.
type locker interface {
	lock(ctx context.Context, name string) (held, error)
}

// held is a lock that is held.
type held interface {
	Release(ctx context.Context) error
}

// locks is a library of locks. open returns what makes the locker of one caller.
type locks struct {
	name        string
	waits       bool // for a lock that is not free
	cancellable bool // its callers' contexts can end
	open        func(ctx context.Context, addr string) (newLocker func() locker, closeClient func(), err error)
}

var lockLibraries = []locks{
	{name: "redisx", waits: true, open: openLease()},
	{name: "redisx, cancellable", cancellable: true, open: openLease()},
	{name: "redisx, Fair", waits: true, open: openLease(lease.Fair())},
	{name: "rueidislock", waits: true, open: openRueidislock(0)},
	{name: "rueidislock, cancellable", cancellable: true, open: openRueidislock(0)},
	{name: "rueidislock, 20us delay", open: openRueidislock(20 * time.Microsecond)},
	{name: "redsync", waits: true, open: openRedsync},
	{name: "SET NX, redisx", open: openBareRedisx},
	{name: "SET NX, rueidis", open: openBareRueidis},
}

// ttl is for how long a lock is granted, without renewal.
const ttl = 10 * time.Second

// freeLocks are the libraries at a job: to lock and unlock a name that is free,
// one for each caller.
func freeLocks() []library {
	var all []library
	for _, l := range lockLibraries {
		all = append(all, library{name: l.name, open: func(ctx context.Context, addr string) (func(int) func() error, func(), error) {
			newLocker, closeClient, err := l.open(ctx, addr)
			return func(caller int) func() error {
				k, name := newLocker(), fmt.Sprintf("bench:lock:%03d", caller)
				ctx := ctx
				if l.cancellable {
					ctx = cancellable()
				}
				return func() error {
					h, err := k.lock(ctx, name)
					if err != nil {
						return err
					}
					return h.Release(ctx)
				}
			}, closeClient, err
		}})
	}
	return all
}

// cancellable returns a context like an HTTP request's, one for each caller: no
// deadline, but it can end.
func cancellable() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(context.Background(), cancel) // never called: it lives as long as the program
	return ctx
}

// leases locks by ds/lease.
type leases struct {
	c    *redisx.Client
	opts []lease.Option
}

func (l leases) lock(ctx context.Context, name string) (held, error) {
	return lease.Acquire(ctx, l.c, name, l.opts...)
}

func openLease(opts ...lease.Option) func(context.Context, string) (func() locker, func(), error) {
	return func(ctx context.Context, addr string) (func() locker, func(), error) {
		c, err := redisx.Connect(ctx, "redis://"+addr)
		if err != nil {
			return nil, nil, err
		}
		return func() locker { return &leases{c, opts} }, func() { c.Close() }, nil
	}
}

// rueidislocks locks by rueidislock with one key: what it offers for one
// server.
type rueidislocks struct{ l rueidislock.Locker }

func (r rueidislocks) lock(ctx context.Context, name string) (held, error) {
	_, cancel, err := r.l.WithContext(ctx, name)
	return cancels(cancel), err
}

// cancels is a lock that its function releases.
type cancels context.CancelFunc

func (c cancels) Release(context.Context) error {
	c() // returns when the server has deleted the key
	return nil
}

// openRueidislock takes how long rueidis holds requests back to send more at
// once: it is faster with many callers then, and slower with few.
func openRueidislock(delay time.Duration) func(context.Context, string) (func() locker, func(), error) {
	return func(_ context.Context, addr string) (func() locker, func(), error) {
		l, err := rueidislock.NewLocker(rueidislock.LockerOption{
			ClientOption: rueidis.ClientOption{InitAddress: []string{addr}, MaxFlushDelay: delay},
			KeyMajority:  1, NoLoopTracking: true, KeyValidity: ttl,
			// Its 20 ms by default are too few on a busy machine: after an answer
			// that comes later it waits, for ever, for somebody to unlock.
			TryNextAfter: time.Second,
		})
		if err != nil {
			return nil, nil, err
		}
		return func() locker { return rueidislocks{l} }, l.Close, nil
	}
}

// redsyncs locks by redsync on go-redis, its delays as they are by default. It
// tries as long as its context lasts; the default is 32 times.
type redsyncs struct {
	r *redsync.Redsync
	m *redsync.Mutex // of the name used last
}

func (r *redsyncs) lock(ctx context.Context, name string) (held, error) {
	if r.m == nil || r.m.Name() != name {
		r.m = r.r.NewMutex(name, redsync.WithTries(math.MaxInt), redsync.WithExpiry(ttl))
	}
	err := r.m.LockContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return mutex{r.m}, err
}

type mutex struct{ *redsync.Mutex }

func (m mutex) Release(ctx context.Context) error {
	ok, err := m.UnlockContext(ctx)
	if err == nil && !ok {
		err = errNotHeld
	}
	return err
}

func openRedsync(_ context.Context, addr string) (func() locker, func(), error) {
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	r := redsync.New(redsyncgoredis.NewPool(c))
	return func() locker { return &redsyncs{r: r} }, func() { c.Close() }, nil
}

// The bare locks are what people write themselves: the least that a lock of one
// server can cost. They do not wait, renew, or fence.
const unlockSource = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`

// bareID stands for a random id.
const bareID = "0123456789abcdef0123456789abcdef"

var errNotHeld = errors.New("it was not held any more")

type bareRedisx struct {
	c      *redisx.Client
	unlock *command.Script
	name   string
}

func (b *bareRedisx) lock(ctx context.Context, name string) (held, error) {
	b.name = name
	_, err := command.Do(ctx, b.c, command.Set(name, bareID, command.NX, command.EX(ttl)))
	return b, err
}

func (b *bareRedisx) Release(ctx context.Context) error {
	ok, err := command.RunScript(ctx, b.c, b.unlock, command.AsBool, []string{b.name}, command.Str(bareID))
	if err == nil && !ok {
		err = errNotHeld
	}
	return err
}

func openBareRedisx(ctx context.Context, addr string) (func() locker, func(), error) {
	c, err := redisx.Connect(ctx, "redis://"+addr)
	if err != nil {
		return nil, nil, err
	}
	unlock := command.NewScript(unlockSource)
	return func() locker { return &bareRedisx{c: c, unlock: unlock} }, func() { c.Close() }, nil
}

type bareRueidis struct {
	c            rueidis.Client
	unlock       *rueidis.Lua
	keys, values []string
}

func (b *bareRueidis) lock(ctx context.Context, name string) (held, error) {
	b.keys[0] = name
	return b, b.c.Do(ctx, b.c.B().Set().Key(name).Value(bareID).Nx().Px(ttl).Build()).Error()
}

func (b *bareRueidis) Release(ctx context.Context) error {
	n, err := b.unlock.Exec(ctx, b.c, b.keys, b.values).AsInt64()
	if err == nil && n == 0 {
		err = errNotHeld
	}
	return err
}

func openBareRueidis(_ context.Context, addr string) (func() locker, func(), error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		return nil, nil, err
	}
	unlock := rueidis.NewLuaScript(unlockSource)
	return func() locker {
		return &bareRueidis{c: c, unlock: unlock, keys: make([]string, 1), values: []string{bareID}}
	}, c.Close, nil
}
