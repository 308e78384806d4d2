package lease

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
)

const (
	// afterTimeout bounds a release whose caller has gone.
	afterTimeout = 2 * time.Second
	// inlineTimeout bounds it where no client can own a goroutine for it, so
	// that its caller waits: little enough to still return promptly.
	inlineTimeout = 10 * time.Millisecond
)

var errClosed = errors.New("lease: the client is closed")

// shared is what the leases of one client have in common. The client owns it.
type shared struct {
	ctx    context.Context // ends the work of goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup // releases whose callers have gone

	mu     sync.Mutex
	closed bool
	leases map[*Lease]struct{} // not lost, not released
}

// attachment is where a client keeps its shared.
type attachment struct{}

// sharedOf returns what the leases of d share, nil where d cannot own it.
func sharedOf(d command.Doer) (*shared, error) {
	a, ok := d.(command.Attacher)
	if !ok {
		return nil, nil
	}
	c, err := a.Attach(attachment{}, func() io.Closer {
		s := &shared{leases: map[*Lease]struct{}{}}
		s.ctx, s.cancel = context.WithCancel(context.Background())
		return s
	})
	if err != nil {
		return nil, err
	}
	return c.(*shared), nil
}

// add notes a lease, until its context ends.
func (s *shared) add(l *Lease) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	s.leases[l] = struct{}{}
	s.mu.Unlock()
	if l.hold.Err() != nil {
		s.drop(l) // its end may have come first
	}
	return nil
}

// drop forgets a lease that has ended.
func (s *shared) drop(l *Lease) {
	if s == nil {
		return
	}
	s.mu.Lock()
	delete(s.leases, l)
	s.mu.Unlock()
}

// isClosed reports whether the client is being closed.
func (s *shared) isClosed() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// after runs f, which its caller does not wait for, for afterTimeout at most.
// Where there is no client to own the goroutine, the caller waits, but only for
// inlineTimeout. On a closed client there is nothing that f could do.
func (s *shared) after(ctx context.Context, f func(ctx context.Context)) {
	ctx = context.WithoutCancel(ctx)
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, afterTimeout)
				defer cancel()
				defer context.AfterFunc(s.ctx, cancel)()
				f(ctx)
			})
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, inlineTimeout)
	defer cancel()
	f(ctx)
}

// Close ends all leases, and waits for what runs. The client calls it. It does
// not release them: code that held them may be still running.
func (s *shared) Close() error {
	s.mu.Lock()
	s.closed = true
	leases := make([]*Lease, 0, len(s.leases))
	for l := range s.leases {
		leases = append(leases, l)
	}
	s.mu.Unlock()
	s.cancel()
	for _, l := range leases {
		l.hold.Stop()
	}
	s.wg.Wait()
	return nil
}
