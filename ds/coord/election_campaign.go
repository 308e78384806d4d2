package coord

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/resp3"
)

const (
	// headStart is what a candidate leaves to each heavier one when nobody
	// leads: many times what it takes to be told and to ask.
	headStart = 100 * time.Millisecond
	// maxHeadStarts bounds it: dead candidates are not to cost more.
	maxHeadStarts = 2
	// maxCandidates bounds what everybody who stands makes the server read.
	maxCandidates = 256
)

var (
	//go:embed stand.lua
	standSource string
	//go:embed withdraw.lua
	withdrawSource string
	//go:embed stepdown.lua
	stepdownSource string
	//go:embed candidates.lua
	candidatesSource string
)

// The steps of an election beside those of its lease.
var (
	standScript      = command.NewScript(standSource)
	withdrawScript   = command.NewScript(withdrawSource)
	stepdownScript   = command.NewScript(stepdownSource)
	candidatesScript = command.NewScript(candidatesSource)
)

var errSlow = errors.New("coord: the health check gave no answer in time")

// candidate is one campaign, from its id to its term.
type candidate struct {
	e      *Election
	owned  *owned.Set
	id     string
	weight int

	term      *Term
	standing  bool       // others may wait for it
	vacant    time.Time  // since when nobody has led, as seen here; zero while somebody does
	leader    *standings // who was last seen to lead
	unhealthy error      // what the last health check said
}

func (e *Election) campaign(ctx context.Context, weight int) (*Term, error) {
	if e.err != nil {
		return nil, e.err
	}
	if ctx.Err() != nil {
		return nil, wrap("election", e.name, wait.Ended(ctx))
	}
	s, err := owned.By(e.d, attachment{})
	if err != nil {
		return nil, wrap("election", e.name, fmt.Errorf("%w (%w)", owned.ErrClosed, err))
	}
	if !e.o.allowEviction {
		if err := evict.Check(ctx, e.d); err != nil {
			return nil, wrap("election", e.name, wait.Because(ctx, err))
		}
	}
	c := &candidate{e: e, owned: s, id: owner.New(), weight: weight}
	err = wait.Until(ctx, e.d, e.keys.lease, c.try)
	return c.result(ctx, err)
}

// try asks for the leadership, if this candidate is fit and its turn has come.
// It has the form that wait.Until takes.
func (c *candidate) try(ctx context.Context) (done bool, next time.Duration, err error) {
	if c.unhealthy = c.e.health(ctx); c.unhealthy != nil {
		c.withdraw(ctx)
		return false, c.beat(), nil
	}
	s, err := c.stand(ctx)
	if err != nil {
		return false, 0, err
	}
	if s.led && c.reentrant(ctx, s.term) {
		return false, 0, lease.ErrReentrant
	}
	if s.led {
		return false, c.follow(s), nil
	}
	if d := c.handicap(s.heavier); d > 0 {
		return false, min(c.beat(), d), nil
	}
	return c.take(ctx)
}

// beat is how often a candidate says that it is still there.
func (c *candidate) beat() time.Duration { return c.e.o.ttl / 3 }

// follow notes who leads, and returns when to ask again.
func (c *candidate) follow(s standings) time.Duration {
	c.leader, c.vacant = &s, time.Time{}
	if d := lapse(s.left); d > 0 {
		return min(c.beat(), d)
	}
	return c.beat()
}

// reentrant reports whether ctx comes from the term that runs.
func (c *candidate) reentrant(ctx context.Context, term int64) bool {
	for t := termOf(ctx); t != nil; t = termOf(t.parent) {
		if t.Token() == term && t.e.keys == c.e.keys {
			return true
		}
	}
	return false
}

// health asks whether this process is fit to lead.
func (e *Election) health(ctx context.Context) (err error) {
	if e.o.healthy == nil {
		return nil
	}
	own, cancel := context.WithTimeoutCause(ctx, e.o.ttl/3, errSlow)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("coord: the health check panicked: %v\n%s", v, debug.Stack())
		}
	}()
	err = e.o.healthy(own)
	switch {
	case ctx.Err() != nil:
		return nil // it ended with its caller, whatever it says
	case err != nil:
		return err
	}
	return context.Cause(own)
}

