package limiter

import (
	"strings"
	"sync"
	"time"
)

// Fallback is what decides when the server cannot: Open, Closed or Local, for
// OnError. The zero value returns the error.
type Fallback struct {
	how  fall
	rate Rate
	err  error
}

type fall int

const (
	fallNone fall = iota
	fallOpen
	fallClosed
	fallLocal
)

var (
	// Open admits every call.
	Open = Fallback{how: fallOpen}
	// Closed denies every call, with a RetryAfter of a second.
	Closed = Fallback{how: fallClosed}
)

// closedRetry is when a call that was refused unasked may come again.
const closedRetry = time.Second

// Local lets this process decide by a rate of its own, by GCRA and its own
// monotonic clock: all n processes together admit n times that rate. A group
// counts by all its keys together. It knows at most 4096 keys that are in use at
// once, and denies those beyond.
//
// What it admits is not told to the server when that is back. The buckets are
// those of one Limiter or Group, so keep it.
func Local(rate string) Fallback {
	r, err := ParseRate(rate)
	r.Burst = r.burst()
	return Fallback{how: fallLocal, rate: r, err: err}
}

// degrade decides without the server.
func (e *engine) degrade(names []string, calls int, cause error) (Decision, error) {
	d := Decision{
		Limit: e.rules[0].rate.Burst, Rule: e.rules[0].name, Degraded: true, Cause: cause,
		key: names[0], rate: e.rules[0].rate,
	}
	switch e.o.fallback.how {
	case fallOpen:
		d.Allowed = true
	case fallClosed:
		d.RetryAfter = closedRetry
	case fallLocal:
		key := names[0]
		if len(names) > 1 {
			key = strings.Join(names, "\x00")
		}
		d.Limit = e.local.rate.Burst
		d.Allowed, d.Remaining, d.RetryAfter = e.local.decide(key, calls)
	default:
		return Decision{}, cause
	}
	e.count(&d, ask{calls: calls})
	if calls > 0 {
		e.stats.degraded.Add(1)
	}
	return d, nil
}

// maxLocal bounds the keys of Local.
const maxLocal = 4096

// local is GCRA in this process.
type local struct {
	rate Rate
	base time.Time // whose monotonic clock counts

	mu   sync.Mutex
	debt map[string]debt
}

// debt is what a key has in use at a time, in calls; a fraction is of one call.
type debt struct {
	at    time.Duration // since base
	calls float64
}

func newLocal(r Rate) *local {
	return &local{rate: r, base: time.Now(), debt: map[string]debt{}}
}

// drained returns what is left of a debt.
func (l *local) drained(d debt, now time.Duration) float64 {
	return max(0, d.calls-float64(now-d.at)*float64(l.rate.Count)/float64(l.rate.Per))
}

func (l *local) decide(key string, calls int) (ok bool, left int, retry time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.base)
	d, known := l.debt[key]
	if !known && len(l.debt) >= maxLocal {
		for k, other := range l.debt {
			if l.drained(other, now) == 0 {
				delete(l.debt, k)
			}
		}
		if len(l.debt) >= maxLocal {
			return false, 0, closedRetry
		}
	}
	used := l.drained(d, now)
	if over := used + float64(max(calls, 1)) - float64(l.rate.Burst); over > 1e-9 {
		return false, max(int(float64(l.rate.Burst)-used), 0), time.Duration(over*float64(l.rate.Per)/float64(l.rate.Count)) + 1
	}
	used += float64(calls)
	if calls > 0 {
		l.debt[key] = debt{now, used}
	}
	return true, max(int(float64(l.rate.Burst)-used+1e-9), 0), 0
}
