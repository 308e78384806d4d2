package coord

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/explain"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

// barrierTTL is how long a barrier that nobody comes to keeps its number.
const barrierTTL = 7 * 24 * time.Hour

// Barrier is one party of a cyclic barrier: a point that all parties must reach
// before any goes on, again and again. Each party makes a Barrier of its own,
// wherever it runs; one Barrier waits once at a time.
type Barrier struct {
	d       command.Doer
	name    string
	parties int
	o       options
	err     error // in what NewBarrier got

	busy atomic.Bool // an Await runs; it alone uses what follows
	next int64       // the generation that this party is to pass next, 0 when not known
}

// NewBarrier returns a party of the barrier of that name, which waits for that
// many parties, at least 1. Name is the party's name, by which it counts once:
// a process that dies while it waits and comes back under its name in time
// takes its place again. TTL, Namespace and AllowEviction count, too. An error
// in the arguments is returned by each call.
func NewBarrier(d command.Doer, name string, parties int, opts ...Option) *Barrier {
	o, err := build("barrier", name, opts)
	if err == nil && parties < 1 {
		err = fmt.Errorf("coord: barrier %s: %d parties are less than 1", name, parties)
	}
	return &Barrier{d: d, name: name, parties: parties, o: o, err: err}
}

// Await waits until all parties have arrived in this party's generation, and
// returns its number; numbers rise by one with each generation, passed or
// broken.
//
// The generation is broken as soon as one of the parties in it stops waiting:
// because its context ended, or, a TTL after its last sign of life, because it
// died. Then all of them get a *BrokenError; so does a party that arrives only
// then, if it passed the generation before and comes within two TTLs. The
// generation after it is usable at once.
//
// When ctx ends first, the error wraps its cause; when the arrival could not be
// renewed in time, it is a *LostError. Then the generation is broken in the
// background, unless it has passed meanwhile: in that case the next Await of
// this Barrier returns its number at once, so that the party stays in step. A
// *MismatchError says that others wait for another number of parties, an
// *UnsafeServerError that the server may evict keys; any other error comes from
// the server or the connection.
//
// An arrival whose answer was lost is sent once more, and counts once.
func (b *Barrier) Await(ctx context.Context) (generation int64, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if !b.busy.CompareAndSwap(false, true) {
		return 0, fmt.Errorf("coord: barrier %s: party %s waits already: each party has a Barrier of its own", b.name, b.o.name)
	}
	defer b.busy.Store(false)
	if ctx.Err() != nil {
		return 0, wrap("barrier", b.name, wait.Ended(ctx))
	}
	s, err := owned.By(b.d, attachment{})
	if err != nil {
		return 0, wrap("barrier", b.name, err)
	}
	if !b.o.allowEviction {
		if err := evict.Check(ctx, b.d); err != nil {
			return 0, wrap("barrier", b.name, wait.Because(ctx, err))
		}
	}
	a := &arrival{b: b, owned: s, id: owner.New(), generation: max(b.next, 1)}
	err = a.arrive(ctx)
	if err == nil && a.standing == waiting {
		err = a.wait(ctx)
	}
	return a.result(ctx, err)
}

// arrival is one Await.
type arrival struct {
	b          *Barrier
	owned      *owned.Set
	id         string
	generation int64
	sent       time.Time // when the request left that was confirmed last
	verdict              // of the last answer
	unsure     bool      // the server may count us unseen
	hold       *hold.Hold
}

// arrive finds the generation to come and counts the party into it.
func (a *arrival) arrive(ctx context.Context) error {
	for {
		err := a.ask(ctx)
		if err != nil && a.unsure && ctx.Err() == nil {
			err = a.ask(ctx)
		}
		if err != nil {
			return err
		}
		switch {
		case a.standing == other:
			a.generation = a.number
		case a.standing == broken && !a.concerns():
			a.generation++
		default:
			return nil
		}
	}
}

// concerns reports whether a broken generation is this party's: the one after
// the last that it passed, and not one that it broke itself.
func (a *arrival) concerns() bool {
	return a.generation == a.b.next && a.by != a.b.o.name
}

func (a *arrival) ask(ctx context.Context) error {
	sent := time.Now()
	o := &a.b.o
	v, err := command.RunScript(ctx, a.b.d, barrierLua.arrive, asVerdict, a.keys(),
		command.Int(a.generation), command.Str(o.name), command.Str(a.id), command.Int(int64(a.b.parties)),
		command.Int(o.ttl.Milliseconds()), command.Int(barrierTTL.Milliseconds()))
	if err != nil {
		a.unsure = a.unsure || script.MayHaveRun(err)
		return err
	}
	a.sent, a.verdict = sent, v
	return nil
}

func (a *arrival) keys() []string {
	return barrierKeys(a.b.o.namespace, a.b.name, a.generation)
}

// wait keeps the arrival until the generation has ended.
func (a *arrival) wait(ctx context.Context) error {
	a.hold = hold.Start(ctx, a.sent, hold.Options{TTL: a.b.o.ttl, Row: a, Doer: a.b.d, Lost: a.lost})
	defer a.hold.Stop()
	if err := a.owned.Add(a.hold); err != nil {
		return err
	}
	defer a.owned.Remove(a.hold)
	return wait.Until(a.hold.Context(), a.b.d, a.keys()[1], a.check)
}