// standings is what a candidate is told when it enters or stays.
type standings struct {
	heavier int
	led     bool
	leader  string
	term    int64
	since   time.Time
	left    time.Duration // negative: the leadership has no end
}

func asStandings(v resp3.View) (standings, error) {
	f := script.Read(v)
	s := standings{heavier: int(f.Int())}
	if f.More() {
		s.led, s.leader, s.term, s.since, s.left = true, f.Text(), f.Int(), f.Micros(), f.Millis()
	}
	return s, f.Err()
}

// stand enters the candidate, or says that it is still there.
func (c *candidate) stand(ctx context.Context) (standings, error) {
	c.standing = true
	return command.RunScript(ctx, c.e.d, standScript, asStandings, []string{c.e.keys.candidates, c.e.keys.lease},
		command.Str(c.id), command.Str(c.e.o.name), command.Int(int64(c.weight)),
		command.Int(c.e.o.ttl.Milliseconds()), command.Int(maxCandidates))
}

// withdraw takes the candidate out again. Best effort: what stays lapses after
// its TTL, and costs lighter candidates a head start until then.
func (c *candidate) withdraw(ctx context.Context) {
	if !c.standing {
		return
	}
	_, err := command.RunScript(ctx, c.e.d, withdrawScript, command.AsBool, []string{c.e.keys.candidates}, command.Str(c.id))
	c.standing = err != nil
}

// handicap returns for how long heavier candidates are still to go first.
func (c *candidate) handicap(heavier int) time.Duration {
	if heavier == 0 {
		return 0
	}
	if c.vacant.IsZero() {
		c.vacant = time.Now()
	}
	return time.Until(c.vacant.Add(time.Duration(min(heavier, maxHeadStarts)) * headStart))
}

// take asks for the lease.
func (c *candidate) take(ctx context.Context) (done bool, next time.Duration, err error) {
	// The lease's parent is a context of the term, so that the term can stop
	// its renewal without releasing it.
	kept, stop := context.WithCancelCause(ctx)
	l, err := lease.TryAcquire(kept, c.e.d, leaseName(c.e.name), c.e.leaseOptions()...)
	if err == nil {
		c.term = newTerm(ctx, c.e, c.owned, l, stop)
		return true, 0, nil
	}
	stop(nil)
	var held *lease.HeldError
	var lost *lease.LostError
	switch {
	case errors.As(err, &held):
		return false, c.follow(standings{led: true, leader: held.Owner, term: held.Token, since: held.Since, left: held.TTL}), nil
	case errors.As(err, &lost) && lost.Reason == "expired":
		// The grant was so long on its way that it came when it had lapsed.
		return false, c.e.o.ttl / 10, nil
	}
	return false, 0, err
}

// result turns the end of waiting into a term or an error.
func (c *candidate) result(ctx context.Context, err error) (*Term, error) {
	t := c.term
	won := t != nil && ctx.Err() == nil
	if won {
		err = t.start()
		won = err == nil
	}
	if t != nil && !won {
		t.end(reasonResigned, nil)
	}
	// Best effort, with nobody waiting: what stays lapses after its TTL.
	c.owned.After(ctx, func(ctx context.Context) {
		if t != nil && !won {
			_ = t.lease.Release(ctx)
		}
		c.withdraw(ctx)
	})
	if won {
		return t, nil
	}
	cause := wait.Ended(ctx)
	switch {
	case cause != nil && c.unhealthy != nil:
		return nil, wrap("election", c.e.name, fmt.Errorf("%w (%w: %w)", cause, ErrUnhealthy, c.unhealthy))
	case cause != nil && c.leader != nil:
		return nil, &NotLeaderError{
			Name: c.e.name, Leader: c.leader.leader, Term: c.leader.term,
			Since: c.leader.since, Left: c.leader.left, Err: cause,
		}
	}
	return nil, wrap("election", c.e.name, wait.Because(ctx, err))
}
