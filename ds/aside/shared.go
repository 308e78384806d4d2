package aside

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coalesce"
)

const (
	// maxAlone bounds the computes of a client that run without its server: all
	// processes compute then, for all that they have no value of.
	maxAlone = 32
	// maxRefreshes bounds the refreshes of a client in the background.
	maxRefreshes = 1024
)

// shared is what the calls of a client share.
type shared struct {
	group  coalesce.Group
	memory memory
	alone  chan struct{} // has a place for each compute without the server
	total  tally

	wg sync.WaitGroup // what runs in the background: callers of the group

	mu         sync.RWMutex
	closed     bool
	refreshing map[string]int64 // until when, by the monotonic clock, a key is not refreshed again
	tallies    map[string]*tally
}

type attached struct{}

// sharedOf returns what hangs on d, nil where d can own nothing. The error is
// that d is closed.
func sharedOf(d command.Doer) (*shared, error) {
	a, ok := d.(command.Attacher)
	if !ok {
		return nil, nil
	}
	c, err := a.Attach(attached{}, func() io.Closer { return newShared() })
	if err != nil {
		return nil, fmt.Errorf("aside: %w", err)
	}
	return c.(*shared), nil
}

func newShared() *shared {
	return &shared{alone: make(chan struct{}, maxAlone), refreshing: map[string]int64{}, tallies: map[string]*tally{}}
}

// Close ends all computes and refreshes and waits for them. The client calls
// it.
func (s *shared) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.memory.close()
	err := s.group.Close()
	s.wg.Wait()
	return err
}

// start is when this process's clock of the package began.
var start = time.Now()

// clock returns the monotonic time in nanoseconds.
func clock() int64 { return int64(time.Since(start)) }

// mayRefresh reports whether a key is to be refreshed now, and notes that it is,
// until refreshed.
func (s *shared) mayRefresh(key string) bool {
	now := clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if until, ok := s.refreshing[key]; ok && now < until || s.closed {
		return false
	}
	if len(s.refreshing) >= maxRefreshes {
		for k, until := range s.refreshing {
			if now >= until {
				delete(s.refreshing, k)
			}
		}
		if len(s.refreshing) >= maxRefreshes {
			return false
		}
	}
	s.refreshing[key] = math.MaxInt64
	return true
}

// refreshed notes the end of a refresh, and for how long there shall be no
// other.
func (s *shared) refreshed(key string, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pause == 0 {
		delete(s.refreshing, key)
		return
	}
	s.refreshing[key] = clock() + int64(pause)
}

// inBackground runs f, which calls the group, on a goroutine of its own, with the
// values of ctx, for limit at most. Close ends it, since it ends the group, and
// waits for it.
func (s *shared) inBackground(ctx context.Context, limit time.Duration, f func(ctx context.Context)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return
	}
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		f(ctx)
	})
}
