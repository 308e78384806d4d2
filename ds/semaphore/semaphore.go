package semaphore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/ds/lease"
)

// Semaphore gives out permits, and never more at a time than its limit, in all
// processes together. Use New to make one. Its methods may be called by many
// goroutines.
type Semaphore struct {
	d       command.Doer
	name    string
	limit   int
	o       options
	names   names
	wrong   error // what New was given
	reports reports
}

// New returns the semaphore of that name with that limit, from 1 to 2^40. It asks
// the server nothing: what is wrong with the arguments, every method returns.
//
// The limit is this handle's word: its permits come in while all permits, their
// own included, weigh no more than that. It is best the same everywhere; see the
// manual for what follows where it is not. A limit that SetLimit or Adaptive
// keeps on the server counts instead.
func New(d command.Doer, name string, limit int, opts ...Option) *Semaphore {
	s := &Semaphore{d: d, name: name, limit: limit}
	s.wrong = s.o.build(name, limit, opts)
	s.names = namesOf(s.o.namespace, name)
	return s
}

// Name returns the name of the semaphore.
func (s *Semaphore) Name() string { return s.name }

// Acquire waits until a permit of that weight fits, and takes it. Who comes first
// is served first, whatever the weights. The permit is renewed until it is
// released or lost, or until ctx ends: ctx bounds the wait and is the parent of
// the permit's context.
//
// When ctx ends first, the error is a *FullError with its cause; it wraps the
// cause in any case. It is ErrNeverFits for a weight above the limit,
// lease.ErrReentrant where ctx comes from a permit of the same semaphore, which
// might wait for itself, lease.ErrQueueFull where 10 000 wait already, or hold
// permits, a *lease.UnsafeServerError where the server may evict keys, and
// otherwise what the server or the connection said. Whatever the error, no
// permit is held: see lease.Acquire.
func (s *Semaphore) Acquire(ctx context.Context, weight int) (*Permit, error) {
	return s.take(ctx, weight, lease.Acquire)
}

// TryAcquire takes a permit of that weight if it fits and nobody waits, and else
// returns a *FullError at once. That costs nobody anything. All else is as with
// Acquire.
func (s *Semaphore) TryAcquire(ctx context.Context, weight int) (*Permit, error) {
	return s.take(ctx, weight, lease.TryAcquire)
}

func (s *Semaphore) take(ctx context.Context, weight int, how func(context.Context, command.Doer, string, ...lease.Option) (*lease.Lease, error)) (*Permit, error) {
	if err := s.check(weight); err != nil {
		return nil, err
	}
	l, err := how(ctx, s.d, leaseName(s.name), s.options(weight)...)
	if err != nil {
		return nil, s.refused(weight, err)
	}
	return newPermit(s, l, weight), nil
}

// With runs fn with a permit of that weight, whose context it gets, and releases
// the permit, also when fn panics. It returns what fn returned, or why there was
// no permit, as Acquire does.
//
// If the permit was lost before its release, that *lease.LostError is joined,
// even when fn returned nil: one more than the limit may have run beside fn. A
// release that fails otherwise is no error: the permit lapses after its TTL.
//
// For an adaptive semaphore nil is a report of the time that fn took; an
// ErrOverloaded or a context.DeadlineExceeded in fn's error is one of overload;
// after other errors, and a panic, nothing is reported.
func (s *Semaphore) With(ctx context.Context, weight int, fn func(ctx context.Context) error) error {
	if err := s.check(weight); err != nil {
		return err
	}
	ran := false
	err := lease.With(ctx, s.d, leaseName(s.name), func(ctx context.Context, l *lease.Lease) (err error) {
		ran = true
		p := newPermit(s, l, weight)
		p.Ignore() // until fn has returned: it may panic
		defer p.report(ctx)
		err = fn(ctx)
		p.judge(err)
		return err
	}, s.options(weight)...)
	if !ran && err != nil {
		return s.refused(weight, err)
	}
	return err
}

// SetLimit makes n, from 1 to 2^40, the limit for all processes, in place of what
// each gave New; 0 takes it back. It evicts nobody: when the limit shrinks, none
// comes in until enough have gone. The server keeps it for 7 days after the last
// permit. Adaptive goes on from there.
func (s *Semaphore) SetLimit(ctx context.Context, n int) error {
	if s.wrong != nil {
		return s.wrong
	}
	if n < 0 || n > maxLimit {
		return fmt.Errorf("semaphore: %s: a limit of %d is not from 0 to 2^40", s.name, n)
	}
	_, err := command.RunScript(ctx, s.d, lua.limit, command.AsBool, s.names.waking(), command.Int(int64(n)), command.Int(limitTTL.Milliseconds()))
	return s.wrap(ctx, err)
}

// check says what is wrong with the semaphore, or with that weight.
func (s *Semaphore) check(weight int) error {
	switch {
	case s.wrong != nil:
		return s.wrong
	case weight < 1:
		return fmt.Errorf("semaphore: %s: a weight of %d is not positive", s.name, weight)
	case s.o.adaptive && weight > s.o.min:
		return fmt.Errorf("semaphore: %s: %w", s.name, &lease.NeverFitsError{Weight: int64(weight), Limit: int64(s.o.min)})
	}
	return nil
}

func (s *Semaphore) options(weight int) []lease.Option {
	return append(s.o.lease[:len(s.o.lease):len(s.o.lease)], lease.Share(int64(weight), int64(s.limit)))
}

// refused turns the error of a lease that was not granted into ours.
func (s *Semaphore) refused(weight int, err error) error {
	var held *lease.HeldError
	var never *lease.NeverFitsError
	switch {
	case errors.As(err, &held) && held.Name == leaseName(s.name):
		return s.full(weight, held)
	case errors.As(err, &never):
		return fmt.Errorf("semaphore: %s: %w", s.name, never)
	}
	return err
}

// wrap adds the name of the semaphore, and why ctx ended.
func (s *Semaphore) wrap(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("semaphore: %s: %w", s.name, wait.Because(ctx, err))
}

// attachment is where a client keeps the reports that are on their way.
type attachment struct{}

// owner returns what runs things for the client in the background; nil where it
// cannot.
func (s *Semaphore) owner() (*owned.Set, error) { return owned.By(s.d, attachment{}) }
