package limiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/batch"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

// Reservation is calls that are taken out of a limit until it is known what they
// come to: 4000 tokens of a language model, of which 1200 are then used.
//
//	r, err := tokens.Reserve(ctx, "model:ada", 4000)
//	if err != nil {
//		return err
//	}
//	defer r.Cancel(ctx)
//	used, err := complete(ctx, prompt)
//	if err != nil {
//		return err
//	}
//	return r.Settle(ctx, used)
//
// Until it is settled nothing of it comes back: what is reserved does not drain.
// Then it counts as what was used, from then on. So calls used and calls
// reserved together never exceed the limit, whichever moment between Reserve and
// Settle they are counted at. A reservation that nobody settles lapses (Lapse)
// and counts as used in full then: that is all that a process which died keeps.
//
// A key has at most 1000 reservations at once; beyond, Reserve is denied as if
// there were no room. A Reservation may be used by many goroutines.
type Reservation struct {
	// Decision is how the calls were reserved.
	Decision Decision

	e    *engine
	name string
	keys []string
	id   string // "" if the server knows nothing of it

	turn turn // of who settles
	done atomic.Bool
}

// settled is the answer of settle.lua.
type settled struct {
	rules int64 // that knew the reservation
	at    time.Time
}

func asSettled(v resp3.View) (settled, error) {
	f := script.Read(v)
	return settled{f.Int(), f.Micros()}, f.Err()
}

func (e *engine) reserve(ctx context.Context, names, keys []string, cost int) (*Reservation, error) {
	if cost == 0 {
		return nil, fmt.Errorf("%w: 0 for a reservation", ErrCost)
	}
	if err := e.check(names, cost); err != nil {
		return nil, err
	}
	r := &Reservation{e: e, name: names[0], keys: slices.Clone(keys), id: owner.New(), turn: newTurn()}
	d, v, err := e.decide(ctx, names, keys, ask{calls: cost, lapse: e.o.lapse, id: r.id})
	if failed := cmp.Or(err, d.Cause); failed != nil && script.MayHaveRun(failed) {
		e.forget(ctx, r.name, r.keys, r.id, batch.Over(failed))
	}
	if err == nil {
		err = d.Err()
	}
	if err != nil {
		return nil, err
	}
	if d.Degraded || !v.admitted {
		r.id = ""
	}
	r.Decision = d
	return r, nil
}

// forget cancels what may have been reserved, and nobody will settle, when it can
// be reserved no more: over is closed then.
func (e *engine) forget(ctx context.Context, name string, keys []string, id string, over <-chan struct{}) {
	_ = e.after(ctx, func(ctx context.Context) { // on a closed client: it lapses
		if over != nil {
			select {
			case <-over:
			case <-ctx.Done():
			}
		}
		_, _ = e.settle(ctx, name, keys, id, 0)
	})
}

// settle ends a reservation, and returns when the server did.
func (e *engine) settle(ctx context.Context, name string, keys []string, id string, used int) (at time.Time, err error) {
	args := make([]command.Arg, 0, 2+len(e.rules))
	args = append(args, command.Str(id), command.Int(int64(used)))
	for _, rule := range e.rules {
		args = append(args, command.Str(rule.text))
	}
	s, err := command.RunScript(ctx, e.d, settleScript, asSettled, keys, args...)
	if err == nil && s.rules == 0 {
		err = ErrNotReserved
	}
	if err != nil {
		return s.at, fmt.Errorf("limiter: %s: %w", name, err)
	}
	return s.at, nil
}

// Settle ends the reservation and charges what was used instead: 0 or more, also
// more than was reserved. What is beyond what fits makes later calls wait, but at
// most a whole burst is charged.
//
// It is ErrNotReserved if the reservation has lapsed, or was settled before:
// nothing is charged again. After an error that leaves open whether it ran it may
// be called again, with that risk and no other.
func (r *Reservation) Settle(ctx context.Context, used int) error {
	if used < 0 {
		return fmt.Errorf("%w: %d for %s", ErrCost, used, r.name)
	}
	if err := r.turn.take(ctx, r.name); err != nil {
		return err
	}
	defer r.turn.pass()
	if r.done.Load() {
		return fmt.Errorf("limiter: %s: %w", r.name, ErrNotReserved)
	}
	return r.end(ctx, used)
}

// Cancel is Settle with nothing used. After Settle it does nothing, so it can be
// deferred; and where ctx has ended it is done without its caller waiting, for
// 2 s at most.
func (r *Reservation) Cancel(ctx context.Context) error {
	if r.done.Load() {
		return nil
	}
	if ctx.Err() == nil {
		return r.cancel(ctx)
	}
	if err := r.e.after(ctx, func(ctx context.Context) { _ = r.cancel(ctx) }); err != nil {
		return fmt.Errorf("limiter: %s: %w", r.name, err)
	}
	return nil
}

func (r *Reservation) cancel(ctx context.Context) error {
	if err := r.turn.take(ctx, r.name); err != nil {
		return err
	}
	defer r.turn.pass()
	if r.done.Load() {
		return nil
	}
	return r.end(ctx, 0)
}

// end settles, and notes if there is nothing left to settle. Who calls it has the
// turn.
func (r *Reservation) end(ctx context.Context, used int) (err error) {
	if r.id != "" {
		_, err = r.e.settle(ctx, r.name, r.keys, r.id, used)
	}
	if err == nil || errors.Is(err, ErrNotReserved) {
		r.done.Store(true)
	}
	return err
}
