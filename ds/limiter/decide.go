package limiter

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/batch"
	"github.com/redisx/redisx/ds/internal/replicas"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

var (
	//go:embed allow.lua
	allowSource string
	//go:embed decide.lua
	decideSource string
	//go:embed settle.lua
	settleSource string
	//go:embed undo.lua
	undoSource string
	//go:embed inspect.lua
	inspectSource string
	//go:embed state.lua gcra.lua tokens.lua fixed.lua sliding.lua rules.lua
	parts embed.FS

	allowScript   = script.New(allowSource, parts)
	decideScript  = script.New(decideSource, parts)
	settleScript  = script.New(settleSource, parts)
	undoScript    = script.New(undoSource, parts)
	inspectScript = script.New(inspectSource, parts)
)

// maxRules bounds a Group: all of its rules are looked at for each call.
const maxRules = 8

// allower is the decision by one rule by GCRA, without waiting or reserving:
// what nearly all calls are.
var allower = batch.New(allowScript, 1, 2, asAllowed)

// deciders are the decisions by so many rules, from one on: callers with as many
// share round trips.
var deciders = func() (all [maxRules]*batch.Script[verdict]) {
	for i := range all {
		rules := i + 1
		all[i] = batch.New(decideScript, 2*rules, 1+rules, asVerdict, command.Int(int64(rules)))
	}
	return all
}()

// verdict is the server's answer to one caller.
type verdict struct {
	admitted    bool
	rule        int // of the engine's, from 0
	left        int64
	wait, reset time.Duration
	now         time.Time
	tickets     []int64 // what undo needs, where the call is to happen later
}

// asAllowed reads the answer of allow.lua. Its zero is that decide has to be
// asked.
func asAllowed(v resp3.View) (verdict, error) {
	f := script.Read(v)
	if !f.More() {
		return verdict{}, f.Err()
	}
	a := verdict{admitted: f.Int() == 1, left: f.Int()}
	a.wait, a.reset = time.Duration(f.Int())*time.Microsecond, time.Duration(f.Int())*time.Microsecond
	a.now = time.UnixMicro(f.Int())
	return a, f.Err()
}

func asVerdict(v resp3.View) (verdict, error) {
	f := script.Read(v)
	a := verdict{admitted: f.Int() == 1, rule: int(f.Int()) - 1, left: f.Int()}
	a.wait, a.reset = time.Duration(f.Int())*time.Microsecond, time.Duration(f.Int())*time.Microsecond
	a.now = time.UnixMicro(f.Int())
	for f.More() {
		a.tickets = append(a.tickets, f.Int())
	}
	if f.Err() == nil && (a.rule < 0 || a.rule >= maxRules) {
		f.Refuse("rule " + strconv.Itoa(a.rule))
	}
	return a, f.Err()
}

// engine decides calls by rules, all or nothing.
type engine struct {
	d     command.Doer
	o     options
	rules []rule
	least int   // the smallest burst
	err   error // rules that cannot be used
	local *local
	stats counters

	general bool // for tests: decide.lua only
}

type counters struct{ admitted, denied, shadowed, degraded atomic.Int64 }

func newEngine(d command.Doer, o options, rules []rule, err error) *engine {
	e := &engine{d: d, o: o, rules: rules, err: err}
	if o.err != nil {
		e.err = o.err
	}
	for i, r := range rules {
		if i == 0 || r.rate.Burst < e.least {
			e.least = r.rate.Burst
		}
	}
	if o.fallback.how == fallLocal {
		e.local = newLocal(o.fallback.rate)
	}
	return e
}

// ask is what is asked of the rules.
type ask struct {
	calls int
	most  time.Duration // that they may have to wait
	lapse time.Duration // of a reservation
	id    string        // of a reservation, "" for none
}

func (a ask) text() string {
	if a.calls == 1 && a.most == 0 && a.id == "" {
		return "1"
	}
	b := strconv.AppendInt(make([]byte, 0, 64), int64(a.calls), 10)
	if a.most > 0 || a.id != "" {
		b = strconv.AppendInt(append(b, ' '), a.most.Microseconds(), 10)
	}
	if a.id != "" {
		b = strconv.AppendInt(append(b, ' '), a.lapse.Microseconds(), 10)
		b = append(append(b, ' '), a.id...)
	}
	return string(b)
}

