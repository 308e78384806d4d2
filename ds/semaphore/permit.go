package semaphore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/resp3"
)

// Permit is a permit that was granted. Its methods may be called by many
// goroutines.
type Permit struct {
	s      *Semaphore
	lease  *lease.Lease
	weight int
	since  time.Time

	mu      sync.Mutex
	verdict verdict
}

// verdict is what a permit has to say of what it was for.
type verdict int

const (
	fine verdict = iota
	overloaded
	ignored
)

func newPermit(s *Semaphore, l *lease.Lease, weight int) *Permit {
	return &Permit{s: s, lease: l, weight: weight, since: time.Now()}
}

// Weight returns how much of the limit the permit takes.
func (p *Permit) Weight() int { return p.weight }

// Token returns the fencing token: greater than that of every permit of the
// semaphore that was granted before. Permits that are held together have
// different ones, so it names a permit; it does not put an end to older ones.
func (p *Permit) Token() int64 { return p.lease.Token() }

// Context returns the context for the work under the permit. It ends before the
// server gives the permit's place to anyone else, with a *lease.LostError as
// context.Cause, and when the context ends that Acquire was called with. It has
// that one's values.
func (p *Permit) Context() context.Context { return p.lease.Context() }

// Remaining returns for how long the permit may be trusted without a further
// renewal; 0 when it is lost or released.
func (p *Permit) Remaining() time.Duration { return p.lease.Remaining() }

// Do is the fenced write: the server runs the commands if this permit is still
// held, and else none of them; then the error is a *lease.FencedError, and the
// permit's context ends. All else is as with Do of lease.Lease. In a cluster all
// keys must be in the slot of the semaphore: give them its hash tag,
// "{redisx:lease:semaphore:NAME}" for a name without %, {, } and control bytes.
func (p *Permit) Do(ctx context.Context, commands ...command.Sendable) ([]resp3.Value, error) {
	return p.lease.Do(ctx, commands...)
}

// Release ends the permit's context and gives the permit back. It may be called
// more than once, and counts once: only the id of this very permit is taken out.
// It works on a server that is out of memory. What it returns, and what happens
// where ctx ends meanwhile, is as with Release of lease.Lease.
//
// For an adaptive semaphore the first Release is a report: of the time since the
// permit was granted, or of what Overloaded or Ignore said.
func (p *Permit) Release(ctx context.Context) error {
	p.report(ctx)
	return p.lease.Release(ctx)
}

// Overloaded says that what the permit was for had too much to do: it refused,
// or did not answer in time. An adaptive limit falls if more than one report in
// a hundred says so.
func (p *Permit) Overloaded() { p.set(overloaded) }

// Ignore makes the permit report nothing: how long it was held says nothing of
// how busy is what it was for.
func (p *Permit) Ignore() { p.set(ignored) }

func (p *Permit) set(v verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verdict = v
}

// judge takes the verdict from the error of the work.
func (p *Permit) judge(err error) {
	switch {
	case err == nil:
		p.set(fine)
	case errors.Is(err, ErrOverloaded), errors.Is(err, context.DeadlineExceeded):
		p.set(overloaded)
	}
}

// report reports once, if the semaphore is adaptive.
func (p *Permit) report(ctx context.Context) {
	if !p.s.o.adaptive {
		return
	}
	p.mu.Lock()
	v := p.verdict
	p.verdict = ignored
	p.mu.Unlock()
	// A permit that was lost was held by nobody at its end.
	if v != ignored && p.lease.Remaining() > 0 {
		p.s.report(ctx, p.weight, v == overloaded, time.Since(p.since))
	}
}

// String names the semaphore, the weight and the token.
func (p *Permit) String() string {
	return fmt.Sprintf("permit of %s (weight %d, token %d)", p.s.name, p.weight, p.Token())
}