// Script returns the script that renews arrivals. It is for hold.Row.
func (a *arrival) Script() *command.Script { return barrierLua.renew }

// Append appends what the script wants of this arrival. It is for hold.Row.
func (a *arrival) Append(keys []string, args []command.Arg) ([]string, []command.Arg) {
	return append(keys, a.keys()...), append(args, a.arguments()...)
}

// check looks whether the generation has ended. It has the form that wait.Until
// takes.
func (a *arrival) check(ctx context.Context) (done bool, again time.Duration, err error) {
	v, err := command.RunScript(ctx, a.b.d, barrierLua.look, asVerdict, a.keys(), a.arguments()...)
	switch {
	case err != nil && wait.Final(err):
		return false, 0, err
	case err != nil:
		// The hold says for how long there is a point in asking.
		return false, min(a.b.o.ttl/20, askAgain), nil
	case v.standing == gone:
		a.hold.Refused(v.server, v.reason, nil)
		return false, 0, context.Cause(a.hold.Context())
	case v.standing == waiting && v.lapse > 0:
		return false, lapse(v.lapse), nil
	case v.standing == waiting:
		return false, 0, nil
	}
	a.verdict = v
	return true, 0, nil
}

// arguments are those of the scripts for an arrival that was made, as keys are.
func (a *arrival) arguments() []command.Arg {
	return []command.Arg{
		command.Int(a.generation), command.Str(a.b.o.name), command.Str(a.id),
		command.Int(a.b.o.ttl.Milliseconds()), command.Int(barrierTTL.Milliseconds()),
	}
}

// lost builds the error for an arrival that is not ours any more.
func (a *arrival) lost(reason hold.Reason, err error) error {
	switch {
	case reason == hold.Gone, reason == hold.NotOwner, reason == hold.Failover:
		return &BrokenError{Name: a.b.name, Generation: a.generation, Party: a.b.o.name, Reason: string(reason)}
	case reason == hold.Released && a.owned.Closed():
		reason = reasonClosed
	}
	return &LostError{Kind: "arrival", Name: a.b.name, Reason: string(reason), Err: err}
}

// result turns the end of waiting into a number or an error.
func (a *arrival) result(ctx context.Context, err error) (int64, error) {
	b := a.b
	var own *BrokenError
	switch {
	case err == nil && a.standing == passed:
		b.next = a.generation + 1
		return a.generation, nil
	case err == nil && a.standing == broken:
		b.next = a.generation + 1
		return 0, &BrokenError{Name: b.name, Generation: a.generation, Party: a.by, Reason: a.why}
	case err == nil && a.standing == parties:
		return 0, &MismatchError{Kind: "barrier", Name: b.name, Ours: b.parties, Theirs: int(a.number)}
	case errors.As(err, &own):
		b.next = a.generation + 1
		return 0, own
	}
	if a.hold != nil || a.unsure {
		b.next = a.generation
		a.owned.After(ctx, func(ctx context.Context) {
			// Best effort: an arrival that stays lapses after its TTL.
			_, _ = a.leave(ctx)
		})
	}
	if errors.Is(err, ErrLost) {
		return 0, err
	}
	return 0, wrap("barrier", b.name, wait.Because(ctx, err))
}

// leave breaks the generation, if it is this arrival that waits in it.
func (a *arrival) leave(ctx context.Context) (bool, error) {
	return command.RunScript(ctx, a.b.d, barrierLua.leave, command.AsBool, a.keys(), a.arguments()...)
}

// InspectBarrier returns who waits at the barrier of that name. Of the options
// only Namespace counts. A barrier that the server knows nothing of is no
// error.
func InspectBarrier(ctx context.Context, d command.Doer, name string, opts ...Option) (BarrierInfo, error) {
	o, err := build("barrier", name, opts)
	if err != nil {
		return BarrierInfo{}, err
	}
	type answer struct {
		BarrierInfo
		standing string
		current  int64
	}
	for generation := int64(1); ; {
		a, err := command.RunScript(ctx, d, barrierLua.inspect, func(v resp3.View) (a answer, err error) {
			a.BarrierInfo, a.standing, a.current, err = asBarrierInfo(v)
			return a, err
		}, barrierKeys(o.namespace, name, generation)[:3], command.Int(generation))
		switch {
		case err != nil:
			return BarrierInfo{}, wrap("barrier", name, wait.Because(ctx, err))
		case a.standing == "other":
			generation = a.current
			continue
		case a.standing == "here":
			a.Generation = generation
		}
		a.Name = name
		return a.BarrierInfo, nil
	}
}

// Explain says who waits for how many others since when, in one line; of many
// the ten that lapse first.
func (i BarrierInfo) Explain() string {
	switch {
	case i.Generation == 0:
		return "no generation remembered: nobody has come for seven days"
	case len(i.Arrived) == 0:
		return fmt.Sprintf("nobody waits, generation %d is next", i.Generation)
	}
	return fmt.Sprintf("generation %d waits since %s for %d more of %d parties, here: ", i.Generation, explain.Clock(i.Since), i.Parties-len(i.Arrived), i.Parties) +
		explain.List(len(i.Arrived), func(n int) string {
			if i.Arrived[n].Left <= 0 {
				return i.Arrived[n].Name + " (lapsed)"
			}
			return i.Arrived[n].Name
		})
}
