package wait

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// poller is a Doer that nobody asks anything.
type poller struct{}

func (poller) Do(context.Context, command.Request) (command.Reply, error) {
	return command.Reply{}, errors.New("not for this test")
}

// pusher is a Doer with one key that many may watch. Reaching the server takes
// rtt.
type pusher struct {
	poller
	rtt time.Duration

	mu       sync.Mutex
	watches  map[*watch]bool
	made     int
	watchErr error
}

type watch struct {
	p       *pusher
	changed chan struct{}
	once    sync.Once
}

func (w *watch) Changed() <-chan struct{} { return w.changed }

func (w *watch) Stop() {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	delete(w.p.watches, w)
}

func (p *pusher) Watch(ctx context.Context, key string) (command.Watch, error) {
	time.Sleep(p.rtt / 2)
	p.mu.Lock()
	w := &watch{p: p, changed: make(chan struct{})}
	err := p.watchErr
	if err == nil {
		if p.watches == nil {
			p.watches = map[*watch]bool{}
		}
		p.watches[w] = true
		p.made++
	}
	p.mu.Unlock()
	time.Sleep(p.rtt / 2)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (p *pusher) push() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.watches {
		w.once.Do(func() { close(w.changed) })
	}
}

func (p *pusher) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watches)
}

func TestWhoIsDoneAtOnceNeedsNoWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pusher{}
		tries := 0
		err := Until(t.Context(), p, "k", func(context.Context) (bool, time.Duration, error) { tries++; return true, 0, nil })
		if err != nil || tries != 1 || p.made != 0 {
			t.Errorf("err %v, %d tries, %d watches; want nil, 1, 0", err, tries, p.made)
		}
	})
}

// TestNoWakeIsLost sets a value at every time around the calls of a waiter that
// only a push can wake: each lost push would hang the bubble.
func TestNoWakeIsLost(t *testing.T) {
	for i := range 2000 {
		synctest.Test(t, func(t *testing.T) {
			const rtt = 2 * time.Millisecond
			p := &pusher{rtt: rtt}
			var set atomic.Bool
			var wg sync.WaitGroup
			at := rand.N(5 * rtt)
			wg.Go(func() {
				time.Sleep(at)
				set.Store(true)
				p.push()
			})
			start := time.Now()
			err := Until(t.Context(), p, "k", func(context.Context) (bool, time.Duration, error) {
				time.Sleep(rtt / 2)
				done := set.Load()
				time.Sleep(rtt / 2)
				return done, 0, nil
			})
			took := time.Since(start)
			wg.Wait()
			// A change during a watch's way back costs that way and two tries.
			if err != nil || took > at+5*rtt {
				t.Errorf("round %d: set after %v, done after %v, err %v", i, at, took, err)
			}
			if n := p.open(); n != 0 {
				t.Errorf("%d watches left", n)
			}
		})
	}
}

func TestAHintWakesWithoutAPush(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    command.Doer
		want time.Duration // longest
	}{
		{"push", &pusher{}, 3 * time.Second},
		{"poll", poller{}, 3*time.Second + MaxPoll},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				due := start.Add(3 * time.Second)
				tries := 0
				err := Until(t.Context(), tt.d, "k", func(context.Context) (bool, time.Duration, error) {
					tries++
					return !time.Now().Before(due), time.Until(due), nil
				})
				if took := time.Since(start); err != nil || took < 3*time.Second || took > tt.want {
					t.Errorf("done after %v, err %v; want %v", took, err, tt.want)
				}
				if tt.name == "push" && tries != 3 {
					t.Errorf("%d tries, want 3: at once, watched, and when due", tries)
				}
			})
		})
	}
}

func TestPollingKeepsItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last time.Time
		var pauses []time.Duration
		before := Counts().Poll
		err := Until(t.Context(), poller{}, "k", func(context.Context) (bool, time.Duration, error) {
			now := time.Now()
			if !last.IsZero() {
				pauses = append(pauses, now.Sub(last))
			}
			last = now
			return len(pauses) == 200, 0, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var total time.Duration
		for i, p := range pauses {
			total += p
			if p < MinPoll || p > MaxPoll {
				t.Errorf("pause %d is %v, want %v to %v", i, p, MinPoll, MaxPoll)
			}
		}
		if total < 200*MaxPoll/2 {
			t.Errorf("200 pauses took %v: the pause does not grow", total)
		}
		if got := Counts().Poll - before; got != 200 {
			t.Errorf("%d pauses counted, want 200", got)
		}
	})
}

func TestADoerThatCannotWatchNowIsPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pusher{watchErr: errors.New("RESP2")}
		tries := 0
		start := time.Now()
		err := Until(t.Context(), p, "k", func(context.Context) (bool, time.Duration, error) { tries++; return tries == 4, 0, nil })
		if took := time.Since(start); err != nil || took < 3*MinPoll || took > 3*MaxPoll {
			t.Errorf("4 tries took %v, err %v", took, err)
		}
	})
}

func TestTheContextEndsIt(t *testing.T) {
	cause := errors.New("enough")
	for name, d := range map[string]command.Doer{"push": &pusher{}, "poll": poller{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer time.AfterFunc(time.Second, func() { cancel(cause) }).Stop()
				start := time.Now()
				err := Until(ctx, d, "k", func(context.Context) (bool, time.Duration, error) { return false, 0, nil })
				if err != cause || time.Since(start) != time.Second {
					t.Errorf("err %v after %v, want the cause after 1 s", err, time.Since(start))
				}
				tries := 0
				err = Until(ctx, d, "k", func(context.Context) (bool, time.Duration, error) { tries++; return true, 0, nil })
				if err != cause || tries != 0 {
					t.Errorf("err %v after %d tries with an ended context, want the cause and none", err, tries)
				}
			})
			if p, ok := d.(*pusher); ok && p.open() != 0 {
				t.Errorf("%d watches left", p.open())
			}
		})
	}
}

func TestAnErrorOfTheTryComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		for _, fail := range []int{1, 2, 3} {
			p := &pusher{}
			tries := 0
			err := Until(t.Context(), p, "k", func(context.Context) (bool, time.Duration, error) {
				if tries++; tries == fail {
					return false, 0, down
				}
				return false, time.Millisecond, nil
			})
			if err != down || tries != fail || p.open() != 0 {
				t.Errorf("err %v after %d tries, %d watches left; want it after %d", err, tries, p.open(), fail)
			}
		}
	})
}

func TestWhatWasWonIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := Until(ctx, poller{}, "k", func(context.Context) (bool, time.Duration, error) { cancel(); return true, 0, nil })
		if err != nil {
			t.Errorf("done and then %v", err)
		}
	})
}
