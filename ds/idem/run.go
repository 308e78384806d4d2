package idem

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/codec"
	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
)

// Run runs fn once for key, among all processes that share the server, and
// returns its result to every caller: the one that runs it, those that come
// while it runs and wait, and those that come later, until the retention ends.
//
// fn runs on the caller's goroutine. Its context ends with ctx, and with an
// *Error that is ErrFenced as cause when the run's lease is lost; Checkpoint and
// Effect find the run in it. What becomes of the key depends on how fn ends:
//
//	returns nil         the value is stored; everybody gets it decoded anew
//	returns Final(err)  the error's text is stored; later callers get ErrFailed
//	returns err         nothing but checkpoints is stored; the next caller runs
//	panics, or Goexit   the same; the panic goes on
//
// A run that loses its lease before fn returns an error or panics was cut off in
// the middle: its key counts as begun and never ended.
//
// Errors of its own are *Error and *UnsafeServerError. ErrInProgress,
// ErrKeyMismatch, ErrIndeterminate and *UnsafeServerError mean that fn was not
// run, and so do the client's errors, wrapped, unless fn has run; with
// ErrUnsettled and ErrResultTooLarge the value is valid. When ctx ends, Run
// returns as soon as fn does, and 10 ms later at most; what is left to tell the
// server goes on without it.
func Run[T any](ctx context.Context, d command.Doer, key string, fn func(ctx context.Context) (T, error), opts ...Option) (T, error) {
	cfg, err := configure(opts)
	if err != nil {
		var zero T
		return zero, err
	}
	return do(ctx, newRun(ctx, d, key, cfg), fn)
}

// do is Run for a run that was made.
func do[T any](ctx context.Context, r *run, fn func(ctx context.Context) (T, error)) (T, error) {
	begun, err := r.begin(ctx)
	if err != nil {
		var zero T
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
	d       command.Doer
	key     string
	record  []string
	runner  string
	results codec.Codec // of what fn returns
	outer   *run        // in whose fn this one is, or nil
	token   int64

	mu      sync.Mutex
	over    bool // fn has returned
	steps   steps
	effects []command.Request
}

func newRun(ctx context.Context, d command.Doer, key string, cfg config) *run {
	return &run{
		config: cfg, d: d, key: key, record: recordKey(cfg.namespace, key), runner: owner.New(),
		results: cfg.codec, outer: runOf(ctx),
	}
}

// inside reports whether this call is made by the fn of a run of the same key,
// so that waiting for it would never end.
func (r *run) inside() *run {
	for o := r.outer; o != nil; o = o.outer {
		if o.record[0] == r.record[0] && owned.Comparable(o.d) && owned.Comparable(r.d) && o.d == r.d && !o.ended() {
			return o
		}
	}
	return nil
}

func (r *run) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// begin returns when the key is claimed, or when it has an outcome.
func (r *run) begin(ctx context.Context) (reply, error) {
	if o := r.inside(); o != nil {
		return reply{}, reply{runner: o.runner, token: o.token, left: o.ttl}.inProgress(r.key, errInside)
	}
	if !r.allowEviction {
		if err := evict.Check(ctx, r.d); err != nil {
			return reply{}, fmt.Errorf("idem: %s: %w", r.key, err)
		}
	}
	waiting := ctx
	if r.bounded && r.wait > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, r.wait)
		defer cancel()
	}
	var last reply
	err := wait.Until(waiting, r.d, r.record[0], func(context.Context) (bool, time.Duration, error) {
		// Not the context that ends with the budget: a claim that is cut off may
		// have been granted.
		now, err := r.claim(ctx)
		if err != nil {
			return false, 0, err
		}
		last = now
		if last.state == running && r.bounded && r.wait == 0 {
			return true, 0, nil
		}
		// A millisecond after the lease, so that the server agrees.
		return last.state != running, last.left + time.Millisecond, nil
	})
	switch {
	case last.state == running && (err == nil || waiting.Err() != nil):
		return last, last.inProgress(r.key, wait.Ended(ctx))
	case err != nil:
		return last, fmt.Errorf("idem: %s: %w", r.key, wait.Because(ctx, err))
	}
	return last, nil
}

// errInside is why nobody waits for the run that he is part of.
var errInside = errors.New("by the very run that asks")

// claim asks once.
func (r *run) claim(ctx context.Context) (reply, error) {
	sent := time.Now()
	got, err := command.RunScript(ctx, r.d, lua.begin, decodeReply, r.record,
		command.Str(r.runner), command.Int(r.ttl.Milliseconds()), command.Int(r.retention.Milliseconds()),
		command.Str(r.fingerprint), command.Str(string(r.crash)))
	got.sent = sent
	if err != nil && script.MayHaveRun(err) {
		// The server may have given us the key. Nobody would run it until the
		// lease lapsed, and then it would count as begun and never ended.
		// Whether this works or not, the caller gets the first error, and soon.
		short, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_ = outlive(short, r.d, r.ttl, func(ctx context.Context) error { return insist(ctx, r.abandon) })
	}
	return got, err
}

