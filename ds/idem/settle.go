package idem

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/wait"
)

// Bounds of the work that goes on after a caller has left.
const (
	// grace is how long a caller whose context has ended waits for it: enough
	// for a server that answers, and short enough to leave in time.
	grace = 10 * time.Millisecond
	// patience is how long a caller waits for a claim to be given back whose
	// answer was lost.
	patience = 100 * time.Millisecond
	// alone bounds it where nobody owns it (a Doer without Attach), so that the
	// caller does it before it returns.
	alone = time.Second
)

// attachment is where a client keeps what must still reach the server when the
// caller has left: that a run has ended.
type attachment struct{}

// outlive runs f beyond the end of ctx, for limit at most, with ctx's values.
// The caller waits for it while ctx lasts, and a moment longer; then it goes on
// without the caller, owned by the client. It returns f's error, or the cause
// of ctx.
func outlive(ctx context.Context, d command.Doer, limit time.Duration, f func(ctx context.Context) error) error {
	detached := context.WithoutCancel(ctx)
	s, err := owned.By(d, attachment{})
	if err != nil {
		limit = 0 // the client is closed: one try, for the error that says so
	}
	result := make(chan error, 1)
	if !s.Go(func(end context.Context) {
		own, cancel := context.WithTimeout(detached, limit)
		defer cancel()
		defer context.AfterFunc(end, cancel)()
		result <- f(own)
	}) {
		own, cancel := context.WithTimeout(detached, min(limit, alone))
		defer cancel()
		return f(own)
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		return wait.Ended(ctx)
	}
}

// insist repeats a step, which the server does at most once however often it is
// asked, until it gets an answer.
func insist(ctx context.Context, step func(ctx context.Context) error) error {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := step(ctx)
		if err == nil || answered(err) {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// passing are the words with which a server says that it cannot answer now.
var passing = []string{"LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN"}

// answered reports whether an error is the server's word, or ours: asking again
// brings nothing else.
func answered(err error) bool {
	for _, code := range passing {
		if command.IsCode(err, code) {
			return false
		}
	}
	var e *command.Error
	return !errors.As(err, &e) || e.Outcome == command.Done
}
