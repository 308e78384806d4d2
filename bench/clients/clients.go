package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
)

// client is one way to run the operation. open returns what makes the operation
// of one caller, and what closes the client.
type client struct {
	name  string
	lone  bool // for one caller only
	burst bool // measured after many callers have used it
	raw   bool // does not decode: the floor
	open  func(ctx context.Context, addr string, o options) (func() func() error, func(), error)
}

var clients = []client{
	{name: "raw net.Conn", lone: true, raw: true, open: openRaw},
	{name: "redisx", open: openRedisx(context.Background)},
	{name: "redisx, cancellable", open: openRedisx(cancellable)},
	{name: "redisx, after a burst", lone: true, burst: true, open: openRedisx(cancellable)},
	{name: "rueidis", open: openRueidis(0, context.Background)},
	{name: "rueidis, cancellable", open: openRueidis(0, cancellable)},
	{name: "rueidis, 20us delay", open: openRueidis(20*time.Microsecond, context.Background)},
	{name: "go-redis", open: openGoRedis},
	{name: "go-redis AutoPipeline", open: openGoRedisAuto},
	{name: "redigo", open: openRedigo},
}

// cancellable returns a context like an HTTP request's, one for each caller: no
// deadline, but it can end.
func cancellable() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(context.Background(), cancel) // never called: it lives as long as the program
	return ctx
}

// The operations. Those of many values count as so many.
const many = 100

var operations = []string{"get", "set", "pipeline", "mget", "hgetall", "xrange", "zrange"}

// values returns how many values one operation moves.
func values(op string) int {
	switch op {
	case "get", "set":
		return 1
	}
	return many
}

const key = "bench:key"

// keys are the keys of mget.
var keys = func() []string {
	k := make([]string, many)
	for i := range k {
		k[i] = fmt.Sprintf("bench:key:%02d", i)
	}
	return k
}()

// errUnknown is for an operation that a client cannot run.
func errUnknown(op string) error { return fmt.Errorf("operation %q is not one of %v", op, operations) }

// fill writes what the operations read.
func fill(ctx context.Context, addr string, o options) error {
	c, err := redisx.Connect(ctx, "redis://"+addr)
	if err != nil {
		return err
	}
	defer c.Close()
	value := strings.Repeat("x", o.size)
	p := c.Pipeline()
	p.Set(key, value)
	for i, k := range keys {
		p.Set(k, value)
		redisx.Queue(p, command.HSet("bench:hash", command.Pair{Key: k, Value: value}))
		redisx.Queue(p, command.ZAdd("bench:zset", []command.Z{{Score: float64(i), Member: k}}))
		redisx.Queue(p, command.XAdd("bench:stream", "*", []command.Pair{{Key: "name", Value: k}, {Key: "value", Value: value}}))
	}
	return p.Exec(ctx)
}

// openRaw is the floor: one connection, one write, reads until the known number
// of bytes has come, nothing decoded.
func openRaw(_ context.Context, addr string, o options) (func() func() error, func(), error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	bulk := func(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }
	get, value := "*2\r\n"+bulk("GET")+bulk(key), bulk(strings.Repeat("x", o.size))
	var request string
	var answer int
	switch o.op {
	case "get":
		request, answer = get, len(value)
	case "set":
		request, answer = "*3\r\n"+bulk("SET")+bulk(key)+value, len("+OK\r\n")
	case "pipeline":
		request, answer = strings.Repeat(get, many), many*len(value)
	case "mget":
		request = "*" + strconv.Itoa(many+1) + "\r\n" + bulk("MGET")
		for _, k := range keys {
			request += bulk(k)
		}
		answer = len("*100\r\n") + many*len(value)
	default:
		return nil, nil, errUnknown(o.op)
	}
	b, buf := []byte(request), make([]byte, 64<<10)
	r := bufio.NewReader(nc)
	return func() func() error {
		return func() error {
			if _, err := nc.Write(b); err != nil {
				return err
			}
			for got := 0; got < answer; {
				n, err := r.Read(buf)
				if err != nil && err != io.EOF || n == 0 {
					return err
				}
				got += n
			}
			return nil
		}
	}, func() { nc.Close() }, nil
}

func openRedisx(newContext func() context.Context) func(context.Context, string, options) (func() func() error, func(), error) {
	return func(open context.Context, addr string, o options) (func() func() error, func(), error) {
		c, err := redisx.Connect(open, "redis://"+addr)
		if err != nil {
			return nil, nil, err
		}
		value := strings.Repeat("x", o.size)
		op := func() func() error {
			ctx := newContext()
			switch o.op {
			case "get":
				return func() error { return fails(c.Get(ctx, key)) }
			case "set":
				return func() error { return c.Set(ctx, key, value) }
			case "mget":
				return func() error { return fails(c.MGet(ctx, keys...)) }
			case "hgetall":
				return func() error { return fails(c.HGetAll(ctx, "bench:hash")) }
			case "xrange":
				return func() error { return fails(c.XRange(ctx, "bench:stream", "-", "+")) }
			case "zrange":
				return func() error { return fails(c.ZRangeWithScores(ctx, "bench:zset", 0, -1)) }
			case "pipeline":
				p, f := c.Pipeline(), make([]redisx.Future[string], many)
				return func() error {
					p.Reset()
					for i := range f {
						f[i] = p.Get(key)
					}
					if err := p.Exec(ctx); err != nil {
						return err
					}
					for i := range f {
						if _, err := f[i].Result(); err != nil {
							return err
						}
					}
					return nil
				}
			}
			return nil
		}
		if op() == nil {
			c.Close()
			return nil, nil, errUnknown(o.op)
		}
		return op, func() { c.Close() }, nil
	}
}

// fails is the error of a call whose result is of no interest.
func fails[T any](_ T, err error) error { return err }
