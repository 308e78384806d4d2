package aside

import (
	"context"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/fill"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/wait"
)

// maxTries bounds the computes of one flight.
const maxTries = 8

// flight is one compute for all who wait in this process: it waits for the value,
// or takes the fill and computes.
type flight struct {
	*call
	over    string // the version that will not do, or ""
	alone   bool   // the server cannot be reached
	unasked bool   // a refresh: it waits for nobody
}

// failure is how a flight hands on the error of a compute, which its callers get
// as the compute returned it.
type failure struct{ err error }

func (e *failure) Error() string { return e.err.Error() }

func (f flight) run(ctx context.Context) (outcome, error) {
	if f.alone {
		return f.computeAlone(ctx)
	}
	var lost error
	for range maxTries {
		out, again, err := f.try(ctx)
		if again == nil {
			return out, err
		}
		lost = again
	}
	return outcome{}, &InvalidatedError{Key: f.key, Tries: maxTries, Err: lost}
}

// try gets the value or makes it. A lost that is not nil means that a compute
// does not count, and why.
func (f *flight) try(ctx context.Context) (out outcome, lost, err error) {
	// The token is never used twice, so it needs no clock: the server compares
	// it for equality only.
	token := owner.New()
	for {
		r, sent, err := f.take(ctx, token)
		switch {
		case err != nil:
			return f.without(ctx, err)
		case r.state == stateDenied:
			return outcome{busy: true}, nil, nil
		case r.state == stateDone:
			return f.computeUnder(ctx, token, sent)
		}
		// Only now, because it may have taken a while to get here.
		generations, err := f.generations(ctx, f.ttl)
		switch {
		case err != nil:
			return f.without(ctx, err)
		case len(f.tags) > 0 && r.tags != generations:
			f.over = r.version
			continue
		}
		return outcome{data: r.data, absent: r.state == stateAbsent, left: r.fresh, fresh: sent}, nil, nil
	}
}

// without computes alone after the server has failed, if that is allowed.
func (f *flight) without(ctx context.Context, err error) (outcome, error, error) {
	switch {
	case f.strict || !unavailable(ctx, err):
		return outcome{}, nil, f.wrap(err)
	case f.unasked:
		return outcome{busy: true}, nil, nil // who has joined sees for itself
	}
	out, failed := f.computeAlone(ctx)
	// On a server that is only full, keys can still be invalidated.
	out.alone = !command.IsCode(err, "OOM")
	return out, nil, failed
}

// computeAlone computes without the server, when there is room for that.
func (f *flight) computeAlone(ctx context.Context) (outcome, error) {
	select {
	case f.s.alone <- struct{}{}:
		defer func() { <-f.s.alone }()
	case <-ctx.Done():
		return outcome{}, left(ctx, f.key)
	}
	f.count(func(t *tally) { t.alone.Add(1) })
	began := time.Now()
	r, err := f.timed(ctx)
	if err != nil {
		return outcome{}, &failure{err}
	}
	return outcome{data: r.data, absent: r.absent, fresh: began, alone: true}, nil
}

// timed computes and counts that.
func (f *flight) timed(ctx context.Context) (result, error) {
	f.count(func(t *tally) { t.computes.Add(1) })
	began := time.Now()
	r, err := f.compute(ctx)
	f.count(func(t *tally) {
		t.spent.Add(int64(time.Since(began)))
		if err != nil {
			t.failed.Add(1)
		}
	})
	return r, err
}

// take waits until there is a value or the fill is ours. It returns when the
// request for that left.
func (f *flight) take(ctx context.Context, token string) (reading, time.Time, error) {
	var r reading
	var sent time.Time
	perhaps := false // the last request may have given us the fill
	try := func(ctx context.Context) (bool, time.Duration, error) {
		var err error
		sent = time.Now()
		r, err = command.RunScript(ctx, f.d, takeScript, decodeReading, []string{f.key, f.side(), f.fill()},
			command.Str(token), command.Int(f.lease.Milliseconds()), command.Str(f.over))
		perhaps = err != nil && !command.SafeToRetry(err)
		// A fill ends by an event on its key, or lapses: and then nobody may
		// tell, because servers find lapsed keys late. So the clock rings, too.
		return err != nil || f.unasked || r.state != stateDenied, r.left + time.Millisecond, err
	}
	err := wait.Until(ctx, f.d, f.fill(), try)
	if err != nil && perhaps {
		fill.Release(ctx, f.d, f.fill(), token)
	}
	return r, sent, err
}

