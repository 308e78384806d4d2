package demo

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/redisx/redisx/ds/limiter"
)

const (
	ratePerSecond = 20
	turn          = time.Second / ratePerSecond
	burst         = 5
	hammers       = 8
	hammerFor     = 1500 * time.Millisecond
)

// playLimiter lets eight callers hammer one key and counts, on the server, what
// got through.
func playLimiter(ctx context.Context, s *stage) ([]Verdict, error) {
	l := limiter.New(s.client, fmt.Sprintf("%d/s", ratePerSecond), limiter.Burst(burst), limiter.Namespace(s.namespace))
	s.say.say("%d callers hammer an API that admits %d/s, burst %d, for %v", hammers, ratePerSecond, burst, hammerFor)
	from, err := s.client.Time(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var denied int
	var told time.Duration // the longest wait that a denied caller was told
	var failed error
	end := time.Now().Add(hammerFor)
	var wg sync.WaitGroup
	for range hammers {
		wg.Go(func() {
			for time.Now().Before(end) {
				d, err := l.Allow(ctx, "api:/users")
				if err == nil && d.Allowed {
					_, err = s.client.Incr(ctx, s.key("admitted"))
				}
				mu.Lock()
				if err != nil {
					failed = err
				} else if !d.Allowed {
					denied++
					told = max(told, d.RetryAfter)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	to, err := s.client.Time(ctx)
	if err != nil {
		return nil, err
	}
	admitted, err := s.number(ctx, s.key("admitted"))
	if err != nil {
		return nil, err
	}
	s.say.say("%d calls admitted, %d refused", admitted, denied)
	return judgeLimiter(ctx, s, l, admitted, to.Sub(from), told)
}

func judgeLimiter(ctx context.Context, s *stage, l *limiter.Limiter, admitted int64, took, told time.Duration) ([]Verdict, error) {
	most := int64(burst + math.Floor(ratePerSecond*took.Seconds()))
	var retry time.Duration
	for retry == 0 {
		d, err := l.Allow(ctx, "api:/users")
		if err != nil {
			return nil, err
		}
		retry = d.RetryAfter
	}
	s.say.say("one more caller is refused and told to come back in %v", retry.Round(10*time.Microsecond))
	select {
	case <-time.After(retry):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	d, err := l.Allow(ctx, "api:/users")
	if err != nil {
		return nil, err
	}
	return []Verdict{
		{"limiter", "never more than burst + rate x time", fmt.Sprintf("%d admitted, at most %d in %.2f s", admitted, most, took.Seconds()), admitted <= most},
		{"limiter", "refusals cost nothing: the next call fits in a turn", fmt.Sprintf("told %v at most, a turn is %v", told.Round(10*time.Microsecond), turn), told <= turn},
		{"limiter", "who waits RetryAfter is admitted", fmt.Sprintf("after %v: admitted is %v", retry.Round(10*time.Microsecond), d.Allowed), d.Allowed},
	}, nil
}
