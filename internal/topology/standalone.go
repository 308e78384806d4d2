package topology

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/observe"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
	"github.com/redisx/redisx/telemetry"
)

const (
	pauseBase = 20 * time.Millisecond
	pauseMax  = 500 * time.Millisecond
)

// Config is what a topology needs beside its nodes.
type Config struct {
	Policy
	Burst     int          // attempts beyond the first that the budget holds
	Traffic   func() int64 // commands sent so far, for the budget
	Observers *observe.Set
}

// Standalone runs commands on one node. It may be used by many goroutines at
// once.
type Standalone struct {
	node   *pool.Node // not an interface: requests would escape to the heap
	cfg    Config
	budget *budget
	tally  tally
}

// tally is what a topology counts.
type tally struct {
	errors [command.Done + 1]atomic.Int64 // delivered, by outcome
	again  [command.Done + 1]atomic.Int64 // commands sent again, by the outcome of the attempt before
	denied atomic.Int64                   // commands not sent again because the budget was empty
}

// Stats is what a topology has done so far.
type Stats struct {
	Errors [command.Done + 1]int64 // delivered, by outcome
	Again  [command.Done + 1]int64 // commands sent again, by the outcome of the attempt before
	Denied int64
	Budget float64 // attempts that the budget would allow now
}

// NewStandalone returns the topology of one node.
func NewStandalone(node *pool.Node, cfg Config) *Standalone {
	return &Standalone{node: node, cfg: cfg, budget: newBudget(cfg.Burst, cfg.Traffic)}
}

// Stats returns a snapshot.
func (s *Standalone) Stats() Stats {
	st := Stats{Denied: s.tally.denied.Load(), Budget: s.budget.remaining()}
	for i := range st.Errors {
		st.Errors[i] = s.tally.errors[i].Load()
		st.Again[i] = s.tally.again[i].Load()
	}
	return st
}

// Failed counts an error that is delivered to a caller. What the client itself
// refused is not counted.
func (s *Standalone) Failed(err error) {
	var e *command.Error
	if errors.As(err, &e) && e.Phase != "build" && e.Outcome <= command.Done {
		s.tally.errors[e.Outcome].Add(1)
	}
}

// Do runs one request.
func (s *Standalone) Do(ctx context.Context, r *command.Request) (command.Reply, error) {
	reply, err := s.node.Do(ctx, r)
	if err == nil {
		return reply, nil
	}
	return s.again(ctx, r, err)
}

// again is the rest of Do after a first attempt that failed with err.
func (s *Standalone) again(ctx context.Context, r *command.Request, err error) (command.Reply, error) {
	var before past
	for {
		var e *command.Error
		if !errors.As(err, &e) {
			return command.Reply{}, err
		}
		now := time.Now()
		if !s.cfg.judge(ctx, r, e, &before, now) || !s.spend(ctx, r, e, &before, 1) {
			before.close(e)
			s.Failed(e)
			return command.Reply{}, err
		}
		pause := before.pause()
		before.note(e, now)
		s.tell(ctx, r, e, &before, 1, pause)
		if ended := session.Sleep(ctx, pause); ended != nil {
			err = gone(e, ended)
			before.close(e)
			s.Failed(e)
			return command.Reply{}, err
		}
		reply, failed := s.node.Do(ctx, r)
		if failed == nil {
			answered(ctx, 0, &before)
			return reply, nil
		}
		err = failed
	}
}

// spend takes n attempts out of the budget, or says that it is empty.
func (s *Standalone) spend(ctx context.Context, r *command.Request, e *command.Error, before *past, n int) bool {
	if s.budget.take(n) {
		s.tally.again[e.Outcome].Add(int64(n))
		return true
	}
	s.tally.denied.Add(int64(n))
	event := retry(r, e, before.attempts+e.Attempts, n)
	event.Denied = true
	s.cfg.Observers.Retry(ctx, event)
	return false
}

// tell tells of n commands, the first of them r, that are sent again after e,
// which before has noted.
func (s *Standalone) tell(ctx context.Context, r *command.Request, e *command.Error, before *past, n int, pause time.Duration) {
	event := retry(r, e, before.attempts, n)
	event.Pause = pause
	s.cfg.Observers.Retry(ctx, event)
}

func retry(r *command.Request, e *command.Error, attempt, n int) telemetry.Retry {
	return telemetry.Retry{
		Command: r.Name(), Commands: n, Node: e.Node, Attempt: attempt, Outcome: OutcomeOf(e), Err: Shown(r, e),
	}
}

// pause returns how long to wait before the next attempt.
func (p *past) pause() time.Duration {
	return rand.N(min(pauseBase<<min(p.reads+p.notRun, 16), pauseMax))
}

// gone makes e the error of a command whose caller's context ended in the pause
// before the next attempt. The attempt itself has been noted.
func gone(e *command.Error, ended error) error {
	e.Err = fmt.Errorf("%w (last attempt: %w)", ended, e.Err)
	e.Attempts = 0
	return e
}

// OutcomeOf returns the outcome of err as observers are told it.
func OutcomeOf(err error) telemetry.Outcome {
	if err == nil {
		return telemetry.OK
	}
	var e *command.Error
	if !errors.As(err, &e) {
		return telemetry.Maybe
	}
	switch e.Outcome {
	case command.NotSent:
		return telemetry.NotSent
	case command.Cut:
		return telemetry.Cut
	case command.Refused:
		return telemetry.Refused
	case command.Done:
		return telemetry.Failed
	}
	return telemetry.Maybe
}

// Shown returns err as observers are told it: what a server says about a
// command with credentials may quote them, so only its code is left.
func Shown(r *command.Request, err error) error {
	var e *command.Error
	var reply resp3.ServerError
	if spec := r.Spec(); spec == nil || !spec.Has(command.Secret) || !errors.As(err, &e) || !errors.As(err, &reply) {
		return err
	}
	shown := *e
	shown.Err = resp3.ServerError(reply.Code())
	return &shown
}
