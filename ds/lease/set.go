package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redisx/redisx/command"
)

// maxSet bounds how many leases one Set has: each waits for its own turn.
const maxSet = 1000

// DuplicateNameError reports a name that was given twice to AcquireAll, which
// would have waited for itself.
type DuplicateNameError struct{ Name string }

// Error names the lease.
func (e *DuplicateNameError) Error() string {
	return fmt.Sprintf("lease: %s is named twice", e.Name)
}

// Explain says what to do.
func (e *DuplicateNameError) Explain() string {
	return fmt.Sprintf("AcquireAll takes each lease once, and %q was named twice. Name each once; two things that may be the same need to be compared before.", e.Name)
}

// Set is several leases that are held together. Its methods may be called by
// many goroutines.
type Set struct {
	parent context.Context // what AcquireAll was called with
	ctx    context.Context // ends with cancel
	cancel context.CancelCauseFunc
	leases []*Lease // by name
}

// AcquireAll acquires the leases of all names, or none: from 1 to 1000 names,
// each once, else a *DuplicateNameError. Options hold for each of them.
//
// It takes them in the order of their names, whatever the order given, so that
// no two calls can wait for each other. ctx bounds the wait for all, and is the
// parent of the Set's context. What has been acquired is renewed meanwhile; if
// it is lost, the wait ends with its *LostError.
//
// On error nothing is held: what was acquired is released before AcquireAll
// returns, or in the background if ctx has ended. The error is that of Acquire
// for the name at which it ended.
func AcquireAll(ctx context.Context, d command.Doer, names []string, opts ...Option) (*Set, error) {
	sorted := slices.Sorted(slices.Values(names))
	if len(sorted) == 0 || len(sorted) > maxSet {
		return nil, fmt.Errorf("lease: %d names are not from 1 to %d", len(sorted), maxSet)
	}
	for i := range sorted[1:] {
		if sorted[i] == sorted[i+1] {
			return nil, &DuplicateNameError{Name: sorted[i]}
		}
	}
	s := &Set{parent: ctx, leases: make([]*Lease, 0, len(sorted))}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	for _, name := range sorted {
		l, err := Acquire(s.Context(), d, name, opts...)
		if err != nil {
			// The error counts; what cannot be released now lapses.
			_ = s.Release(ctx)
			return nil, err
		}
		s.add(l)
	}
	return s, nil
}

// add makes the end of a lease the end of the set.
func (s *Set) add(l *Lease) {
	s.leases = append(s.leases, l)
	context.AfterFunc(l.Context(), func() { s.cancel(context.Cause(l.Context())) })
}

// Context returns the context for the work under all leases. It ends as soon as
// the first of them does, with the *LostError of that one as context.Cause, and
// when the context ends that AcquireAll was called with. It has that one's
// values.
func (s *Set) Context() context.Context { return setContext{s.ctx, s.leases, s.cancel} }

// Lease returns the lease of a name, for its token and for Do; nil if the Set
// has none of that name. Releasing one ends the context of the Set.
func (s *Set) Lease(name string) *Lease {
	for _, l := range s.leases {
		if l.name == name {
			return l
		}
	}
	return nil
}

// Tokens returns the fencing token of each lease, by name.
func (s *Set) Tokens() map[string]int64 {
	tokens := make(map[string]int64, len(s.leases))
	for _, l := range s.leases {
		tokens[l.name] = l.token
	}
	return tokens
}

// Remaining returns for how long all leases may be trusted without a further
// renewal; 0 when one is lost or released.
func (s *Set) Remaining() time.Duration {
	left := s.leases[0].Remaining()
	for _, l := range s.leases[1:] {
		left = min(left, l.Remaining())
	}
	return left
}

// Release releases all leases, the last first, as Lease.Release does, and joins
// what that returns. It may be called more than once.
func (s *Set) Release(ctx context.Context) error {
	var errs []error
	for _, l := range slices.Backward(s.leases) {
		if within(ctx, l) {
			ctx = s.parent
		}
	}
	for _, l := range slices.Backward(s.leases) {
		errs = append(errs, l.Release(ctx))
	}
	// The loss of a lease first: it may not have got around yet.
	setContext{s.ctx, s.leases, s.cancel}.look()
	s.cancel(context.Canceled)
	return errors.Join(errs...)
}

// setContext is the context of a Set: as that of a lease does, it looks at the
// clock on every use.
type setContext struct {
	context.Context
	leases []*Lease
	cancel context.CancelCauseFunc
}

func (c setContext) look() {
	for _, l := range c.leases {
		if err := l.hold.Err(); err != nil {
			c.cancel(err)
		}
	}
}

// Done returns the channel that is closed at the end.
func (c setContext) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

// Err returns nil until the end.
func (c setContext) Err() error {
	c.look()
	return c.Context.Err()
}

// Value returns the parent's value, and the last lease, which knows those
// before it. context.Cause asks for one, too.
func (c setContext) Value(key any) any {
	c.look()
	if _, ok := key.(contextKey); ok && len(c.leases) > 0 {
		return c.leases[len(c.leases)-1]
	}
	return c.Context.Value(key)
}
