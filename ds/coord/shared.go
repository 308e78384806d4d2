package coord

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

const (
	// afterTimeout bounds a goodbye whose caller has gone.
	afterTimeout = 2 * time.Second
	// inlineTimeout bounds it where no client can own a goroutine for it, so
	// that its caller waits: little enough to still return promptly.
	inlineTimeout = 10 * time.Millisecond
	// closeTimeout bounds what Close waits for a goodbye: enough for a server
	// that answers.
	closeTimeout = time.Second
)

var errClosed = errors.New("the client is closed")

// shared is what parties and members of one client have in common. The client
// owns it.
type shared struct {
	ctx    context.Context // ends the work of goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup // goodbyes whose callers have gone

	mu     sync.Mutex
	closed bool
	kept   map[stopper]struct{}
}

// stopper is what must end with the client: a hold, a term.
type stopper interface{ Stop() }

// attachment is where a client keeps its shared.
type attachment struct{}

// sharedOf returns what the parties and members of d share, nil where d cannot
// own it.
func sharedOf(d command.Doer) (*shared, error) {
	a, ok := d.(command.Attacher)
	if !ok {
		return nil, nil
	}
	c, err := a.Attach(attachment{}, func() io.Closer {
		s := &shared{kept: map[stopper]struct{}{}}
		s.ctx, s.cancel = context.WithCancel(context.Background())
		return s
	})
	if err != nil {
		return nil, err
	}
	return c.(*shared), nil
}

// add notes what must end with the client, until remove.
func (s *shared) add(h stopper) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.kept[h] = struct{}{}
	return nil
}

func (s *shared) remove(h stopper) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, h)
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

// isClosed reports whether the client is closed, so that asking has no end.
func isClosed(d command.Doer) bool {
	s, err := sharedOf(d)
	return err != nil || s.isClosed()
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

// Close ends all that is kept, and waits for what runs: for goodbyes under way
// closeTimeout at most. The client calls it.
func (s *shared) Close() error {
	s.mu.Lock()
	s.closed = true
	kept := make([]stopper, 0, len(s.kept))
	for h := range s.kept {
		kept = append(kept, h)
	}
	s.mu.Unlock()
	for _, h := range kept {
		h.Stop()
	}
	timer := time.AfterFunc(closeTimeout, s.cancel)
	s.wg.Wait()
	timer.Stop()
	s.cancel()
	return nil
}

// start runs f on a goroutine of its own, which Close waits for. It reports false
// where there is no client to own it, or a closed one.
func (s *shared) start(f func()) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Go(f)
	}
	return !s.closed
}

// mayHaveRun reports whether a script may have done its work although it
// returned err. An error that the server raised is proof that it has not: our
// scripts read what may fail before they write.
func mayHaveRun(err error) bool {
	var said resp3.ServerError
	return !command.SafeToRetry(err) && !errors.As(err, &said)
}

// passing are the words with which a server says that it cannot answer now.
var passing = []string{"LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN"}

// final reports whether err is the server's word: asking again brings nothing
// else.
func final(err error) bool {
	for _, code := range passing {
		if command.IsCode(err, code) {
			return false
		}
	}
	var said resp3.ServerError
	var shape *resp3.TypeError
	return errors.As(err, &said) || errors.As(err, &shape)
}
