package owned

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client owns what is attached to it.
type client struct {
	command.Doer
	closed   bool
	attached map[any]io.Closer
}

func (c *client) Attach(key any, make func() io.Closer) (io.Closer, error) {
	if c.closed {
		return nil, errors.New("closed")
	}
	if c.attached[key] == nil {
		c.attached[key] = make()
	}
	return c.attached[key], nil
}

func set(t *testing.T) *Set {
	t.Helper()
	c := &client{attached: map[any]io.Closer{}}
	s, err := By(c, "key")
	if again, _ := By(c, "key"); err != nil || s == nil || again != s {
		t.Fatalf("a client's set is %p, then %p, %v", s, again, err)
	}
	return s
}

type stopped struct{ times int }

func (s *stopped) Stop() { s.times++ }

func TestCloseStopsWhatIsKept(t *testing.T) {
	s := set(t)
	kept, removed := new(stopped), new(stopped)
	if err := errors.Join(s.Add(kept), s.Add(removed)); err != nil {
		t.Fatal(err)
	}
	s.Remove(removed)
	s.Close()
	if kept.times != 1 || removed.times != 0 || !s.Closed() {
		t.Errorf("stopped %d times, what was removed %d; closed is %v", kept.times, removed.times, s.Closed())
	}
	if err := s.Add(kept); !errors.Is(err, ErrClosed) || s.Go(func(context.Context) {}) {
		t.Errorf("after Close, Add says %v", err)
	}
	s.After(t.Context(), func(context.Context) { t.Error("a goodbye after Close") })
}

func TestAGoodbyeOutlivesItsCallerAndEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), stopped{}, "value"))
		cancel()
		start := time.Now()
		s.After(ctx, func(ctx context.Context) {
			if ctx.Err() != nil || ctx.Value(stopped{}) != "value" {
				t.Error("the goodbye has the end of its caller, or not its values")
			}
			<-ctx.Done()
		})
		synctest.Wait()
		time.Sleep(AfterTimeout / 2)
		s.Close()
		if took := time.Since(start); took != AfterTimeout {
			t.Errorf("the goodbye took %v, want %v", took, AfterTimeout)
		}
	})
}

func TestCloseWaitsASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t)
		ended := false
		s.Go(func(ctx context.Context) {
			<-ctx.Done()
			ended = true
		})
		start := time.Now()
		s.Close()
		if took := time.Since(start); took != closeTimeout || !ended {
			t.Errorf("Close took %v, want %v; what ran has ended: %v", took, closeTimeout, ended)
		}
	})
}

func TestWithoutAClientAGoodbyeIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := By(nil, "key")
		if s != nil || err != nil {
			t.Fatal(s, err)
		}
		start := time.Now()
		s.After(t.Context(), func(ctx context.Context) { <-ctx.Done() })
		if took := time.Since(start); took != inlineTimeout {
			t.Errorf("the caller waited %v, want %v", took, inlineTimeout)
		}
		if s.Add(new(stopped)) != nil || s.Closed() || s.Go(func(context.Context) {}) {
			t.Error("nobody's set keeps, ends or starts something")
		}
		s.Remove(new(stopped))
	})
}

func TestAClosedClientSaysSo(t *testing.T) {
	if _, err := By(&client{closed: true}, "key"); err == nil {
		t.Error("a closed client owns something")
	}
}
