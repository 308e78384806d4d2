package limiter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/ds/internal/owned"
)

// Stock is calls of one key that this process has reserved ahead, a chunk at a
// time, and gives out by itself: millions a second, one round trip or two a
// chunk. Make it with Limiter.Stock; it may be used by many goroutines.
//
// It never admits more than the limit: what is reserved counts as used for
// everybody else, and what was not used is given back when the chunk lapses
// (after 9/10 of Lapse, by the monotonic clock from before it was asked for) or
// with Close. What it costs is the other side: up to processes x chunk calls may
// lie unused in stocks while others are denied. Only where a machine's monotonic
// clock stands still (a suspended VM) may it give out what has lapsed: a chunk
// for each process at most.
//
// OnError has no part in it: without the server there is no next chunk.
type Stock struct {
	l    *Limiter
	key  string
	size int
	base time.Time

	left  atomic.Int64 // of the chunk
	until atomic.Int64 // when the chunk must not be used any more, ns since base
	pause atomic.Pointer[pause]

	turn  turn         // of who changes the chunk
	chunk *Reservation // nil: none
	calls int          // of the chunk
	timer *time.Timer  // gives the chunk back
}

// maxPause bounds how long a denial is remembered: who settles what it had
// reserved makes room at any time.
const maxPause = 100 * time.Millisecond

// pause is a denial that is remembered, so that nobody asks in vain who needs as
// much.
type pause struct {
	cost  int           // that was denied
	until time.Duration // since base
	err   error
}

// Stock returns a stock of calls of one key, in chunks of that many: 1 up to the
// burst. It sends nothing yet. A tenth of a second's rate is a good size; what
// the processes have together must be well below the burst.
func (l *Limiter) Stock(key string, chunk int) (*Stock, error) {
	if l.e.err != nil {
		return nil, l.e.err
	}
	if chunk < 1 {
		return nil, fmt.Errorf("%w: a chunk of %d for %s", ErrCost, chunk, key)
	}
	if chunk > l.e.least {
		return nil, &NeverFitsError{Key: key, Cost: chunk, Rate: l.Rate()}
	}
	o := l.e.o
	o.fallback, o.shadow = Fallback{}, false
	return &Stock{l: &Limiter{newEngine(l.e.d, o, l.e.rules, nil)}, key: key, size: chunk, base: time.Now(), turn: newTurn()}, nil
}

// Take admits a call of that cost, at most a chunk: nil, or a *LimitedError.
// That is remembered until its RetryAfter has passed, for 100 ms at most, and is
// the answer to calls that cost as much or more meanwhile. Other errors are those
// of the client, when a new chunk could not be had.
func (s *Stock) Take(ctx context.Context, cost int) error {
	if s.take(cost) {
		return nil
	}
	return s.refill(ctx, cost)
}

// take gives out what there is.
func (s *Stock) take(cost int) bool {
	if cost < 1 {
		return false
	}
	for {
		left := s.left.Load()
		if left < int64(cost) {
			return false
		}
		if s.left.CompareAndSwap(left, left-int64(cost)) {
			break
		}
	}
	// Looked at last: whoever was stopped before this line finds the chunk over.
	return !s.over()
}

// over reports whether the chunk must not be used any more.
func (s *Stock) over() bool { return int64(time.Since(s.base)) >= s.until.Load() }

// denied returns the denial that is remembered for such a cost, or nil.
func (s *Stock) denied(cost int) error {
	if p := s.pause.Load(); p != nil && cost >= p.cost && time.Since(s.base) < p.until {
		return p.err
	}
	return nil
}

func (s *Stock) refill(ctx context.Context, cost int) error {
	switch {
	case cost < 1:
		return fmt.Errorf("%w: %d for %s", ErrCost, cost, s.key)
	case cost > s.size:
		return &NeverFitsError{Key: s.key, Cost: cost, Rate: Rate{Count: s.l.Rate().Count, Per: s.l.Rate().Per, Burst: s.size}}
	}
	if err := s.denied(cost); err != nil {
		return err
	}
	if err := s.turn.take(ctx, s.key); err != nil {
		return err
	}
	defer s.turn.pass()
	// What is taken from a chunk that is over counts as used.
	if !s.over() && s.take(cost) { // another caller has brought some
		return nil
	}
	if err := s.denied(cost); err != nil {
		return err
	}
	if err := s.giveBack(ctx); err != nil && !errors.Is(err, ErrNotReserved) {
		return err
	}
	asked := time.Since(s.base)
	calls := s.size
	r, err := s.l.Reserve(ctx, s.key, calls)
	if errors.Is(err, ErrLimited) && calls > cost {
		// There is no room for a whole chunk: enough for the caller, then.
		asked, calls = time.Since(s.base), cost
		r, err = s.l.Reserve(ctx, s.key, calls)
	}
	var limited *LimitedError
	if errors.As(err, &limited) {
		s.pause.Store(&pause{cost, time.Since(s.base) + min(limited.RetryAfter, maxPause), err})
	}
	if err != nil {
		return err
	}
	s.open(r, calls, cost, asked)
	return nil
}

// open puts a chunk in place, less what its first caller takes.
func (s *Stock) open(r *Reservation, calls, cost int, asked time.Duration) {
	trusted := s.l.e.o.lapse / 10 * 9
	s.chunk, s.calls = r, calls
	s.until.Store(int64(asked + trusted))
	s.left.Store(int64(calls - cost))
	s.pause.Store(nil)
	s.timer = time.AfterFunc(trusted-(time.Since(s.base)-asked), s.lapsed)
}

// lapsed gives back a chunk that nobody has used up.
func (s *Stock) lapsed() {
	left, err := owned.By(s.l.e.d, attachment{})
	if err != nil || left == nil {
		return // it lapses on the server
	}
	left.After(context.Background(), func(ctx context.Context) {
		if s.turn.take(ctx, s.key) != nil {
			return
		}
		defer s.turn.pass()
		if s.over() {
			_ = s.giveBack(ctx)
		}
	})
}

// giveBack settles the chunk. Who calls it has the turn.
func (s *Stock) giveBack(ctx context.Context) error {
	if s.chunk == nil {
		return nil
	}
	s.timer.Stop()
	// From here on nothing is taken from it, so what was used is known.
	used := s.calls - int(s.left.Swap(0))
	r := s.chunk
	s.chunk = nil
	return r.Settle(ctx, used)
}

// Close gives back what is left. The Stock can be used on; it then begins anew.
// A client that is closed first cannot give anything back: the chunk lapses.
func (s *Stock) Close(ctx context.Context) error {
	if err := s.turn.take(ctx, s.key); err != nil {
		return err
	}
	defer s.turn.pass()
	err := s.giveBack(ctx)
	if errors.Is(err, ErrNotReserved) {
		return nil
	}
	return err
}
