package queue

import (
	"context"
	"errors"
	"time"

	"github.com/redisx/redisx/command"
)

const (
	// maxCause bounds the text that a dead letter keeps of why.
	maxCause = 8 << 10
	// settleTime bounds one try to settle what a handler has done.
	settleTime = 2 * time.Second
)

// call runs a script on deliveries: group, consumer, more, and then id and
// attempt of each. It returns a code for each.
func (c *consumer) call(ctx context.Context, s *command.Script, ds []*delivery, more ...command.Arg) ([]int64, error) {
	k := c.core.keys
	keys := []string{k.jobs, k.deadlines}
	if s == releaseScript {
		keys = append(keys, k.wake)
	}
	args := make([]command.Arg, 0, 2+len(more)+2*len(ds))
	args = append(args, command.Str(c.cfg.group), command.Str(c.id))
	args = append(args, more...)
	for _, d := range ds {
		args = append(args, command.Str(d.id), command.Int(d.attempt))
	}
	codes, err := command.RunScript(ctx, c.core.d, s, command.AsSlice(command.AsInt), keys, args...)
	if err == nil && len(codes) != len(ds) {
		err = errShape
	}
	return codes, err
}

// ack settles deliveries as done, in one round trip. It returns an error for
// each: nil for done.
func (c *consumer) ack(ctx context.Context, ds []*delivery) []error {
	return c.settleMany(ctx, ackVerb, ackScript, ds)
}

// release hands deliveries back that nobody has begun to work on.
func (c *consumer) release(ctx context.Context, ds []*delivery) []error {
	return c.settleMany(ctx, releaseVerb, releaseScript, ds)
}

func (c *consumer) settleMany(ctx context.Context, by verb, s *command.Script, ds []*delivery) []error {
	errs := make([]error, len(ds))
	sending := make([]*delivery, 0, len(ds))
	at := make([]int, 0, len(ds))
	c.mu.Lock()
	for i, d := range ds {
		send, err := d.begin(by)
		errs[i] = err
		if send {
			sending, at = append(sending, d), append(at, i)
		}
	}
	c.mu.Unlock()
	if len(sending) == 0 {
		return errs
	}
	codes, err := c.call(ctx, s, sending)
	for i, d := range sending {
		code := int64(codeOK)
		if err == nil {
			code = codes[i]
		}
		errs[at[i]] = c.finish(d, code, err)
	}
	c.stopIfDone()
	return errs
}

// retry gives a delivery up until delay has passed on the server.
func (c *consumer) retry(ctx context.Context, d *delivery, delay time.Duration, cause string) error {
	k := c.core.keys
	delay = max(delay, 0)
	ms := (delay + time.Millisecond - 1) / time.Millisecond // never earlier than asked for
	return c.settleOne(ctx, retryVerb, d, retryScript, []string{k.jobs, k.deadlines, k.wake, k.dead},
		command.Int(int64(ms)), command.Int(int64(c.cfg.attempts)),
		command.Int(c.cfg.wait().Milliseconds()), command.Str(clip(cause)))
}

// bury makes a delivery's job a dead letter.
func (c *consumer) bury(ctx context.Context, d *delivery, cause string) error {
	k := c.core.keys
	return c.settleOne(ctx, deadVerb, d, deadScript, []string{k.jobs, k.deadlines, k.dead}, command.Str(clip(cause)))
}

func (c *consumer) settleOne(ctx context.Context, by verb, d *delivery, s *command.Script, keys []string, more ...command.Arg) error {
	c.mu.Lock()
	send, err := d.begin(by)
	c.mu.Unlock()
	if !send {
		return err
	}
	args := append([]command.Arg{
		command.Str(c.cfg.group), command.Str(c.id), command.Str(d.id), command.Int(d.attempt),
	}, more...)
	code, err := command.RunScript(ctx, c.core.d, s, command.AsInt, keys, args...)
	err = c.finish(d, code, err)
	c.stopIfDone()
	return err
}

// begin reports whether a settling may be sent, and if not what to answer. The
// caller holds the consumer's mu.
func (d *delivery) begin(by verb) (send bool, err error) {
	switch d.state {
	case settled:
		if d.by == by {
			return false, nil
		}
		return false, d.c.core.failed("settle "+d.id, errSettled)
	case settling:
		return false, d.c.core.failed("settle "+d.id, errSettling)
	case stale:
		return false, d.cause
	}
	d.from = d.state
	d.by = by
	d.to(settling)
	return true, nil
}

// finish notes what became of a settling: the script's code, or why there is
// none.
func (c *consumer) finish(d *delivery, code int64, err error) error {
	// Asked outside of mu: a hold that finds its window closed ends here.
	trusted := d.hold.Err() == nil
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if mayHaveRun(err) {
			d.maybe = d.by
		}
		if d.from == held {
			d.to(held)
		} else {
			c.drop(d, lapsed, d.cause)
		}
		return c.core.failed("settle "+d.id, err)
	}
	ours := code == codeGone && d.maybe == d.by && d.from == held && trusted
	if code >= codeOK || ours {
		c.drop(d, settled, nil)
		return nil
	}
	cause := d.staleError(reasonOf(code), nil)
	d.cause = cause
	c.drop(d, stale, cause)
	return cause
}

// mayHaveRun reports whether a script that returned err may have run. One that
// the server answered with an error may have run in part, but a settling script
// raises none once it has written, save where the queue is broken.
func mayHaveRun(err error) bool {
	var e *command.Error
	if errors.As(err, &e) {
		return e.Outcome == command.Maybe
	}
	return true
}

// stopIfDone stops the hold when the consumer has ended and nothing is open.
func (c *consumer) stopIfDone() {
	c.mu.Lock()
	h, unhear := c.hold, c.unhear
	done := c.ended && len(c.open) == 0
	c.mu.Unlock()
	if done && h != nil {
		unhear()
		h.Stop()
	}
}

// insist repeats a settling that did not get through, for as long as the
// delivery is ours. That is safe, also where an answer was lost: the server
// takes it once, from this delivery.
func (c *consumer) insist(d *delivery, settle func(context.Context) error) {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		ctx, cancel := context.WithTimeout(c.base, min(c.cfg.visibility, settleTime))
		err := settle(ctx)
		cancel()
		if err == nil {
			return
		}
		c.cfg.onError(err)
		if errors.Is(err, ErrStaleDelivery) || errors.Is(err, errSettled) || d.ctx.Err() != nil {
			return
		}
		sleep(d.ctx, pause)
	}
}

// sleep waits for pause, or until ctx ends.
func sleep(ctx context.Context, pause time.Duration) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// clip bounds a cause, without cutting a character in two.
func clip(s string) string {
	if len(s) <= maxCause {
		return s
	}
	n := maxCause
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