// computeUnder runs the compute under the fill, and stores what it returns.
func (f *flight) computeUnder(ctx context.Context, token string, sent time.Time) (out outcome, lost, err error) {
	generations, err := f.generations(ctx, f.ttl)
	if err != nil {
		fill.Release(ctx, f.d, f.fill(), token)
		return f.without(ctx, err)
	}
	h := fill.Keep(ctx, f.d, f.fill(), token, f.lease, sent, f.keepTags(generations), func(reason hold.Reason, err error) error {
		return &LostError{Key: f.key, Reason: string(reason), Err: err}
	})
	ended := false // the fill is no longer ours to release
	defer func() {
		// Deferred, because the compute may panic.
		h.Stop()
		if !ended {
			fill.Release(ctx, f.d, f.fill(), token)
		}
	}()
	r, err := f.timed(h.Context())
	switch {
	case ctx.Err() != nil:
		return outcome{}, nil, left(ctx, f.key)
	case h.Err() != nil:
		// Also if it returned an error: most likely that of its context.
		return outcome{}, h.Err(), nil
	case err != nil:
		h.Stop()
		ended = f.fail(ctx, token)
		return outcome{}, nil, &failure{err}
	}
	checked := time.Now()
	now, err := f.generations(ctx, r.ttl)
	if err == nil && now != generations {
		return outcome{}, &LostError{Key: f.key, Reason: string(tagGone)}, nil
	}
	h.Stop() // a renewal after the store would find the fill gone
	out = outcome{data: r.data, absent: r.absent, left: r.ttl, fresh: sent}
	if err == nil && r.ttl <= 0 && !r.absent {
		ended = true
		if fill.Release(ctx, f.d, f.fill(), token) {
			out.fresh = checked // it was ours until then
		}
		return out, nil, nil
	}
	var a reading
	if err == nil {
		a, err = f.store(ctx, token, generations, r)
	}
	if err != nil {
		f.count(func(t *tally) { t.unstored.Add(1) })
		out.unstored = &StoreError{Key: f.key, Err: err}
		return out, nil, nil
	}
	ended = true
	out.fresh = checked
	switch a.state {
	case stateDenied:
		return outcome{}, &LostError{Key: f.key, Reason: string(hold.Gone)}, nil
	case stateForeign:
		out.data, out.absent = a.data, false
	}
	return out, nil, nil
}

// tagGone is why a fill is lost when a tag of its value was invalidated.
const tagGone hold.Reason = "tag"

// keepTags returns what goes with each renewal: the generations are kept for as
// long as the compute takes, and their end is its end. That they cannot be asked
// for is none.
func (f *flight) keepTags(generations string) func(ctx context.Context) error {
	if len(f.tags) == 0 {
		return nil
	}
	return func(ctx context.Context) error {
		if now, err := f.generations(ctx, f.ttl); err == nil && now != generations {
			return &hold.GoneError{Reason: tagGone}
		}
		return nil
	}
}

// store keeps what was computed.
func (f *flight) store(ctx context.Context, token, generations string, r result) (reading, error) {
	life, absent := r.ttl, int64(0)
	switch {
	case r.absent:
		absent = 1
	case r.ttl > 0:
		life += max(f.stale, f.staleIfError)
	}
	return command.RunScript(ctx, f.d, storeScript, decodeReading, []string{f.key, f.side(), f.fill()},
		command.Str(token), command.Bytes(r.data), command.Int(millis(life)), command.Int(millis(r.ttl)),
		command.Int(millis(r.took)), command.Str(generations), command.Int(absent), command.Str(f.over))
}

// millis returns d in whole milliseconds, rounded up.
func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// fail ends the fill after a compute that failed, and reports whether that is
// done.
func (f *flight) fail(ctx context.Context, token string) bool {
	_, err := command.RunScript(ctx, f.d, failScript, command.AsInt, []string{f.side(), f.fill()},
		command.Str(token), command.Int(backOff.Milliseconds()))
	return err == nil
}
