package queue_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redisx/redisx/ds/queue"
)

// BenchmarkWork drains no-op jobs: claim, decode, handle, acknowledge.
func BenchmarkWork(b *testing.B) {
	for _, n := range []int{10, 64} {
		b.Run(fmt.Sprintf("c=%d", n), func(b *testing.B) {
			_, c := setup(b)
			q := queue.New[email](c, "bench")
			if _, err := q.EnqueueMany(b.Context(), mails(b.N)); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			err := q.Work(ctx, func(context.Context, *queue.Job[email]) error {
				if left.Add(-1) == 0 {
					cancel()
				}
				return nil
			}, queue.Concurrency(n))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkEnqueue adds jobs one by one from many goroutines.
func BenchmarkEnqueue(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("x%d", n), func(b *testing.B) {
			_, c := setup(b)
			q := queue.New[email](c, "bench")
			v := mails(1)[0]
			var wg sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			for range n {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := q.Enqueue(b.Context(), v); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
}

// BenchmarkEnqueueMany adds jobs a hundred at a time.
func BenchmarkEnqueueMany(b *testing.B) {
	_, c := setup(b)
	q := queue.New[email](c, "bench")
	vs := mails(100)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(vs) {
		if _, err := q.EnqueueMany(b.Context(), vs[:min(len(vs), b.N-i)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}
