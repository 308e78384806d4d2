package keyspace

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

func TestAWatchIsThereWhenTheServerHasConfirmedIt(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		b.Set(func() { b.Held = true })
		got := make(chan command.Watch, 1)
		go func() { got <- watching(t, h, "k") }()
		time.Sleep(500 * time.Millisecond)
		if len(got) != 0 {
			t.Fatal("a watch was there before the server had confirmed it")
		}
		b.Release()
		w := <-got
		defer w.Stop()
		if n := b.event("k", "set"); n != 1 || !told(w) {
			t.Errorf("the event went to %d connections; told %v", n, told(w))
		}
	})
}

func TestAnEventTellsTheWatchesOfItsKeyAndNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		a, again, other := watching(t, h, "a"), watching(t, h, "a"), watching(t, h, "b\r\n\x00*[")
		stopped := watching(t, h, "a")
		stopped.Stop()
		stopped.Stop()
		b.event("a", "set")
		if !told(a) || !told(again) || told(other) || told(stopped) {
			t.Errorf("told: %v, %v; the other key's: %v; a stopped one: %v", told(a), told(again), told(other), told(stopped))
		}
		b.event("b\r\n\x00*[", "del")
		if !told(other) {
			t.Error("the other key's event was not told")
		}
		for _, w := range []command.Watch{a, again, other} {
			w.Stop()
		}
	})
}

func TestWhoGoesOnWatchingSubscribesOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		keep := watching(t, h, "other")
		w := watching(t, h, "k")
		for range 20 {
			b.event("k", "set")
			if !told(w) {
				t.Fatal("an event was not told")
			}
			before := w
			w = watching(t, h, "k")
			before.Stop()
		}
		if sent := b.Sent(); len(sent) != 2 {
			t.Errorf("sent %q; want one SUBSCRIBE a key", sent)
		}
		w.Stop()
		time.Sleep(time.Second)
		if sent := b.Sent(); !slices.Equal(sent, []string{"UNSUBSCRIBE __keyspace@3__:k"}) {
			t.Errorf("when the last watch of a key has gone: sent %q", sent)
		}
		keep.Stop()
	})
}

func TestTheLastChannelStaysForAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		state := func(when string, wantTopics, wantConns int) {
			t.Helper()
			synctest.Wait()
			if topics, conns := b.Topics(); topics != wantTopics || conns != wantConns {
				t.Errorf("%s: %d topics on %d connections; want %d on %d", when, topics, conns, wantTopics, wantConns)
			}
		}
		watching(t, h, "a").Stop()
		time.Sleep(9 * time.Second)
		state("9 s after the last watch", 1, 1)
		w := watching(t, h, "b")
		time.Sleep(time.Second)
		state("while another key is watched", 1, 1)
		if n := b.event("a", "set"); n != 0 {
			t.Error("the key before is subscribed to still")
		}
		w.Stop()
		for range 5 { // the same key, again and again
			time.Sleep(9 * time.Second)
			watching(t, h, "b").Stop()
		}
		if sent := b.Sent(); len(sent) != 3 {
			t.Errorf("sent %q; want SUBSCRIBE of two keys, UNSUBSCRIBE of one", sent)
		}
		time.Sleep(11 * time.Second)
		state("11 s after the last watch", 0, 0)
		if b.Dials() != 2 {
			t.Errorf("%d dials; want 2", b.Dials())
		}
		w = watching(t, h, "c")
		b.event("c", "set")
		if !told(w) {
			t.Error("on a new connection: not told")
		}
		w.Stop()
	})
}

func TestALostConnectionTellsEveryWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		var all []command.Watch
		for i := range 50 {
			all = append(all, watching(t, h, fmt.Sprint("k", i)))
		}
		b.Kick()
		for i, w := range all {
			if !told(w) {
				t.Errorf("the watch of key %d was not told", i)
			}
		}
		w := watching(t, h, "k7") // all are subscribed to again
		b.event("k7", "set")
		if !told(w) {
			t.Error("after the reconnect: not told")
		}
		w.Stop()
		for _, w := range all {
			w.Stop()
		}
	})
}

func TestAfterAGapTheSettingIsAskedForAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		w := watching(t, h, "k")
		b.Set(func() { b.letters = "" })
		b.Kick()
		for !told(w) { // the reconnect is quicker than what was learnt grows old
		}
		if _, err := h.Watch(t.Context(), "k", "g$e"); !errors.Is(err, ErrNotPublished) {
			t.Errorf("the server that came back publishes nothing: %v", err)
		}
		w.Stop()
	})
}

func TestWhileTheConnectionIsDownNobodyIsServed(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		w := watching(t, h, "k")
		b.Set(func() { b.Down = true })
		b.Kick()
		time.Sleep(time.Second)
		for _, key := range []string{"k", "other"} {
			start := time.Now()
			if _, err := h.Watch(t.Context(), key, "g$e"); err == nil || time.Since(start) > patience {
				t.Errorf("%s: after %v, error %v", key, time.Since(start), err)
			}
		}
		b.Set(func() { b.Down = false })
		time.Sleep(30 * time.Second)
		if !told(w) {
			t.Error("the gap was not told")
		}
		watching(t, h, "other").Stop()
		w.Stop()
	})
}

func TestWhatHasNoRoomBecomesAGap(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		a, other := watching(t, h, "a"), watching(t, h, "other")
		b.event("a", strings.Repeat("x", 3<<20)) // larger than the buffer
		if !told(a) || !told(other) {
			t.Errorf("told %v and %v; want both", told(a), told(other))
		}
		a.Stop()
		other.Stop()
	})
}

func TestNoPayloadHarms(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		w := watching(t, h, "k")
		for _, s := range []string{
			"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$3\r\nset\r\n",                 // of no topic
			"*3\r\n$7\r\nmessage\r\n$14\r\n__keyspace@3__\r\n$3\r\nset\r\n",   // shorter than any
			"*3\r\n$7\r\nmessage\r\n$16\r\n__keyspace@4__:k\r\n$3\r\nset\r\n", // of another database
			"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$16\r\n__keyspace@3__:k\r\n$3\r\nset\r\n",
			"*3\r\n$7\r\nmessage\r\n$16\r\n__keyspace@3__:k\r\n*1\r\n:1\r\n", // no text
			"*2\r\n$7\r\nmessage\r\n$16\r\n__keyspace@3__:k\r\n",             // no payload
			"*1\r\n$7\r\nmessage\r\n",
		} {
			b.Say(s)
			if told(w) {
				t.Fatalf("told by %q", s)
			}
		}
		b.event("k", "\x1b[2J\r\n\x00 not an event")
		if !told(w) {
			t.Error("not told: whatever comes on the channel, the key may have changed")
		}
		w.Stop()
	})
}

func TestACallEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		why := errors.New("enough")
		b.Set(func() { b.Held = true })
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(300*time.Millisecond, func() { cancel(why) })
		start := time.Now()
		if _, err := h.Watch(ctx, "k", "g$e"); !errors.Is(err, why) || time.Since(start) != 300*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		b.Release()
		// One who leaves says nothing of the server.
		watching(t, h, "k").Stop()

		b.Set(func() { b.slow = time.Hour })
		time.Sleep(fresh + time.Second)
		ctx, cancel = context.WithCancelCause(t.Context())
		time.AfterFunc(300*time.Millisecond, func() { cancel(why) })
		start = time.Now()
		if _, err := h.Watch(ctx, "k", "g$e"); !errors.Is(err, why) || time.Since(start) != 300*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		b.Set(func() { b.slow = 0 })
		watching(t, h, "k").Stop()
	})
}

func TestCloseTellsEveryWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		w := watching(t, h, "k")
		h.Close()
		if !told(w) {
			t.Error("Close was not told")
		}
		if _, err := h.Watch(t.Context(), "k", "g$e"); err == nil {
			t.Error("a watch after Close")
		}
		w.Stop()
	})
}

func TestBeyondTheBoundsAWatchIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		var all []command.Watch
		for range maxWatches {
			all = append(all, watching(t, h, "k"))
		}
		if _, err := h.Watch(t.Context(), "k", "g$e"); !errors.Is(err, ErrOverloaded) {
			t.Errorf("one watch more: %v", err)
		}
		for _, w := range all {
			w.Stop()
		}
		h.mu.Lock()
		h.bytes = maxBytes - 3
		h.mu.Unlock()
		if _, err := h.Watch(t.Context(), "long", "g$e"); !errors.Is(err, ErrOverloaded) {
			t.Errorf("keys of too many bytes: %v", err)
		}
		h.mu.Lock()
		h.bytes -= maxBytes - 3
		h.mu.Unlock()
	})
}

// TestWhoeverComesAndGoesNoEventIsLost has callers take and leave the same few
// keys at once, among them some whose contexts end: after Watch an event must be
// told, whoever else gives the channel up at that moment.
func TestWhoeverComesAndGoesNoEventIsLost(t *testing.T) {
	for seed := range uint64(20) {
		inBubble(t, func(t *testing.T, h *Hub, b *broker) {
			var wg sync.WaitGroup
			for i := range uint64(20) {
				r := rand.New(rand.NewPCG(seed, i))
				wg.Go(func() {
					for range 30 {
						key := fmt.Sprint("k", r.IntN(3))
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(8000)+500)*time.Microsecond)
						w, err := h.Watch(ctx, key, "g$e")
						cancel()
						if err != nil {
							continue
						}
						time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
						if b.event(key, "set") != 1 {
							t.Errorf("seed %d: %s is watched and not subscribed to", seed, key)
						}
						if !told(w) {
							t.Errorf("seed %d: an event of %s was lost", seed, key)
						}
						w.Stop()
						time.Sleep(time.Duration(r.IntN(5000)) * time.Microsecond)
					}
				})
			}
			wg.Wait()
			time.Sleep(linger + time.Second)
			synctest.Wait()
			if topics, conns := b.Topics(); topics != 0 || conns != 0 {
				t.Errorf("seed %d: %d topics are left on %d connections", seed, topics, conns)
			}
		})
	}
}

// TestOneLeavesWhileAnotherComes is the same for callers who run at one instant,
// of whom one gives the channel up as soon as it has it.
func TestOneLeavesWhileAnotherComes(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		keep := watching(t, h, "other")
		defer keep.Stop()
		for round := range 300 {
			key := fmt.Sprint("k", round)
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					w := watching(t, h, key)
					defer w.Stop()
					if i%4 != 0 {
						return
					}
					time.Sleep(10 * time.Millisecond) // whoever leaves has left
					if n := b.event(key, "set"); n != 1 || !told(w) {
						t.Errorf("round %d: watched, and the event went to %d connections", round, n)
					}
				})
			}
			wg.Wait()
		}
	})
}

func TestARefusedSubscriptionIsNotTriedForAMinute(t *testing.T) {
	inBubble(t, func(t *testing.T, h *Hub, b *broker) {
		b.noEntry("k", "NOPERM no channels")
		for range 20 {
			var said resp3.ServerError
			if _, err := h.Watch(t.Context(), "k", "g$e"); !errors.As(err, &said) || said.Code() != "NOPERM" {
				t.Errorf("error %v", err)
			}
			time.Sleep(time.Second)
		}
		if sent := b.Sent(); len(sent) != 1 || b.Dials() != 2 {
			t.Errorf("sent %q on %d connections; want one SUBSCRIBE", sent, b.Dials())
		}
		b.noEntry("k", "")
		time.Sleep(time.Minute)
		watching(t, h, "k").Stop()
	})
}
