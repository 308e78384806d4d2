package limiter_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redisx/redisx/ds/limiter"
)

// BenchmarkAllow decides for 10 000 keys, as x1 and as x64 callers.
func BenchmarkAllow(b *testing.B) {
	c, _ := setup(b)
	l := limiter.New(c, "100000/s", limiter.Burst(100_000))
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint("user:", i)
	}
	ctx := b.Context()
	b.Run("x1", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if _, err := l.Allow(ctx, names[i%len(names)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("x64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32) // of two cores
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := l.Allow(ctx, names[int(n.Add(1))%len(names)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
