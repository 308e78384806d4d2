package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
	"github.com/redis/rueidisaside/rueidisaside"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/aside"
)

// caches serve a value that is there: from memory, or with one round trip.
var caches = []library{
	{name: "redisx, memory", open: openAside(aside.Memory(1 << 20)), local: true},
	{name: "rueidisaside", open: openRueidisaside(false), local: true},
	{name: "redisx", open: openAside()},
	{name: "rueidisaside, no memory", open: openRueidisaside(true)},
}

func cacheKey(caller int) string { return fmt.Sprintf("bench:cache:%03d", caller) }

// compute makes the value of a key that nobody has stored.
func compute(context.Context, string) (string, error) { return payload, nil }

func openAside(opts ...aside.Option) func(context.Context, string) (func(int) func() error, func(), error) {
	return func(ctx context.Context, addr string) (func(int) func() error, func(), error) {
		c, err := redisx.Connect(ctx, "redis://"+addr)
		if err != nil {
			return nil, nil, err
		}
		values := aside.New(c, time.Hour, compute, opts...)
		return func(caller int) func() error {
			key := cacheKey(caller)
			return func() error {
				v, err := values.Get(ctx, key)
				if err == nil && v != payload {
					err = errOtherValue
				}
				return err
			}
		}, func() { c.Close() }, nil
	}
}

// openRueidisaside takes whether to leave out the client-side cache that each
// value comes from otherwise.
func openRueidisaside(noMemory bool) func(context.Context, string) (func(int) func() error, func(), error) {
	return func(ctx context.Context, addr string) (func(int) func() error, func(), error) {
		c, err := rueidisaside.NewClient(rueidisaside.ClientOption{
			ClientOption: rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: noMemory},
		})
		if err != nil {
			return nil, nil, err
		}
		return func(caller int) func() error {
			key := cacheKey(caller)
			return func() error {
				v, err := c.Get(ctx, time.Hour, key, compute)
				if err == nil && v != payload {
					err = errOtherValue
				}
				return err
			}
		}, c.Close, nil
	}
}
