package wait

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// reader is a pusher that answers reads, counting them.
type reader struct {
	pusher
	reads int
}

func (r *reader) Do(context.Context, command.Request) (command.Reply, error) {
	r.reads++
	v := resp3.NewView([]byte(":1\r\n"))
	return command.NewReply(&v, nil), nil
}

// tracker is a reader whose reads are watches.
type tracker struct {
	reader
	trackErr error
	said     error // the server's answer
}

func (tr *tracker) Track(ctx context.Context, r command.Request) (command.Reply, command.Watch, error) {
	if tr.trackErr != nil {
		return command.Reply{}, nil, tr.trackErr
	}
	w, err := tr.Watch(ctx, "k")
	if err != nil {
		return command.Reply{}, nil, err
	}
	reply, _ := tr.Do(ctx, r)
	if tr.said != nil {
		return command.Reply{}, w, tr.said
	}
	return reply, w, nil
}

// publisher is a Doer whose changes are published, in some classes, and pushed if
// it is told to.
type publisher struct {
	reader
	pushes  bool
	letters string
	overlap bool // a watch was there when another one was taken
}

func (p *publisher) Watch(ctx context.Context, key string) (command.Watch, error) {
	if !p.pushes {
		return nil, errors.New("RESP2")
	}
	return p.pusher.Watch(ctx, key)
}

func (p *publisher) WatchEvents(ctx context.Context, key, classes string) (command.Watch, error) {
	for _, c := range classes {
		if !strings.ContainsRune(p.letters, c) {
			return nil, errors.New("not published")
		}
	}
	p.overlap = p.open() > 0
	return p.pusher.Watch(ctx, key)
}

func TestAReaderTakesTheHighestRung(t *testing.T) {
	down := errors.New("down")
	tracks, watches := &tracker{}, &reader{}
	unable, refused := &tracker{trackErr: down}, &reader{pusher: pusher{watchErr: down}}
	both, published := &publisher{pushes: true, letters: "g$e"}, &publisher{letters: "g$ex"}
	partly := &publisher{letters: "g$"}
	for _, tt := range []struct {
		name  string
		d     command.Doer
		p     *pusher
		reads *int
		rung  Rung
	}{
		{"a Tracker", tracks, &tracks.pusher, &tracks.reads, Push},
		{"a Watcher", watches, &watches.pusher, &watches.reads, Push},
		{"a Tracker that cannot now", unable, &unable.pusher, &unable.reads, Poll},
		{"a Watcher that cannot now", refused, &refused.pusher, &refused.reads, Poll},
		{"a Watcher that could do with events", both, &both.pusher, &both.reads, Push},
		{"an EventWatcher", published, &published.pusher, &published.reads, Events},
		{"an EventWatcher without what matters", partly, &partly.pusher, &partly.reads, Poll},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rd := NewReader(tt.d, command.Get("k").Request(), "g$e")
				for range 3 {
					reply, err := rd.Read(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					reply.Release()
					if got := rd.Rung(); got != tt.rung {
						t.Errorf("on rung %s, want %s", got, tt.rung)
					}
					after := time.Minute
					if tt.rung == Events {
						after = time.Second
					}
					time.AfterFunc(after, tt.p.push)
					start := time.Now()
					why, err := rd.Wait(t.Context(), 0, nil)
					took := time.Since(start)
					if tt.rung == Poll && (why != Passed || took > MaxPoll) || tt.rung != Poll && (why != Changed || took != after) || err != nil {
						t.Errorf("%s after %v, error %v", why, took, err)
					}
				}
				rd.Stop()
				if *tt.reads != 3 || tt.p.open() != 0 {
					t.Errorf("%d reads and %d watches left, want 3 and none", *tt.reads, tt.p.open())
				}
			})
		})
	}
}

// TestWhatNoEventTellsOfIsLookedFor is about FLUSHALL, which publishes nothing.
func TestWhatNoEventTellsOfIsLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &publisher{letters: anyChange}
		rd := NewReader(d, command.Get("k").Request(), "g$e")
		defer rd.Stop()
		for range 50 {
			if _, err := rd.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			why, err := rd.Wait(t.Context(), time.Hour, nil)
			if took := time.Since(start); why != Passed || took < MaxSilence/2 || took > MaxSilence || err != nil {
				t.Errorf("%s after %v, error %v", why, took, err)
			}
		}
		before := Counts()
		tries := 0
		start := time.Now()
		err := Until(t.Context(), d, "k", func(context.Context) (bool, time.Duration, error) { tries++; return tries == 6, 0, nil })
		// At once, watched, and four times after a silence.
		if took := time.Since(start); err != nil || took < 4*MaxSilence/2 || took > 4*MaxSilence {
			t.Errorf("6 tries took %v, error %v", took, err)
		}
		if got := Counts(); got.Events-before.Events != 4 || got.Poll != before.Poll || got.Push != before.Push {
			t.Errorf("counted %+v after %+v; want 4 pauses on events", got, before)
		}
	})
}

