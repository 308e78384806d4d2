package coalesce_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func benchClient(b *testing.B) *redisx.Client {
	b.Helper()
	c, err := redisx.Connect(b.Context(), serverstest.Start(b).URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	b.ReportAllocs()
	return c
}

// BenchmarkHit reads a value that is there; get is the plain GET beside it.
func BenchmarkHit(b *testing.B) {
	for _, width := range []int{1, 64} {
		b.Run("do/"+strconv.Itoa(width), func(b *testing.B) {
			c := benchClient(b)
			b.SetParallelism(width)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := coalesce.Do(b.Context(), c, "k", func(context.Context) (int, error) { return 1, nil }, coalesce.Keep(time.Hour)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
		b.Run("get/"+strconv.Itoa(width), func(b *testing.B) {
			c := benchClient(b)
			get := command.As(command.Untyped("GET", "k"), command.AsValue)
			b.SetParallelism(width)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := command.Do(b.Context(), c, get); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkMiss runs under a new name each time: a GET, a take and a store.
func BenchmarkMiss(b *testing.B) {
	c := benchClient(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			key := strconv.FormatInt(n.Add(1), 10)
			if _, err := coalesce.Do(b.Context(), c, key, func(context.Context) (int, error) { return 1, nil }); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkLocal runs and joins flights in the process.
func BenchmarkLocal(b *testing.B) {
	b.ReportAllocs()
	var g coalesce.Group
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := coalesce.Local(b.Context(), &g, "k", func(context.Context) (int, error) { return 1, nil }); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
