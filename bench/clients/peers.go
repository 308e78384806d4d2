package main

import (
	"context"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// same makes the same operation for every caller.
func same(op func() error) func() func() error { return func() func() error { return op } }

func openRueidis(delay time.Duration, newContext func() context.Context) func(context.Context, string, options) (func() func() error, func(), error) {
	return func(_ context.Context, addr string, o options) (func() func() error, func(), error) {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, MaxFlushDelay: delay, DisableCache: true})
		if err != nil {
			return nil, nil, err
		}
		value := strings.Repeat("x", o.size)
		op := func() func() error { return rueidisOp(newContext(), c, o.op, value) }
		if op() == nil {
			c.Close()
			return nil, nil, errUnknown(o.op)
		}
		return op, c.Close, nil
	}
}

func rueidisOp(ctx context.Context, c rueidis.Client, op, value string) func() error {
	switch op {
	case "get":
		return func() error { return fails(c.Do(ctx, c.B().Get().Key(key).Build()).ToString()) }
	case "set":
		return func() error { return c.Do(ctx, c.B().Set().Key(key).Value(value).Build()).Error() }
	case "mget":
		return func() error { return fails(c.Do(ctx, c.B().Mget().Key(keys...).Build()).AsStrSlice()) }
	case "hgetall":
		return func() error { return fails(c.Do(ctx, c.B().Hgetall().Key("bench:hash").Build()).AsStrMap()) }
	case "xrange":
		return func() error {
			return fails(c.Do(ctx, c.B().Xrange().Key("bench:stream").Start("-").End("+").Build()).AsXRange())
		}
	case "zrange":
		return func() error {
			return fails(c.Do(ctx, c.B().Zrange().Key("bench:zset").Min("0").Max("-1").Withscores().Build()).AsZScores())
		}
	case "pipeline":
		batch := make(rueidis.Commands, many)
		return func() error {
			for i := range batch {
				batch[i] = c.B().Get().Key(key).Build()
			}
			for _, r := range c.DoMulti(ctx, batch...) {
				if _, err := r.ToString(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return nil
}

func openGoRedis(ctx context.Context, addr string, o options) (func() func() error, func(), error) {
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	op, err := goRedisOp(ctx, c, o)
	if op == nil && err == nil {
		op = func() error {
			p := c.Pipeline()
			var got [many]*goredis.StringCmd
			for i := range got {
				got[i] = p.Get(ctx, key)
			}
			if _, err := p.Exec(ctx); err != nil {
				return err
			}
			for _, g := range got {
				if _, err := g.Result(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return same(op), func() { c.Close() }, err
}

// goRedisOp returns the operation on c, or nil for a pipeline.
func goRedisOp(ctx context.Context, c goredis.Cmdable, o options) (func() error, error) {
	value := strings.Repeat("x", o.size)
	switch o.op {
	case "get":
		return func() error { return c.Get(ctx, key).Err() }, nil
	case "set":
		return func() error { return c.Set(ctx, key, value, 0).Err() }, nil
	case "mget":
		return func() error { return c.MGet(ctx, keys...).Err() }, nil
	case "hgetall":
		return func() error { return c.HGetAll(ctx, "bench:hash").Err() }, nil
	case "xrange":
		return func() error { return c.XRange(ctx, "bench:stream", "-", "+").Err() }, nil
	case "zrange":
		return func() error { return c.ZRangeWithScores(ctx, "bench:zset", 0, -1).Err() }, nil
	case "pipeline":
		return nil, nil
	}
	return nil, errUnknown(o.op)
}

// openGoRedisAuto is go-redis' experimental automatic pipelining.
func openGoRedisAuto(ctx context.Context, addr string, o options) (func() func() error, func(), error) {
	if o.op == "pipeline" {
		return nil, nil, nil // it is one already
	}
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	ap, err := c.AutoPipeline()
	if err != nil {
		return nil, nil, err
	}
	op, err := goRedisOp(ctx, ap, o)
	return same(op), func() { ap.Close(); c.Close() }, err
}

func openRedigo(_ context.Context, addr string, o options) (func() func() error, func(), error) {
	pool := &redis.Pool{MaxIdle: 50, MaxActive: 50, Wait: true, Dial: func() (redis.Conn, error) { return redis.Dial("tcp", addr) }}
	value := strings.Repeat("x", o.size)
	do := func(name string, args ...any) (any, error) {
		c := pool.Get()
		defer c.Close()
		return c.Do(name, args...)
	}
	var op func() error
	switch o.op {
	case "get":
		op = func() error { return fails(redis.String(do("GET", key))) }
	case "set":
		op = func() error { return fails(do("SET", key, value)) }
	case "mget":
		args := redis.Args{}.AddFlat(keys)
		op = func() error { return fails(redis.Strings(do("MGET", args...))) }
	case "hgetall":
		op = func() error { return fails(redis.StringMap(do("HGETALL", "bench:hash"))) }
	case "xrange": // it has no type for entries
		op = func() error { return fails(redis.Values(do("XRANGE", "bench:stream", "-", "+"))) }
	case "zrange":
		op = func() error { return fails(redis.Strings(do("ZRANGE", "bench:zset", 0, -1, "WITHSCORES"))) }
	case "pipeline":
		op = func() error { return redigoPipeline(pool) }
	default:
		return nil, nil, errUnknown(o.op)
	}
	return same(op), func() { pool.Close() }, nil
}

func redigoPipeline(pool *redis.Pool) error {
	c := pool.Get()
	defer c.Close()
	for range many {
		if err := c.Send("GET", key); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return err
	}
	for range many {
		if _, err := redis.String(c.Receive()); err != nil {
			return err
		}
	}
	return nil
}
