package idem

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
)

// Bounds of the work that goes on after a caller has left.
const (
	// grace is how long a caller whose context has ended waits for it: enough
	// for a server that answers, and short enough to leave in time.
	grace = 10 * time.Millisecond
	// closing is how long Close of the client waits for it.
	closing = time.Second
	// alone bounds it where nobody owns it (a Doer without Attach), so that the
	// caller does it before it returns.
	alone = time.Second
)

// settler owns what must still reach the server when the caller has left: that
// a run has ended. It hangs on the client, whose Close waits for it.
type settler struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// attachment is where a client keeps its settler.
type attachment struct{}

func newSettler() io.Closer {
	s := new(settler)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close waits for what is under way, for a second at most, and ends the rest.
func (s *settler) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	end := time.AfterFunc(closing, s.cancel)
	s.wg.Wait()
	end.Stop()
	s.cancel()
	return nil
}

// start runs f on a goroutine of its own, unless s is closed.
func (s *settler) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

// outlive runs f beyond the end of ctx, for limit at most, with ctx's values.
// The caller waits for it while ctx lasts, and a moment longer; then it goes on
// without the caller, owned by the client. It returns f's error, or the cause
// of ctx.
func outlive(ctx context.Context, d command.Doer, limit time.Duration, f func(ctx context.Context) error) error {
	detached := context.WithoutCancel(ctx)
	var s *settler
	if a, ok := d.(command.Attacher); ok {
		c, err := a.Attach(attachment{}, newSettler)
		if err != nil {
			limit = 0 // the client is closed: one try, for the error that says so
		} else {
			s = c.(*settler)
		}
	}
	result := make(chan error, 1)
	if s == nil || !s.start(func() {
		own, cancel := context.WithTimeout(detached, limit)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
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
		return context.Cause(ctx)
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
