package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redisx/redisx/ds/smart"
)

const (
	waiters = 100
	settles = 300 * time.Millisecond // until the job is done
)

// playWait lets many callers wait for one key to say done.
func playWait(ctx context.Context, s *stage) ([]Verdict, error) {
	key := s.key("job:42:status")
	if err := s.client.Set(ctx, key, "running"); err != nil {
		return nil, err
	}
	before := smart.StatsOf(s.client).Reads
	done := smart.Key(key, func(v string, ok bool) bool { return ok && v == "done" })
	results := make(chan error, waiters)
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			_, err := smart.WaitFor(ctx, s.client, done, smart.Budget(10*time.Second))
			results <- err
		})
	}
	s.say.say("%d callers wait until %s says done", waiters, "job:42:status")
	time.AfterFunc(settles, func() { s.client.Set(ctx, key, "done") })
	wg.Wait()
	close(results)
	woken := 0
	for err := range results {
		if err == nil {
			woken++
		}
	}
	reads := smart.StatsOf(s.client).Reads - before
	s.say.say("all are back after %d reads of the key", reads)
	return judgeWait(woken, reads), nil
}

func judgeWait(woken int, reads int64) []Verdict {
	return []Verdict{
		{"smart", "every waiter wakes", fmt.Sprintf("%d of %d", woken, waiters), woken == waiters},
		{"smart", "the waiters share their reads", fmt.Sprintf("%d reads for %d waiters", reads, waiters), reads <= waiters/4},
	}
}
