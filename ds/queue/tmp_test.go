package queue_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/queue"
)

func TestProf(t *testing.T) {
	_, c := setup(t)
	q := queue.New[email](c, "bench")
	const N = 100000
	q.EnqueueMany(t.Context(), mails(N))
	cmd(t, c, "CONFIG", "RESETSTAT")
	ctx, cancel := context.WithCancel(t.Context())
	var left atomic.Int64
	left.Store(N)
	start := time.Now()
	q.Work(ctx, func(context.Context, *queue.Job[email]) error {
		if left.Add(-1) == 0 {
			cancel()
		}
		return nil
	}, queue.Concurrency(10))
	t.Log(time.Since(start))
	t.Log(cmd(t, c, "INFO", "commandstats").Text())
	t.Log(cmd(t, c, "INFO", "cpu").Text())
}
