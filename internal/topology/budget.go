package topology

import (
	"sync"
	"time"
)

const (
	share       = 0.1 // of the traffic
	refillEvery = 10 * time.Millisecond
)

// budget bounds the attempts beyond the first to a share of the traffic.
type budget struct {
	burst   float64
	traffic func() int64 // commands sent so far, attempts beyond the first too

	mu    sync.Mutex
	left  float64
	seen  int64     // traffic that has been credited
	taken int64     // by attempts, which earn nothing
	at    time.Time // of the last look at the traffic, which costs a little
}

func newBudget(burst int, traffic func() int64) *budget {
	return &budget{burst: float64(burst), left: float64(burst), traffic: traffic}
}

// take takes n attempts, all or none.
func (b *budget) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill()
	if b.left < float64(n) {
		return false
	}
	b.left -= float64(n)
	b.taken += int64(n)
	return true
}

// remaining returns how many attempts may be made now.
func (b *budget) remaining() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = time.Time{}
	b.refill()
	return b.left
}

func (b *budget) refill() {
	now := time.Now()
	if !b.at.IsZero() && now.Sub(b.at) < refillEvery {
		return
	}
	b.at = now
	first := b.traffic() - b.taken
	if n := first - b.seen; n > 0 {
		b.left = min(b.left+share*float64(n), b.burst)
		b.seen = first
	}
}
