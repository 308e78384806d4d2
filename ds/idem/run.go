package idem

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
)

// Run runs fn once for key, among all processes that share the server, and
// returns its result to every caller: the one that runs it, those that come
// while it runs and wait, and those that come later, until the retention ends.
//
// fn runs on the caller's goroutine. Its context ends with ctx, and with a
// *FencedError as cause when the run's lease is lost. What becomes of the key
// depends on how fn ends:
//
//	returns nil         the value is stored; everybody gets it decoded anew
//	returns Final(err)  the error's text is stored; later callers get *StoredError
//	returns err         nothing is stored; the next caller runs
//	panics, or Goexit   nothing is stored; the next caller runs; the panic goes on
//
// Errors of its own: *InProgressError, *MismatchError, *IndeterminateError,
// *UnsafeServerError (fn was not run); *FencedError, *UnsettledError,
// *ResultError (fn was run; with the last two the value is valid); the client's
// errors before fn, wrapped. When ctx ends, Run returns as soon as fn does, and
// 10 ms later at most; what is left to tell the server goes on without it.
func Run[T any](ctx context.Context, d command.Doer, key string, fn func(ctx context.Context) (T, error), opts ...Option) (T, error) {
	var zero T
	cfg, err := configure(opts)
	if err != nil {
		return zero, err
	}
	r := &run{config: cfg, d: d, key: key, record: recordKey(cfg.namespace, key), runner: owner.New()}
	begun, err := r.begin(ctx)
	if err != nil {
		return zero, err
	}
	if begun.state != claimed {
		return replay[T](r, begun)
	}
	return execute(ctx, r, begun, fn)
}

// run is one call of Run.
type run struct {
	config
	d      command.Doer
	key    string
	record []string
	runner string
	token  int64
}

// begin returns when the key is claimed, or when it has an outcome.
func (r *run) begin(ctx context.Context) (reply, error) {
	if !r.allowEviction {
		if err := evict.Check(ctx, r.d); err != nil {
			return reply{}, fmt.Errorf("idem: %s: %w", r.key, err)
		}
	}
	var last reply
	err := wait.Until(ctx, r.d, r.record[0], func(ctx context.Context) (bool, time.Duration, error) {
		now, err := r.claim(ctx)
		if err != nil {
			return false, 0, err
		}
		last = now
		if last.state == running && r.noWait {
			return true, 0, nil
		}
		// A millisecond after the lease, so that the server agrees.
		return last.state != running, last.left + time.Millisecond, nil
	})
	switch {
	case err != nil && last.state == running && ctx.Err() != nil:
		return last, r.inProgress(last, context.Cause(ctx))
	case err != nil:
		return last, fmt.Errorf("idem: %s: %w", r.key, err)
	case last.state == running:
		return last, r.inProgress(last, nil)
	}
	return last, nil
}

func (r *run) inProgress(l reply, cause error) error {
	return &InProgressError{Key: r.key, Runner: l.runner, Since: l.since, Lease: l.left, Err: cause}
}

// claim asks once.
func (r *run) claim(ctx context.Context) (reply, error) {
	sent := time.Now()
	got, err := command.RunScript(ctx, r.d, beginScript, decodeReply, r.record,
		command.Str(r.runner), command.Int(r.ttl.Milliseconds()), command.Int(r.retention.Milliseconds()),
		command.Str(r.fingerprint), command.Str(string(r.crash)))
	got.sent = sent
	if err != nil && script.MayHaveRun(err) {
		// The server may have given us the key. Nobody would run it until the
		// lease lapsed, and then it would count as begun and never ended.
		// Whether this works or not, the caller gets the first error.
		_ = outlive(ctx, r.d, r.ttl, func(ctx context.Context) error { return insist(ctx, r.abandon) })
	}
	return got, err
}

// fenced returns the error of a run that is not the key's any more.
func (r *run) fenced(reason string, err error) *FencedError {
	return &FencedError{Key: r.key, Token: r.token, Reason: reason, Err: err}
}

func (r *run) renew(ctx context.Context) error {
	s, err := command.RunScript(ctx, r.d, renewScript, decodeVerdict, r.record,
		command.Int(r.token), command.Int(r.ttl.Milliseconds()), command.Int(r.retention.Milliseconds()))
	if err == nil && s != "" {
		return fmt.Errorf("%w: the record is %s", hold.ErrGone, s)
	}
	return err
}

// abandon frees the key. That it is not ours to free is a *FencedError.
func (r *run) abandon(ctx context.Context) error {
	s, err := command.RunScript(ctx, r.d, abandonScript, decodeVerdict, r.record, command.Str(r.runner))
	if err == nil && s != "" {
		return r.fenced(string(s), nil)
	}
	return err
}

// finish returns the step that stores an outcome.
func (r *run) finish(s state, payload []byte) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		now, err := command.RunScript(ctx, r.d, finishScript, decodeVerdict, r.record,
			command.Int(r.token), command.Str(string(s)), command.Bytes(payload), command.Int(r.retention.Milliseconds()))
		if err == nil && now != "" {
			return r.fenced(string(now), nil)
		}
		return err
	}
}

// settle takes a last step, on the caller's goroutine if all is well, and ends
// the hold. Renewals go on until the server has answered.
func (r *run) settle(ctx context.Context, h *hold.Hold, step func(ctx context.Context) error) error {
	if ctx.Err() == nil {
		if err := step(ctx); err == nil || answered(err) {
			h.Stop()
			return err
		}
	}
	return outlive(ctx, r.d, r.ttl, func(ctx context.Context) error {
		defer h.Stop()
		return insist(ctx, step)
	})
}

