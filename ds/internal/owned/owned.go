package owned

import (
	"context"
	"errors"
	"io"
	"reflect"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
)

const (
	// AfterTimeout bounds a goodbye whose caller has gone.
	AfterTimeout = 2 * time.Second
	// inlineTimeout bounds it where no client can own a goroutine for it, so
	// that its caller waits: little enough to still return promptly.
	inlineTimeout = 10 * time.Millisecond
	// closeTimeout bounds what Close waits for a goodbye: enough for a server
	// that answers.
	closeTimeout = time.Second
)

// ErrClosed reports that the client is closed.
var ErrClosed = errors.New("the client is closed")

// Stopper is what must end with the client: a hold, a term.
type Stopper interface{ Stop() }

// Set is what a primitive has on one client. Use By to get it.
type Set struct {
	ctx    context.Context // ends what runs
	cancel context.CancelFunc
	wg     sync.WaitGroup // what was started

	mu     sync.Mutex
	closed bool
	kept   map[Stopper]struct{}
}

// Comparable reports whether d can be told from others, so that what belongs to it
// can be found by it.
func Comparable(d command.Doer) bool {
	// The rest is for structs whose fields decide it, and allocates.
	return reflect.TypeOf(d).Kind() == reflect.Pointer || reflect.ValueOf(d).Comparable()
}

// By returns the Set that hangs on d under key, nil where d cannot own one. The
// error is that d is closed.
func By(d command.Doer, key any) (*Set, error) {
	a, ok := d.(command.Attacher)
	if !ok {
		return nil, nil
	}
	c, err := a.Attach(key, func() io.Closer {
		s := &Set{kept: map[Stopper]struct{}{}}
		s.ctx, s.cancel = context.WithCancel(context.Background())
		return s
	})
	if err != nil {
		return nil, err
	}
	return c.(*Set), nil
}

// Add notes what must end with the client, until Remove. It returns ErrClosed
// when the client is closed or being closed.
func (s *Set) Add(x Stopper) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.kept[x] = struct{}{}
	return nil
}

// Remove forgets what has ended.
func (s *Set) Remove(x Stopper) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, x)
}

// Closed reports whether the client is closed or being closed.
func (s *Set) Closed() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Go runs f on a goroutine of its own, which Close waits for. The context of f
// ends when Close will not wait any longer. It reports false where there is no
// client to own it, or a closed one.
func (s *Set) Go(f func(ctx context.Context)) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Go(func() { f(s.ctx) })
	}
	return !s.closed
}

// After runs f, which its caller does not wait for, for AfterTimeout at most,
// with the values of ctx. Where there is no client to own the goroutine, the
// caller waits, but only for a moment. On a closed client there is nothing that
// f could do.
func (s *Set) After(ctx context.Context, f func(ctx context.Context)) {
	ctx = context.WithoutCancel(ctx)
	if s == nil {
		ctx, cancel := context.WithTimeout(ctx, inlineTimeout)
		defer cancel()
		f(ctx)
		return
	}
	s.Go(func(end context.Context) {
		ctx, cancel := context.WithTimeout(ctx, AfterTimeout)
		defer cancel()
		defer context.AfterFunc(end, cancel)()
		f(ctx)
	})
}

// Close stops what is kept, and waits for what runs, for a second before it
// ends it. The client calls it.
func (s *Set) Close() error {
	s.mu.Lock()
	s.closed = true
	kept := make([]Stopper, 0, len(s.kept))
	for x := range s.kept {
		kept = append(kept, x)
	}
	s.mu.Unlock()
	for _, x := range kept {
		x.Stop()
	}
	timer := time.AfterFunc(closeTimeout, s.cancel)
	s.wg.Wait()
	timer.Stop()
	s.cancel()
	return nil
}
