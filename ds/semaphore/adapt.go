package semaphore

import (
	"context"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

// reports are what the permits of one handle had to say since the server was
// told last.
type reports struct {
	mu    sync.Mutex
	sum   sums
	next  time.Time // when the server is to be told again
	under bool      // a report is on its way
}

type sums struct {
	reports, overloads, micros int64
}

// report adds what one permit has to say, and tells the server, in the
// background, if it has heard nothing for half a window: often enough to close
// the window in time, and at most two round trips in it for a process.
func (s *Semaphore) report(ctx context.Context, weight int, overload bool, took time.Duration) {
	r := &s.reports
	r.mu.Lock()
	r.sum.reports++
	if overload {
		r.sum.overloads++
	} else {
		r.sum.micros += took.Microseconds()
	}
	now := time.Now()
	if r.under || now.Before(r.next) {
		r.mu.Unlock()
		return
	}
	sum := r.sum
	r.sum, r.next, r.under = sums{}, now.Add(s.o.window/2), true
	r.mu.Unlock()

	told := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.under = false
	}
	o, err := s.owner()
	if err != nil { // the client is closed
		told()
		return
	}
	o.After(ctx, func(ctx context.Context) {
		defer told()
		// Best effort: of the rest of the window others tell.
		_, _ = s.adapt(ctx, sum, weight)
	})
}

// adaption is what the server makes of the reports.
type adaption struct {
	limit    int64
	baseline time.Duration
}

// adapt gives reports to the server.
func (s *Semaphore) adapt(ctx context.Context, sum sums, weight int) (adaption, error) {
	return command.RunScript(ctx, s.d, lua.adapt, func(v resp3.View) (adaption, error) {
		f := script.Read(v)
		a := adaption{limit: f.Int(), baseline: time.Duration(f.Int()) * time.Microsecond}
		return a, f.Err()
	}, s.names.waking(),
		command.Int(int64(s.limit)), command.Int(int64(s.o.min)), command.Int(int64(s.o.max)), command.Int(s.o.window.Milliseconds()),
		command.Int(sum.reports), command.Int(sum.overloads), command.Int(sum.micros), command.Int(int64(weight)), command.Int(limitTTL.Milliseconds()))
}