// settled returns what Run returns for a run whose last step ended with err and
// whose fn returned result.
func (r *run) settled(result, err error) error {
	var f *FencedError
	switch {
	case err == nil:
		return result
	case errors.As(err, &f):
		return r.fenced(f.Reason, result)
	}
	return &UnsettledError{Key: r.key, Result: result, Err: err}
}

// execute runs fn under the claim.
func execute[T any](ctx context.Context, r *run, begun reply, fn func(ctx context.Context) (T, error)) (T, error) {
	var zero T
	r.token = begun.token
	// The lease lasts as long as fn runs, also where fn does not heed ctx.
	h := hold.Start(context.WithoutCancel(ctx), begun.sent, hold.Options{
		TTL:   r.ttl,
		Renew: r.renew,
		Lost:  func(reason hold.Reason, err error) error { return r.fenced(string(reason), err) },
	})
	returned := false
	defer func() {
		if !returned { // a panic or Goexit of fn, which goes on after this
			_ = r.settle(ctx, h, r.abandon)
		}
	}()
	own, cancel := withLease(ctx, h)
	defer cancel(nil)
	if own.Err() != nil {
		// The claim came too late to be of use: nothing has run.
		returned = true
		cause := context.Cause(own)
		_ = r.settle(ctx, h, r.abandon)
		return zero, fmt.Errorf("idem: %s: not run: %w", r.key, cause)
	}
	v, err := fn(own)
	returned = true

	if err != nil {
		step := r.abandon
		if f := (*finalError)(nil); errors.As(err, &f) {
			step = r.finish(final, []byte(clip(err.Error())))
		}
		return zero, r.settled(err, r.settle(ctx, h, step))
	}
	payload, same, bad := encode(r, v)
	if bad != nil {
		note := "codec"
		if bad.Size > 0 {
			note = fmt.Sprintf("size %d %d", bad.Size, bad.Limit)
		}
		err := r.settled(bad, r.settle(ctx, h, r.finish(unstored, []byte(note))))
		return keep(v, err)
	}
	err = r.settled(nil, r.settle(ctx, h, r.finish(done, payload)))
	return keep(same, err)
}

// keep drops the value of a fenced run.
func keep[T any](v T, err error) (T, error) {
	if errors.Is(err, ErrFenced) {
		var zero T
		return zero, err
	}
	return v, err
}

// encode returns v's bytes, and v as everybody else will see it.
func encode[T any](r *run, v T) ([]byte, T, *ResultError) {
	var same T
	b, err := r.codec.Encode(v)
	if err != nil {
		return nil, v, &ResultError{Key: r.key, Err: err}
	}
	if len(b) > r.maxResult {
		return nil, v, &ResultError{Key: r.key, Size: len(b), Limit: r.maxResult}
	}
	if err := r.codec.Decode(b, &same); err != nil {
		return nil, v, &ResultError{Key: r.key, Err: err}
	}
	return b, same, nil
}

// replay returns the outcome of an earlier run.
func replay[T any](r *run, l reply) (T, error) {
	var v T
	switch l.state {
	case done:
		if err := r.codec.Decode([]byte(l.payload), &v); err != nil {
			var zero T
			return zero, fmt.Errorf("idem: %s: the stored result is no %T: %w", r.key, zero, err)
		}
		return v, nil
	case final:
		return v, &StoredError{Key: r.key, Message: l.payload, Runner: l.runner, Since: l.since}
	case unstored:
		return v, r.unstored(l.payload)
	case lost:
		return v, &IndeterminateError{Key: r.key, Runner: l.runner, Since: l.since, Token: l.token}
	case mismatch:
		return v, &MismatchError{Key: r.key, Since: l.since}
	}
	return v, fmt.Errorf("idem: %s: the record is in the unknown state %q", r.key, string(l.state))
}

// unstored reads the note that a run left instead of its result.
func (r *run) unstored(note string) error {
	e := &ResultError{Key: r.key}
	// Anything but the form below is the note of a codec's failure.
	if _, err := fmt.Sscanf(note, "size %d %d", &e.Size, &e.Limit); err != nil {
		e.Size, e.Limit = 0, 0
	}
	return e
}

// clip bounds an error's text.
func clip(s string) string {
	if len(s) <= maxStoredMessage {
		return s
	}
	return s[:maxStoredMessage] + "… (" + strconv.Itoa(len(s)) + " bytes)"
}

// runContext ends with the caller's context and with the lease. Like the
// hold's own it looks at the clock on every use, so that a process that was
// stopped past its lease finds it ended at once.
type runContext struct {
	context.Context
	h      *hold.Hold
	cancel context.CancelCauseFunc
}

func withLease(ctx context.Context, h *hold.Hold) (context.Context, context.CancelCauseFunc) {
	inner, cancel := context.WithCancelCause(ctx)
	c := runContext{inner, h, cancel}
	forget := context.AfterFunc(h.Context(), c.look)
	return c, func(cause error) {
		forget()
		cancel(cause)
	}
}

// look ends the context if the lease is lost.
func (c runContext) look() {
	if err := c.h.Err(); err != nil {
		c.cancel(err)
	}
}

// Done returns the channel that is closed at the end.
func (c runContext) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

// Err returns nil until the end.
func (c runContext) Err() error {
	c.look()
	return c.Context.Err()
}

// Value returns the caller's value. context.Cause asks for one, too.
func (c runContext) Value(key any) any {
	c.look()
	return c.Context.Value(key)
}