// TestTheNextInterestIsTakenBeforeTheLastIsGivenUp: otherwise every change of a
// key would cost an UNSUBSCRIBE and a SUBSCRIBE.
func TestTheNextInterestIsTakenBeforeTheLastIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &publisher{letters: anyChange}
		rd := NewReader(d, command.Get("k").Request(), "g$e")
		for i := range 3 {
			if _, err := rd.Read(t.Context()); err != nil || d.overlap != (i > 0) || d.open() != 1 {
				t.Errorf("read %d: overlap %v, %d watches, error %v", i, d.overlap, d.open(), err)
			}
		}
		rd.Stop()
		tries := 0
		err := Until(t.Context(), d, "k", func(context.Context) (bool, time.Duration, error) {
			if tries++; tries > 2 && !d.overlap || d.open() > 1 {
				t.Errorf("try %d: overlap %v, %d watches", tries, d.overlap, d.open())
			}
			return tries == 5, time.Second, nil
		})
		if err != nil || d.open() != 0 {
			t.Errorf("%d watches are left, error %v", d.open(), err)
		}
	})
}

// TestAReaderLosesNoChange sets a value at every time around the calls of one
// who reads and waits. A lost change would be seen after a silence at best.
func TestAReaderLosesNoChange(t *testing.T) {
	const rtt = 2 * time.Millisecond
	for i := range 2000 {
		synctest.Test(t, func(t *testing.T) {
			d := &server{publisher: publisher{letters: "g$e", reader: reader{pusher: pusher{rtt: rtt}}}}
			at := rand.N(6 * rtt)
			var wg sync.WaitGroup
			wg.Go(func() {
				time.Sleep(at)
				d.set.Store(true)
				d.push()
			})
			rd := NewReader(d, command.Get("k").Request(), "g$e")
			defer rd.Stop()
			start := time.Now()
			for {
				reply, err := rd.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if set, _ := reply.View().Int(); set == 1 {
					break
				}
				if _, err := rd.Wait(t.Context(), 0, nil); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(start); took > at+5*rtt {
				t.Errorf("round %d: set after %v, seen after %v", i, at, took)
			}
			wg.Wait()
		})
	}
}

// server is a publisher with a value.
type server struct {
	publisher
	set atomic.Bool
}

func (s *server) Do(ctx context.Context, _ command.Request) (command.Reply, error) {
	time.Sleep(s.rtt / 2)
	v := resp3.NewView([]byte(":0\r\n"))
	if s.set.Load() {
		v = resp3.NewView([]byte(":1\r\n"))
	}
	time.Sleep(s.rtt / 2)
	return command.NewReply(&v, nil), nil
}

func TestAnAnswerThatIsAnErrorIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &tracker{said: resp3.ServerError("WRONGTYPE")}
		rd := NewReader(d, command.Get("k").Request(), "g$e")
		defer rd.Stop()
		if _, err := rd.Read(t.Context()); err != d.said || rd.Rung() != Push {
			t.Errorf("error %v, on rung %s", err, rd.Rung())
		}
		if d.reads != 1 {
			t.Errorf("%d reads, want 1: the server has answered", d.reads)
		}
	})
}

func TestAReaderWaitsNoLongerThanItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early := make(chan struct{}, 1)
		for _, d := range []command.Doer{&tracker{}, &reader{pusher: pusher{watchErr: errors.New("RESP2")}}} {
			rd := NewReader(d, command.Get("k").Request(), "g$e")
			if _, err := rd.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if why, err := rd.Wait(t.Context(), 5*time.Millisecond, early); why != Passed || err != nil || time.Since(start) != 5*time.Millisecond {
				t.Errorf("%s after %v, error %v", why, time.Since(start), err)
			}
			early <- struct{}{}
			start = time.Now()
			if why, err := rd.Wait(t.Context(), 0, early); why != Early || err != nil || time.Since(start) != 0 {
				t.Errorf("%s after %v, error %v", why, time.Since(start), err)
			}
			rd.Stop()
		}
	})
}

func TestPausesGrowUntilReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rd := NewReader(poller{}, command.Get("k").Request(), "g$e")
		pause := func() time.Duration {
			start := time.Now()
			if err := rd.Rest(t.Context()); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		for range 20 {
			if d := pause(); d < MinPoll || d > MaxPoll {
				t.Errorf("a pause of %v", d)
			}
		}
		if d := pause(); d < MaxPoll/2 {
			t.Errorf("after 20 pauses one of %v", d)
		}
		rd.Reset()
		if d := pause(); d > 2*MinPoll {
			t.Errorf("after Reset a pause of %v", d)
		}
	})
}

func TestTheEndOfTheContextHasItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		rd := NewReader(&reader{}, command.Get("k").Request(), "g$e")
		if _, err := rd.Wait(ctx, time.Hour, nil); err != why {
			t.Errorf("error %v", err)
		}
	})
}