// decide decides a call. names are the keys as the user gave them, one a rule;
// keys are those of the server, two a rule.
func (e *engine) decide(ctx context.Context, names, keys []string, a ask) (Decision, verdict, error) {
	if err := e.check(names, a.calls); err != nil {
		return Decision{}, verdict{}, err
	}
	var v verdict
	var err error
	if e.o.fallback.how == fallNone {
		v, err = e.send(ctx, keys, a)
	} else {
		v, err = e.sendPatiently(ctx, keys, a)
	}
	if err != nil {
		err = fmt.Errorf("limiter: %s: %w", names[0], err)
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return Decision{}, verdict{}, err
		}
		d, err := e.degrade(names, a.calls, err)
		return d, verdict{admitted: d.Allowed}, err
	}
	if v.rule >= len(e.rules) {
		return Decision{}, verdict{}, fmt.Errorf("limiter: %s: the script answered of rule %d", names[0], v.rule+1)
	}
	d := Decision{
		Allowed:    v.admitted,
		Limit:      e.rules[v.rule].rate.Burst,
		Remaining:  int(v.left),
		ResetAfter: v.reset,
		At:         v.now,
		Rule:       e.rules[v.rule].name,
		key:        names[v.rule],
		rate:       e.rules[v.rule].rate,
	}
	if !v.admitted {
		d.RetryAfter = v.wait
	}
	e.count(&d, a)
	return d, v, nil
}

// check finds what is wrong before anything is sent.
func (e *engine) check(names []string, calls int) error {
	switch {
	case e.err != nil:
		return e.err
	case len(names) != len(e.rules):
		return fmt.Errorf("limiter: %d keys for %d rules", len(names), len(e.rules))
	case calls < 0:
		return fmt.Errorf("%w: %d for %s", ErrCost, calls, names[0])
	case calls <= e.least:
		return nil
	}
	for i, r := range e.rules {
		if calls > r.rate.Burst {
			return &NeverFitsError{Key: names[i], Rule: r.name, Cost: calls, Rate: r.rate}
		}
	}
	return nil
}

func (e *engine) send(ctx context.Context, keys []string, a ask) (verdict, error) {
	if a.id == "" && a.most == 0 && len(e.rules) == 1 && e.rules[0].algorithm == GCRA && !e.general {
		cost := command.Str("1")
		if a.calls != 1 {
			cost = command.Int(int64(a.calls))
		}
		args := [2]command.Arg{command.Str(e.rules[0].text), cost}
		v, _, err := allower.Run(ctx, e.d, replicas.Need{}, keys[:1], args[:])
		if err != nil || !v.now.IsZero() {
			return v, err
		}
	}
	var room [1 + maxRules]command.Arg
	args := append(room[:0], command.Str(a.text()))
	for i := range e.rules {
		args = append(args, command.Str(e.rules[i].text))
	}
	v, _, err := deciders[len(e.rules)-1].Run(ctx, e.d, replicas.Need{}, keys, args)
	return v, err
}

// sendPatiently is send with Patience.
func (e *engine) sendPatiently(ctx context.Context, keys []string, a ask) (verdict, error) {
	patience := e.o.patience
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end)*9/10)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return e.send(ctx, keys, a)
}

// count counts a decision, and lets pass what Shadow lets pass.
func (e *engine) count(d *Decision, a ask) {
	switch {
	case a.calls == 0:
		return
	case d.Allowed:
		e.stats.admitted.Add(1)
	case e.o.shadow:
		d.Allowed, d.Shadowed = true, true
		e.stats.shadowed.Add(1)
	default:
		e.stats.denied.Add(1)
	}
}

// Stats counts the decisions of one Limiter or Group, without those of Peek.
type Stats struct {
	Admitted int64 `json:"admitted"`
	Denied   int64 `json:"denied"`
	Shadowed int64 `json:"shadowed"` // admitted by Shadow alone
	Degraded int64 `json:"degraded"` // of all these, decided by OnError
}

func (e *engine) counted() Stats {
	return Stats{
		Admitted: e.stats.admitted.Load(), Denied: e.stats.denied.Load(),
		Shadowed: e.stats.shadowed.Load(), Degraded: e.stats.degraded.Load(),
	}
}
