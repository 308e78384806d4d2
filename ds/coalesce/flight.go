package coalesce

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/fill"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

// maxTries bounds the computes of one flight.
const maxTries = 8

var (
	//go:embed take.lua
	takeSource string
	//go:embed store.lua
	storeSource string

	takeScript  = command.NewScript(takeSource)
	storeScript = command.NewScript(storeSource)
)

// run is one flight: it waits for the value, or takes the fill and computes.
func (f *filler) run(ctx context.Context) (outcome, error) {
	var lost error
	for range maxTries {
		// The token is never used twice, so it needs no clock: the server
		// compares it for equality only.
		token := owner.New()
		a, sent, err := f.take(ctx, token)
		if err != nil {
			return outcome{}, err
		}
		if a.code == answerValue {
			return outcome{data: a.data, fresh: sent}, nil
		}
		var out outcome
		out, lost, err = f.compute(ctx, token, sent)
		if lost == nil {
			return out, err
		}
	}
	return outcome{}, &ForgottenError{Key: f.key, Tries: maxTries, Err: lost}
}

// take waits until there is a value or the fill is ours. It returns when the
// request for that left.
func (f *filler) take(ctx context.Context, token string) (answer, time.Time, error) {
	var a answer
	var sent time.Time
	perhaps := false // the last request may have given us the fill
	err := wait.Until(ctx, f.d, f.side, func(ctx context.Context) (bool, time.Duration, error) {
		var err error
		sent = time.Now()
		a, err = command.RunScript(ctx, f.d, takeScript, decodeAnswer, []string{f.key, f.side},
			command.Str(token), command.Int(f.lease.Milliseconds()))
		perhaps = err != nil && !command.SafeToRetry(err)
		if err != nil || a.code != answerNo {
			return true, 0, err
		}
		// A fill ends by an event on its key, or lapses: and then nobody may
		// tell, because servers find lapsed keys late. So the clock rings, too.
		return false, a.left + time.Millisecond, nil
	})
	if err == nil {
		return a, sent, nil
	}
	if perhaps {
		fill.Release(ctx, f.d, f.side, token)
	}
	return a, sent, fmt.Errorf("coalesce: %s: %w", f.key, err)
}

// compute runs the compute under the fill, and stores what it returns. A lost
// that is not nil means that it does not count, and why.
func (f *filler) compute(ctx context.Context, token string, sent time.Time) (out outcome, lost, err error) {
	h := fill.Keep(ctx, f.d, f.side, token, f.lease, sent, nil, func(reason hold.Reason, err error) error {
		return &LostError{Key: f.key, Reason: string(reason), Err: err}
	})
	ended := false // the fill is no longer ours to release
	defer func() {
		// Deferred, because the compute may panic.
		h.Stop()
		if !ended {
			fill.Release(ctx, f.d, f.side, token)
		}
	}()
	data, err := f.encode(h.Context())
	switch {
	case ctx.Err() != nil:
		return outcome{}, nil, left(ctx, f.key)
	case h.Err() != nil:
		// Also if it returned an error: most likely that of its context.
		return outcome{}, h.Err(), nil
	case err != nil:
		return outcome{}, nil, err
	}
	h.Stop() // a renewal after the store would find the fill gone
	stored := time.Now()
	a, err := command.RunScript(ctx, f.d, storeScript, decodeAnswer, []string{f.key, f.side},
		command.Str(token), command.Bytes(data), command.Int(f.keep.Milliseconds()))
	if err != nil {
		return outcome{data: data, fresh: sent, unstored: &StoreError{Key: f.key, Err: err}}, nil, nil
	}
	ended = true
	switch a.code {
	case answerNo:
		return outcome{}, &LostError{Key: f.key, Reason: string(hold.Gone)}, nil
	case answerValue:
		return outcome{data: a.data, fresh: stored}, nil, nil
	}
	return outcome{data: data, fresh: stored}, nil, nil
}

// answer is what take and store return: a code and what belongs to it.
type answer struct {
	code int64
	data []byte        // of answerValue: the value
	left time.Duration // of answerNo: until the fill of somebody else lapses
}

// The codes.
const (
	answerNo    = 0 // the fill is somebody else's, or gone
	answerYes   = 1 // taken, stored
	answerValue = 2 // there is a value
)

var errAnswer = errors.New("coalesce: unexpected answer of a script")

func decodeAnswer(v resp3.View) (answer, error) {
	var a answer
	c := v.Cursor()
	first, ok := c.Next()
	if !ok {
		return a, errAnswer
	}
	var err error
	if a.code, err = first.Int(); err != nil {
		return a, err
	}
	rest, _ := c.Next()
	switch a.code {
	case answerValue:
		s, err := rest.Str()
		a.data = []byte(s)
		return a, err
	case answerNo:
		// The second element, the holder's token, is for people who watch.
		if last, ok := c.Next(); ok {
			a.left, err = command.AsMillis(last)
		}
	}
	return a, err
}
