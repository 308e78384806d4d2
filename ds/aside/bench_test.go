package aside_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func benchClient(b *testing.B) *redisx.Client {
	b.Helper()
	c, err := redisx.Connect(b.Context(), serverstest.Start(b).URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func benchUser(context.Context, string) (user, error) { return user{"ada", []string{"a", "b"}}, nil }

// parallel runs call on that many goroutines a core.
func parallel(b *testing.B, width int, call func() error) {
	b.Helper()
	for range 2 { // computed, then read into memory
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.SetParallelism(width)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := call(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkMemory is a hit in memory: by a Cache, and by a function of the call.
func BenchmarkMemory(b *testing.B) {
	ctx := b.Context()
	b.Run("cache", func(b *testing.B) {
		c := aside.New(benchClient(b), time.Hour, benchUser, aside.Memory(1<<20))
		parallel(b, 1, func() error { _, err := c.Get(ctx, "k"); return err })
	})
	b.Run("function", func(b *testing.B) {
		c := benchClient(b)
		fn := func(ctx context.Context) (user, error) { return benchUser(ctx, "") }
		parallel(b, 1, func() error {
			_, err := aside.GetOrCompute(ctx, c, "k", time.Hour, fn, aside.Memory(1<<20))
			return err
		})
	})
}

// BenchmarkServer is a hit on the server; with tags it reads their generations,
// too.
func BenchmarkServer(b *testing.B) {
	for _, width := range []int{1, 64} {
		for name, opts := range map[string][]aside.Option{"plain": nil, "tags": {aside.Tags("a", "b")}} {
			b.Run(name+"/"+strconv.Itoa(width), func(b *testing.B) {
				c := aside.New(benchClient(b), time.Hour, benchUser, opts...)
				parallel(b, width, func() error { _, err := c.Get(b.Context(), "k"); return err })
			})
		}
	}
}

// BenchmarkMiss computes a new key each time: a read, a take and a store.
func BenchmarkMiss(b *testing.B) {
	c := aside.New(benchClient(b), time.Hour, benchUser)
	var n atomic.Int64
	parallel(b, 32, func() error {
		_, err := c.Get(b.Context(), strconv.FormatInt(n.Add(1), 10))
		return err
	})
}
