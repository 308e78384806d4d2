package wait

import (
	"context"
	"errors"
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

func TestAReaderTakesTheHighestRung(t *testing.T) {
	down := errors.New("down")
	tracks, watches := &tracker{}, &reader{}
	unable, refused := &tracker{trackErr: down}, &reader{pusher: pusher{watchErr: down}}
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
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rd := NewReader(tt.d, command.Get("k").Request())
				for range 3 {
					reply, err := rd.Read(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					reply.Release()
					if got := rd.Rung(); got != tt.rung {
						t.Errorf("on rung %s, want %s", got, tt.rung)
					}
					time.AfterFunc(time.Minute, tt.p.push)
					start := time.Now()
					why, err := rd.Wait(t.Context(), 0, nil)
					took := time.Since(start)
					if tt.rung == Push && (why != Changed || took != time.Minute) || tt.rung == Poll && (why != Passed || took > MaxPoll) || err != nil {
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

func TestAnAnswerThatIsAnErrorIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &tracker{said: resp3.ServerError("WRONGTYPE")}
		rd := NewReader(d, command.Get("k").Request())
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
			rd := NewReader(d, command.Get("k").Request())
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
		rd := NewReader(poller{}, command.Get("k").Request())
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
		rd := NewReader(&reader{}, command.Get("k").Request())
		if _, err := rd.Wait(ctx, time.Hour, nil); err != why {
			t.Errorf("error %v", err)
		}
	})
}
