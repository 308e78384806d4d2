package limiter

import (
	"context"
	"errors"
	"time"

	"github.com/redisx/redisx/command"
)

// Slot takes a slot as WaitN does, and returns when it is instead of waiting.
func (l *Limiter) Slot(ctx context.Context, key string, cost int, most time.Duration) (d Decision, slot time.Time, giveBack func() (int64, error), err error) {
	k := l.keys(key)
	d, v, err := l.e.decide(ctx, []string{key}, k[:], ask{calls: cost, most: most})
	return d, v.now.Add(v.wait), func() (int64, error) { return l.e.undo(ctx, k[:], cost, v.tickets) }, err
}

// SettledAt settles on the server, and tells when it did.
func (r *Reservation) SettledAt(ctx context.Context, used int) (time.Time, error) {
	return r.e.settle(ctx, r.name, r.keys, r.id, used)
}

// LapseAfter is Lapse without its bounds.
func (l *Limiter) LapseAfter(d time.Duration) { l.e.o.lapse = d }

// SettleScript is settle.lua.
func SettleScript() *command.Script { return settleScript }

// DecideOnly makes a limiter ask decide.lua also where allow.lua would do.
func (l *Limiter) DecideOnly(ctx context.Context, key string, cost int) (Decision, error) {
	k := l.keys(key)
	l.e.general = true
	d, _, err := l.e.decide(ctx, []string{key}, k[:], ask{calls: cost})
	return d, err
}

// AsLimited reports whether err is a denial, and which.
func AsLimited(err error) (*LimitedError, bool) {
	var limited *LimitedError
	ok := errors.As(err, &limited)
	return limited, ok
}

// Forget makes a reservation that was settled look as if the answer had been lost.
func (r *Reservation) Forget() { r.done.Store(false) }

// Sleep keeps a stock's timer from giving its chunk back, as in a process that
// was stopped.
func (s *Stock) Sleep() { s.timer.Stop() }
