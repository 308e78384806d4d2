package keyspace

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

func TestTheSettingMustCoverEveryClass(t *testing.T) {
	for _, tt := range []struct {
		letters, classes string
		want             bool
	}{
		{"AKE", "g$lshztde", true},
		{"AK", "g$lshztxe", true},
		{"", "g$e", false},
		{"AE", "g$e", false},  // on channels of events, not of keys
		{"K$", "g$e", false},  // nobody would tell of DEL
		{"Kg$", "g$e", false}, // nor of an eviction
		{"Kg$e", "g$e", true},
		{"g$eK", "g$e", true},
		{"Kg$e", "gle", false}, // of lists
		{"Kgle", "gle", true},
		{"g$lshzxeKE", "gte", false},        // of streams
		{"g$lshzxetKE", "g$lshztde", false}, // of modules
		{"AKEmn", "g$lshztxe", true},
		{"Ex", "g$e", false},
	} {
		inBubble(t, func(t *testing.T, h *Hub, b *broker) {
			b.Set(func() { b.letters = tt.letters })
			w, err := h.Watch(t.Context(), "k", tt.classes)
			if got := err == nil; got != tt.want || err != nil && !errors.Is(err, ErrNotPublished) {
				t.Errorf("%q for %q: %v; want %v", tt.letters, tt.classes, err, tt.want)
			}
			if err == nil {
				w.Stop()
			} else if sent := b.Sent(); len(sent) != 0 || b.Dials() != 0 {
				t.Errorf("%q for %q: %q was sent", tt.letters, tt.classes, sent)
			}
		})
	}
}

func TestTheSettingIsAskedForOnceInAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		b.Set(func() { b.slow = 10 * time.Millisecond })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				w := watching(t, h, "k")
				time.Sleep(time.Second)
				w.Stop()
			})
		}
		wg.Wait()
		if n := b.questions(); n != 1 {
			t.Errorf("100 at once asked %d times", n)
		}
		keep := watching(t, h, "k")
		defer keep.Stop()
		for range 60 {
			time.Sleep(time.Second)
			watching(t, h, "k").Stop()
		}
		if n := b.questions(); n < 10 || n > 13 {
			t.Errorf("asked %d times in a minute", n)
		}
		// A server that publishes no more is not believed for long.
		b.Set(func() { b.letters = "" })
		time.Sleep(fresh + time.Second)
		if _, err := h.Watch(t.Context(), "k", "g$e"); !errors.Is(err, ErrNotPublished) {
			t.Errorf("after the setting was taken back: %v", err)
		}
	})
}

func TestAServerThatMayNotBeAskedIsLeftAlone(t *testing.T) {
	refused := func(text string) error {
		return &command.Error{Command: "CONFIG GET", Phase: "reply", Outcome: command.Refused, Err: resp3.ServerError(text)}
	}
	for _, tt := range []struct {
		err   error
		slow  time.Duration
		pause time.Duration
	}{
		{refused("NOPERM no"), 0, afterRefusal},
		{refused("ERR unknown command 'CONFIG'"), 0, afterRefusal},
		{refused("LOADING"), 0, patience},
		{errors.New("connection lost"), 0, patience},
		{nil, time.Hour, patience},
	} {
		inBubble(t, func(t *testing.T, h *Hub, b *broker) {
			b.Set(func() { b.refuse, b.slow = tt.err, tt.slow })
			start := time.Now()
			_, err := h.Watch(t.Context(), "k", "g$e")
			if tt.err != nil && !errors.Is(err, tt.err) || tt.err == nil && !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > patience {
				t.Errorf("%v: after %v error %v", tt.err, time.Since(start), err)
			}
			b.Set(func() { b.refuse, b.slow = nil, 0 })
			time.Sleep(tt.pause - time.Millisecond)
			if _, err := h.Watch(t.Context(), "k", "g$e"); err == nil || b.questions() != 1 || len(b.Sent()) != 0 {
				t.Errorf("%v: asked %d times before %v, error %v", tt.err, b.questions(), tt.pause, err)
			}
			time.Sleep(2 * time.Millisecond)
			watching(t, h, "k").Stop()
		})
	}
}
