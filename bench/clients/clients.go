package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/redisx/redisx"
)

// client is one way to run the operation. open returns the operation, safe for
// concurrent use unless the client is lone, and what closes the client.
type client struct {
	name string
	lone bool // for one caller only
	open func(ctx context.Context, addr string, o options) (op func() error, closeClient func(), err error)
}

const key = "bench:key"

var clients = []client{
	{"raw net.Conn", true, openRaw},
	{"redisx", false, openRedisx(context.Background())},
	{"redisx, cancellable", false, openRedisx(cancellable())},
	{"rueidis", false, openRueidis(0, context.Background())},
	{"rueidis, cancellable", true, openRueidis(0, cancellable())},
	{"rueidis, 20us delay", false, openRueidis(20*time.Microsecond, context.Background())},
	{"go-redis", false, openGoRedis},
	{"go-redis AutoPipeline", false, openGoRedisAuto},
	{"redigo", false, openRedigo},
}

// cancellable is a context like an HTTP request's: no deadline, but it can end.
func cancellable() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(context.Background(), cancel) // never called: it lives as long as the program
	return ctx
}

// openRaw is the floor: one connection, one write, one read that does not even
// decode.
func openRaw(_ context.Context, addr string, o options) (func() error, func(), error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	value := strings.Repeat("x", o.size)
	set := "*3\r\n$3\r\nSET\r\n$" + strconv.Itoa(len(key)) + "\r\n" + key + "\r\n$" + strconv.Itoa(o.size) + "\r\n" + value + "\r\n"
	r := bufio.NewReader(nc)
	if _, err := io.WriteString(nc, set); err != nil {
		return nil, nil, err
	}
	if _, err := r.ReadString('\n'); err != nil {
		return nil, nil, err
	}
	request, answer := []byte(set), len("+OK\r\n")
	if o.op == "get" {
		request = []byte("*2\r\n$3\r\nGET\r\n$" + strconv.Itoa(len(key)) + "\r\n" + key + "\r\n")
		answer = o.size + len("$\r\n\r\n") + len(strconv.Itoa(o.size))
	}
	buf := make([]byte, 64<<10)
	return func() error {
		if _, err := nc.Write(request); err != nil {
			return err
		}
		for got := 0; got < answer; {
			n, err := nc.Read(buf)
			if err != nil {
				return err
			}
			got += n
		}
		return nil
	}, func() { nc.Close() }, nil
}

func openRedisx(ctx context.Context) func(context.Context, string, options) (func() error, func(), error) {
	return func(open context.Context, addr string, o options) (func() error, func(), error) {
		c, err := redisx.Connect(open, "redis://"+addr)
		if err != nil {
			return nil, nil, err
		}
		value := strings.Repeat("x", o.size)
		op := func() error { return c.Set(ctx, key, value) }
		if err := op(); err != nil {
			return nil, nil, err
		}
		if o.op == "get" {
			op = func() error {
				_, err := c.Get(ctx, key)
				return err
			}
		}
		return op, func() { c.Close() }, nil
	}
}

func openRueidis(delay time.Duration, ctx context.Context) func(context.Context, string, options) (func() error, func(), error) {
	return func(_ context.Context, addr string, o options) (func() error, func(), error) {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, MaxFlushDelay: delay, DisableCache: true})
		if err != nil {
			return nil, nil, err
		}
		value := strings.Repeat("x", o.size)
		op := func() error { return c.Do(ctx, c.B().Set().Key(key).Value(value).Build()).Error() }
		if err := op(); err != nil {
			return nil, nil, err
		}
		if o.op == "get" {
			op = func() error {
				_, err := c.Do(ctx, c.B().Get().Key(key).Build()).ToString()
				return err
			}
		}
		return op, c.Close, nil
	}
}

func openGoRedis(ctx context.Context, addr string, o options) (func() error, func(), error) {
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	value := strings.Repeat("x", o.size)
	op := func() error { return c.Set(ctx, key, value, 0).Err() }
	if err := op(); err != nil {
		return nil, nil, err
	}
	if o.op == "get" {
		op = func() error { return c.Get(ctx, key).Err() }
	}
	return op, func() { c.Close() }, nil
}

// openGoRedisAuto is go-redis' experimental automatic pipelining.
func openGoRedisAuto(ctx context.Context, addr string, o options) (func() error, func(), error) {
	c := goredis.NewClient(&goredis.Options{Addr: addr})
	ap, err := c.AutoPipeline()
	if err != nil {
		return nil, nil, err
	}
	value := strings.Repeat("x", o.size)
	op := func() error { return ap.Set(ctx, key, value, 0).Err() }
	if err := op(); err != nil {
		return nil, nil, err
	}
	if o.op == "get" {
		op = func() error { return ap.Get(ctx, key).Err() }
	}
	return op, func() { ap.Close(); c.Close() }, nil
}

func openRedigo(_ context.Context, addr string, o options) (func() error, func(), error) {
	pool := &redis.Pool{MaxIdle: 50, MaxActive: 50, Wait: true, Dial: func() (redis.Conn, error) { return redis.Dial("tcp", addr) }}
	value := strings.Repeat("x", o.size)
	do := func(name string, args ...any) error {
		c := pool.Get()
		defer c.Close()
		_, err := redis.String(c.Do(name, args...))
		return err
	}
	op := func() error { return do("SET", key, value) }
	if err := op(); err != nil {
		return nil, nil, err
	}
	if o.op == "get" {
		op = func() error { return do("GET", key) }
	}
	return op, func() { pool.Close() }, nil
}