// abandon frees the key and leaves it what the checkpoints saved. That it is not
// ours to free is an *Error.
func (r *run) abandon(ctx context.Context) error {
	doubt, unsure := r.steps.left()
	args := append([]command.Arg{command.Str(r.runner), command.Int(r.retention.Milliseconds()), command.Str(doubt)}, unsure...)
	a, err := command.RunScript(ctx, r.d, lua.abandon, decodeVerdict, r.record, args...)
	if err == nil && !a.ok {
		return r.fenced(string(a.state), nil)
	}
	return err
}

// finish returns the step that stores an outcome.
func (r *run) finish(s state, payload []byte) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		a, err := command.RunScript(ctx, r.d, lua.finish, decodeVerdict, r.record,
			command.Int(r.token), command.Str(string(s)), command.Bytes(payload), command.Int(r.retention.Milliseconds()))
		if err == nil && !a.ok {
			return r.fenced(string(a.state), nil)
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
	var e *Error
	// The cause of ctx may be the Error of another run, in whose fn this one is.
	own := errors.As(err, &e) && e.Key == r.key && e.Token == r.token
	switch {
	case err == nil:
		return result
	case errors.Is(err, errRefused):
		return err
	case own && e.State == string(fenced):
		return r.fenced(e.Reason, result)
	case own:
		return e
	}
	return &Error{Key: r.key, State: string(unsettled), Token: r.token, Err: errors.Join(result, err)}
}

// execute runs fn under the claim.
func execute[T any](ctx context.Context, r *run, begun reply, fn func(ctx context.Context) (T, error)) (T, error) {
	var zero T
	r.token = begun.token
	r.steps.resume(begun.saved)
	// The lease lasts as long as fn runs, also where fn does not heed ctx.
	h := hold.Start(context.WithoutCancel(ctx), begun.sent, hold.Options{
		TTL: r.ttl, Row: (*row)(r), Doer: r.d,
		Lost: func(reason hold.Reason, err error) error { return r.fenced(string(reason), err) },
	})
	returned := false
	defer func() {
		if !returned { // a panic or Goexit of fn, which goes on after this
			r.close(h.Err())
			_ = r.settle(ctx, h, r.abandon)
		}
	}()
	own, cancel := withLease(ctx, h, r)
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
	effects := r.close(h.Err())

	if err != nil {
		step := r.abandon
		if f := (*finalError)(nil); errors.As(err, &f) {
			step = r.finish(final, []byte(clip(err.Error())))
		}
		return zero, r.settled(err, r.settle(ctx, h, step))
	}
	payload, same, bad := encode(r, v)
	outcome, result := done, error(nil)
	if bad != nil {
		outcome, result = unstored, bad
		payload = []byte("codec")
		if bad.Size > 0 {
			payload = fmt.Appendf(nil, "size %d %d", bad.Size, bad.Limit)
		}
	}
	step := r.finish(outcome, payload)
	if len(effects) > 0 {
		step = r.commit(outcome, payload, effects)
	}
	return keep(same, r.settled(result, r.settle(ctx, h, step)))
}

// close ends the time for checkpoints and effects, and returns the effects. A run
// that lost its lease was cut off in the middle: if it has no outcome, nobody
// knows what it did.
func (r *run) close(lost error) []command.Request {
	if lost != nil {
		r.steps.lose()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	return r.effects
}

// keep drops the value of a run that is not the key's, or whose effects have not
// taken place.
func keep[T any](v T, err error) (T, error) {
	var e *Error
	if errors.Is(err, errRefused) || errors.As(err, &e) && (e.State == string(fenced) || e.State == string(final)) {
		var zero T
		return zero, err
	}
	return v, err
}

// encode returns v's bytes, and v as everybody else will see it.
func encode[T any](r *run, v T) ([]byte, T, *Error) {
	var same T
	b, err := r.results.Encode(v)
	var long *tooLong
	if errors.As(err, &long) {
		return nil, v, &Error{Key: r.key, State: string(unstored), Token: r.token, Size: long.size, Limit: r.maxResult}
	}
	if err != nil {
		return nil, v, &Error{Key: r.key, State: string(unstored), Token: r.token, Err: err}
	}
	if len(b) > r.maxResult {
		return nil, v, &Error{Key: r.key, State: string(unstored), Token: r.token, Size: len(b), Limit: r.maxResult}
	}
	if err := r.results.Decode(b, &same); err != nil {
		return nil, v, &Error{Key: r.key, State: string(unstored), Token: r.token, Err: err}
	}
	return b, same, nil
}

// replay returns the outcome of an earlier run.
func replay[T any](r *run, l reply) (T, error) {
	var v T
	if l.state == done {
		if err := r.results.Decode([]byte(l.payload), &v); err != nil {
			var zero T
			return zero, fmt.Errorf("idem: %s: the stored result is no %T: %w", r.key, zero, err)
		}
		return v, nil
	}
	e := l.error(r.key, nil)
	switch l.state {
	case final:
		e.Reason = l.payload
	case unstored:
		// Anything but the form below is the note of a codec's failure.
		if _, err := fmt.Sscanf(l.payload, "size %d %d", &e.Size, &e.Limit); err != nil {
			e.Size, e.Limit = 0, 0
		}
	}
	return v, e
}

// clip bounds an error's text.
func clip(s string) string {
	if len(s) <= maxStoredMessage {
		return s
	}
	return s[:maxStoredMessage] + "… (" + strconv.Itoa(len(s)) + " bytes)"
}
