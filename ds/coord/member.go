package coord

import (
	"context"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
)

// Membership is our own place in a group, from Join until Leave or its loss. Its
// methods may be called by many goroutines.
type Membership struct {
	g      group
	o      options
	d      command.Doer
	owned  *owned.Set
	id     string
	hold   *hold.Hold
	parent context.Context // what Join was called with

	turn   chan struct{} // held by the Leave that runs; guards what follows
	left   bool
	result error // of leaving
}

// Join makes us a member of the group of that name, which need not be made. The
// membership is renewed until Leave, its loss, or the end of ctx; the others see
// us go at Leave, or, by the server's clock, a TTL after our last renewal.
//
// Name, Meta, Weight, TTL, Namespace and AllowEviction count. While somebody
// else has our Name, Join waits: a process that died and starts again gets its
// name back a TTL later at the latest. When ctx ends first the error is a
// *NameTakenError and wraps its cause.
func Join(ctx context.Context, d command.Doer, groupName string, opts ...Option) (*Membership, error) {
	o, err := build("group", groupName, opts)
	if err != nil {
		return nil, err
	}
	return join(ctx, d, groupOf("members", o.namespace, groupName, 0), o)
}

func join(ctx context.Context, d command.Doer, g group, o options) (*Membership, error) {
	if ctx.Err() != nil {
		return nil, wrap("group", g.name, wait.Ended(ctx))
	}
	s, err := owned.By(d, attachment{})
	if err != nil {
		return nil, wrap("group", g.name, err)
	}
	if !o.allowEviction {
		if err := evict.Check(ctx, d); err != nil {
			return nil, wrap("group", g.name, wait.Because(ctx, err))
		}
	}
	m := &Membership{g: g, o: o, d: d, owned: s, id: owner.New(), parent: ctx, turn: make(chan struct{}, 1)}
	a := &admission{m: m}
	err = wait.Until(ctx, d, g.keys[0], a.try)
	if err == nil && ctx.Err() == nil {
		if err = m.begin(a.sent); err == nil {
			return m, nil
		}
	}
	if a.joined || a.unsure {
		s.After(ctx, func(ctx context.Context) {
			// Best effort: a member that stays lapses after its TTL.
			_ = m.say(ctx)
		})
	}
	if a.taken > 0 && ctx.Err() != nil {
		return nil, &NameTakenError{Group: g.name, Name: o.name, TTL: a.taken, Err: wait.Ended(ctx)}
	}
	return nil, wrap("group", g.name, wait.Because(ctx, err))
}

// admission is one Join, from its first request to its membership.
type admission struct {
	m      *Membership
	sent   time.Time // when the request left that was granted
	joined bool
	unsure bool          // a request may have been granted unseen
	taken  time.Duration // for how long somebody else has the name yet
}

// try asks once, and once more when the answer was lost. It has the form that
// wait.Until takes.
func (a *admission) try(ctx context.Context) (done bool, again time.Duration, err error) {
	r, err := a.ask(ctx)
	if err != nil && a.unsure && ctx.Err() == nil {
		r, err = a.ask(ctx)
	}
	switch {
	case err != nil:
		return false, 0, err
	case r.answer == "taken":
		a.taken = max(time.Duration(r.number)*time.Millisecond, 1)
		return false, a.taken + time.Millisecond, nil
	case r.answer == "shards":
		return false, 0, &MismatchError{Kind: "shards", Name: a.m.g.name, Ours: a.m.g.shards, Theirs: int(r.number)}
	}
	a.joined, a.taken = true, 0
	return true, 0, nil
}

func (a *admission) ask(ctx context.Context) (joinReply, error) {
	m := a.m
	a.sent = time.Now()
	r, err := command.RunScript(ctx, m.d, membersLua.join, asJoinReply, m.g.keys,
		command.Str(m.o.name), command.Str(m.id), command.Int(int64(m.o.weight)), command.Str(m.o.meta),
		command.Int(m.o.ttl.Milliseconds()), command.Str(m.g.kind), command.Int(int64(m.g.shards)))
	if err != nil {
		a.unsure = a.unsure || script.MayHaveRun(err)
	}
	return r, err
}

