package redisx

import (
	"context"
	"errors"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/observe"
	"github.com/redisx/redisx/internal/topology"
	"github.com/redisx/redisx/resp3"
	"github.com/redisx/redisx/telemetry"
)

// Observer listens to what a client does, or decides what it may do: tracing,
// metrics, a circuit breaker, a view of the wire. It implements one or more of
// the small interfaces of package telemetry.
type Observer = telemetry.Observer

// RetryConfig bounds what a client sends again by itself. Every attempt beyond
// the first is counted (Stats), told to observers and noted in Error.Attempts.
//
// What is sent again, after a pause with jitter, within the caller's context:
// reads of which nobody knows whether they ran; commands that certainly did not
// run, because the connection ended within them or the server refused them for
// a reason that passes (LOADING, BUSY, TRYAGAIN, CLUSTERDOWN, MASTERDOWN). What
// is not: anything after a deadline or a cancel, and a write that may have run,
// unless Repeatable marks it. Of a pipeline the failed end is sent again, if
// each command of it may be; so its order is kept. Commands of sessions and
// transactions are never sent again.
type RetryConfig struct {
	// Reads is how often a read is sent again when nobody knows whether it ran.
	// Default 2; negative: never.
	Reads int
	// NotRun is how often a command is sent again that did not run. A refusal is
	// waited out for Config.OfflineWait at most. Default 8; negative: never.
	NotRun int
	// Burst is how many attempts beyond the first the budget holds. Each command
	// adds a tenth of one, each attempt takes one, a batch one for each command
	// in it; without enough, the error is delivered. Default 100; negative: the
	// budget is always empty, so nothing is sent again.
	Burst int
}

func (r RetryConfig) withDefaults() RetryConfig {
	set := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	set(&r.Reads, 2)
	set(&r.NotRun, 8)
	set(&r.Burst, 100)
	return r
}

// Repeatable marks the commands that are run with the context it returns as fit
// for another attempt when nobody knows whether they ran, as reads always are.
// It has effect on commands whose repeat leaves the same data (their
// command.Retry is RetryState): SET, HSET, DEL, EXPIREAT. A late repeat may
// overwrite what another writer has written in between; who marks says that
// this does no harm. INCR and its like cannot be marked.
func Repeatable(ctx context.Context) context.Context { return topology.Repeatable(ctx) }

// observers returns those of the Config, and the log.
func (c *Config) observers() (*observe.Set, error) {
	list := c.Observers
	if c.Logger != nil {
		list = append(append([]Observer(nil), list...), telemetry.NewLog(c.Logger))
	}
	return observe.New(list)
}

// observed runs one request as observers see it.
func (c *Client) observed(ctx context.Context, r command.Request, run func(context.Context, *command.Request) (command.Reply, error)) (command.Reply, error) {
	e := telemetry.Command{Name: r.Name(), Node: c.node.Name(), Start: time.Now(), Block: r.Block()}
	if r.Err() == nil {
		e.RequestBytes = r.Size()
	}
	e.Keys = func() []string { return appendKeys(nil, &r) }
	attempts := [1]int{}
	ctx = c.observers.Start(ctx, &e)
	var reply command.Reply
	err := c.observers.Admit(ctx, &e)
	if err != nil {
		err = refuse(&r, err)
	} else {
		reply, err = run(topology.CountAttempts(ctx, attempts[:]), &r)
	}
	e.Err = topology.Shown(&r, err)
	e.Outcome, e.Attempts = told(err, attempts[0])
	if err == nil {
		e.ReplyBytes = len(reply.View().Raw())
	}
	e.Duration = time.Since(e.Start)
	c.observers.End(ctx, &e)
	return reply, err
}

// observedBatch runs a batch as observers see it.
func (c *Client) observedBatch(ctx context.Context, rs []command.Request, got gotten, run doBatch) error {
	if len(rs) == 0 {
		return run(ctx, rs, got)
	}
	e := telemetry.Command{Name: "PIPELINE", Node: c.node.Name(), Start: time.Now(), Outcome: telemetry.OK}
	if rs[0].Name() == "MULTI" {
		e.Name = "MULTI"
	}
	e.Batch = make([]telemetry.Item, len(rs))
	for i := range rs {
		e.Batch[i].Name = rs[i].Name()
		if rs[i].Err() == nil {
			e.RequestBytes += rs[i].Size()
		}
		if b := rs[i].Block(); b < 0 || e.Block < 0 {
			e.Block = -1
		} else {
			e.Block += b
		}
	}
	e.Keys = func() []string {
		var keys []string
		for i := range rs {
			keys = appendKeys(keys, &rs[i])
		}
		return keys
	}
	attempts := make([]int, len(rs))
	ctx = c.observers.Start(ctx, &e)
	note := func(i int, v resp3.View, err error) {
		item := &e.Batch[i]
		item.Err = topology.Shown(&rs[i], err)
		item.Outcome, item.Attempts = told(err, attempts[i])
		if e.Outcome == telemetry.OK && err != nil {
			e.Outcome, e.Err = item.Outcome, item.Err
		}
		e.Attempts = max(e.Attempts, item.Attempts)
		e.ReplyBytes += len(v.Raw())
		got(i, v, err)
	}
	err := c.observers.Admit(ctx, &e)
	if err != nil {
		err = refuseAll(rs, note, err)
	} else {
		err = run(topology.CountAttempts(ctx, attempts), rs, note)
	}
	e.Duration = time.Since(e.Start)
	c.observers.End(ctx, &e)
	return err
}

// direct runs a batch that is never sent again, of a session or a transaction.
func (c *Client) direct(ctx context.Context, rs []command.Request, got gotten, run doBatch) error {
	give := func(i int, v resp3.View, err error) {
		if err != nil {
			c.route.Failed(err)
		}
		got(i, v, err)
	}
	if c.observers.Commands() {
		return c.observedBatch(ctx, rs, give, run)
	}
	return run(ctx, rs, give)
}

// told returns what observers are told of an end. attempts is 0 if the command
// was not sent again.
func told(err error, attempts int) (telemetry.Outcome, int) {
	if err == nil {
		return telemetry.OK, max(attempts, 1)
	}
	var e *Error
	if errors.As(err, &e) {
		attempts = e.Attempts
	}
	return topology.OutcomeOf(err), attempts
}

func appendKeys(keys []string, r *command.Request) []string {
	for k := range r.Keys() {
		keys = append(keys, k)
	}
	return keys
}
