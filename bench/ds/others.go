package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/hibiken/asynq"
	goredis "github.com/redis/go-redis/v9"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/ds/queue"
)

// perSecond is a rate that nobody reaches: a denied call has less to do.
const perSecond = 10_000_000

var (
	errDenied     = errors.New("the call was denied")
	errOtherValue = errors.New("the cache has another value")
)

var limiters = []library{
	{name: "redisx", open: openLimiter},
	{name: "redis_rate", open: openRedisRate},
	{name: "redisx, Stock", open: openStock, local: true},
}

func bucket(caller int) string { return fmt.Sprintf("bench:bucket:%03d", caller) }

func openLimiter(ctx context.Context, addr string) (func(int) func() error, func(), error) {
	c, err := redisx.Connect(ctx, "redis://"+addr)
	if err != nil {
		return nil, nil, err
	}
	l := limiter.New(c, fmt.Sprint(perSecond, "/s"))
	return func(caller int) func() error {
		key := bucket(caller)
		return func() error {
			d, err := l.Allow(ctx, key)
			if err == nil && !d.Allowed {
				err = errDenied
			}
			return err
		}
	}, func() { c.Close() }, nil
}

// openStock decides in the process, by chunks that it has taken ahead, for all
// callers by one bucket.
func openStock(ctx context.Context, addr string) (func(int) func() error, func(), error) {
	c, err := redisx.Connect(ctx, "redis://"+addr)
	if err != nil {
		return nil, nil, err
	}
	s, err := limiter.New(c, "100000000/s").Stock(bucket(0), 1_000_000)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return func(int) func() error { return func() error { return s.Take(ctx, 1) } }, func() { c.Close() }, nil
}

func openRedisRate(ctx context.Context, addr string) (func(int) func() error, func(), error) {
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	l, limit := redis_rate.NewLimiter(c), redis_rate.Limit{Rate: perSecond, Burst: perSecond, Period: time.Second}
	return func(caller int) func() error {
		key := bucket(caller)
		return func() error {
			r, err := l.Allow(ctx, key, limit)
			if err == nil && r.Allowed == 0 {
				err = errDenied
			}
			return err
		}
	}, func() { c.Close() }, nil
}

var queues = []library{
	{name: "redisx", open: openQueue},
	{name: "asynq", open: openAsynq},
}

var payload = strings.Repeat("x", 64)

func openQueue(ctx context.Context, addr string) (func(int) func() error, func(), error) {
	c, err := redisx.Connect(ctx, "redis://"+addr)
	if err != nil {
		return nil, nil, err
	}
	q := queue.New[string](c, "bench")
	return func(int) func() error {
		return func() error {
			_, err := q.Enqueue(ctx, payload)
			return err
		}
	}, func() { c.Close() }, nil
}

func openAsynq(ctx context.Context, addr string) (func(int) func() error, func(), error) {
	c := asynq.NewClient(asynq.RedisClientOpt{Addr: addr})
	body := []byte(payload)
	return func(int) func() error {
		return func() error {
			_, err := c.EnqueueContext(ctx, asynq.NewTask("bench", body))
			return err
		}
	}, func() { c.Close() }, nil
}
