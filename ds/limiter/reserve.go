package limiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
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

	seen func(at time.Time) // for tests: when it was settled

	mu   sync.Mutex
	done bool
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
	r := &Reservation{e: e, id: owner.New(), keys: slices.Clone(keys)}
	d, v, err := e.decide(ctx, names, keys, ask{calls: cost, lapse: e.o.lapse, id: r.id})
	if failed := cmp.Or(err, d.Cause); failed != nil && script.MayHaveRun(failed) {
		// Nobody will settle what may be reserved.
		_ = (&Reservation{e: e, id: r.id, keys: r.keys, name: names[0]}).settleAfter(ctx)
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
	r.Decision, r.name = d, names[0]
	return r, nil
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return fmt.Errorf("limiter: %s: %w", r.name, ErrNotReserved)
	}
	err := r.settle(ctx, used)
	r.done = err == nil || errors.Is(err, ErrNotReserved)
	return err
}

func (r *Reservation) settle(ctx context.Context, used int) error {
	if r.id == "" {
		return nil
	}
	args := make([]command.Arg, 0, 2+len(r.e.rules))
	args = append(args, command.Str(r.id), command.Int(int64(used)))
	for _, rule := range r.e.rules {
		args = append(args, command.Str(rule.text))
	}
	settled, err := command.RunScript(ctx, r.e.d, settleScript, asSettled, r.keys, args...)
	if err == nil && settled.rules == 0 {
		err = ErrNotReserved
	}
	if err != nil {
		return fmt.Errorf("limiter: %s: %w", r.name, err)
	}
	if seen := r.seen; seen != nil {
		seen(settled.at)
	}
	return nil
}

// Cancel is Settle with nothing used. After Settle it does nothing, so it can be
// deferred; and where ctx has ended it is done without its caller waiting, for
// 2 s at most.
func (r *Reservation) Cancel(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return nil
	}
	if ctx.Err() == nil {
		err := r.settle(ctx, 0)
		r.done = err == nil || errors.Is(err, ErrNotReserved)
		return err
	}
	r.done = true
	return r.settleAfter(ctx)
}

// settleAfter cancels on behalf of a caller who does not wait.
func (r *Reservation) settleAfter(ctx context.Context) error {
	left, err := owned.By(r.e.d, attachment{})
	if err != nil {
		return fmt.Errorf("limiter: %s: %w", r.name, err)
	}
	left.After(ctx, func(ctx context.Context) { _ = r.settle(ctx, 0) })
	return nil
}