// begin starts to renew what was granted.
func (m *Membership) begin(sent time.Time) error {
	m.hold = hold.Start(context.WithValue(m.parent, membershipKey{}, m), sent, hold.Options{
		TTL: m.o.ttl, Row: membershipRow{m}, Doer: m.d, Lost: m.lost,
	})
	err := m.hold.Err()
	if err == nil {
		err = m.owned.Add(m.hold)
	}
	if err != nil {
		m.hold.Stop()
	}
	return err
}

// membershipRow is what a membership is for the script that renews many.
type membershipRow struct{ m *Membership }

// Script returns that script.
func (r membershipRow) Script() *command.Script { return membersLua.renew }

// Append appends what it wants of this membership.
func (r membershipRow) Append(keys []string, args []command.Arg) ([]string, []command.Arg) {
	o := &r.m.o
	return append(keys, r.m.g.keys...), append(args, command.Str(o.name), command.Str(r.m.id), command.Int(o.ttl.Milliseconds()))
}

// say tells the server that we leave.
func (m *Membership) say(ctx context.Context) error {
	_, err := command.RunScript(ctx, m.d, membersLua.leave, command.AsBool, m.g.keys, command.Str(m.o.name), command.Str(m.id))
	return err
}

// lost builds the cause of the end of the membership's context.
func (m *Membership) lost(reason hold.Reason, err error) error {
	e := &LostError{Kind: "membership", Name: m.g.name, Reason: string(reason), Err: err}
	if reason == hold.Released {
		e.Reason = reasonResigned
		if m.owned.Closed() {
			e.Reason = reasonClosed
		}
	}
	if _, ok := err.(*hold.GoneError); ok {
		e.Err = nil // says no more than the reason
	}
	return e
}

// membershipKey is where a membership's context keeps its membership.
type membershipKey struct{}

// Name returns our name in the group.
func (m *Membership) Name() string { return m.o.name }

// Context returns the context for the work of a member. It ends before the
// others see us gone, with a *LostError as context.Cause, and when the context
// ends that Join was called with. It has that one's values.
func (m *Membership) Context() context.Context { return m.hold.Context() }

// Leave ends the membership's context and takes us out of the group; the others
// are told at once. It returns nil, or why the server could not be told: then we
// lapse after the TTL. It may be called more than once, and returns the same
// then. ctx may come from the membership's own context: then the context counts
// that Join was called with.
func (m *Membership) Leave(ctx context.Context) error {
	if ctx.Value(membershipKey{}) == m {
		ctx = m.parent
	}
	m.hold.Stop()
	m.owned.Remove(m.hold)
	// Tried alone first: an ended context must not win by chance, as nobody
	// would see to the goodbye then.
	select {
	case m.turn <- struct{}{}:
	default:
		select {
		case m.turn <- struct{}{}:
		case <-ctx.Done():
			return wrap("group", m.g.name, wait.Ended(ctx))
		}
	}
	defer func() { <-m.turn }()
	if m.left {
		return m.result
	}
	m.left = true
	if ctx.Err() != nil {
		m.owned.After(ctx, func(ctx context.Context) { _ = m.say(ctx) })
		m.result = wrap("group", m.g.name, wait.Ended(ctx))
	} else if err := m.say(ctx); err != nil {
		m.result = wrap("group", m.g.name, wait.Because(ctx, err))
	}
	return m.result
}

// NameTakenError reports that somebody else is in the group under our name.
type NameTakenError struct {
	Group string
	Name  string
	TTL   time.Duration // for how long the server believed in it yet
	Err   error         // why waiting ended, the cause of the context
}

// Error names the group and the name.
func (e *NameTakenError) Error() string {
	return fmt.Sprintf("coord: group %s: somebody else is %s for another %v: %v", e.Group, e.Name, e.TTL.Round(time.Millisecond), e.Err)
}

// Unwrap returns why waiting ended.
func (e *NameTakenError) Unwrap() error { return e.Err }

// Explain says what to do.
func (e *NameTakenError) Explain() string {
	return fmt.Sprintf("Two processes want to be %q in group %q. If the other one has died, its place becomes free in %v, and Join gets it if its context lasts as long. If it lives, give each a Name of its own.",
		e.Name, e.Group, e.TTL.Round(time.Millisecond))
}
