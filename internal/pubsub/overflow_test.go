package pubsub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheGapStandsWhereMessagesWereDropped(t *testing.T) {
	for _, tt := range []struct {
		policy Overflow
		first  []string // after 5 messages into a buffer of 3
		then   []string // after one was read and 2 more came
	}{
		{DropOldest, []string{"gap 2", "a:2"}, []string{"gap 1", "a:4", "a:5", "a:6"}},
		{DropNewest, []string{"a:0"}, []string{"a:1", "a:2", "gap 2", "a:5", "gap 1"}},
	} {
		each(t, func(w *world) {
			s := w.with(Options{Messages: 3, Overflow: tt.policy}, channels("a"))
			fast := w.subscribe(channels("a"))
			for i := range 5 {
				w.Publish("a", fmt.Sprint(i))
			}
			synctest.Wait()
			for _, want := range tt.first {
				if m, err := s.Next(bg); err != nil || text(m) != want {
					t.Errorf("%q, %v; want %q", text(m), err, want)
				}
			}
			w.Publish("a", "5")
			w.Publish("a", "6")
			w.want(s, tt.then...)
			if st := s.Stats(); st.Received != 7 || st.Dropped != 3 || st.Gaps != 2 {
				t.Errorf("%+v", st)
			}
			w.want(fast, "a:0", "a:1", "a:2", "a:3", "a:4", "a:5", "a:6")
		})
	}
}

func TestABufferIsBoundedInBytes(t *testing.T) {
	each(t, func(w *world) {
		s := w.with(Options{Bytes: 3 * (overhead + 100)}, channels("a"))
		text100 := strings.Repeat("x", 100)
		for range 5 {
			w.Publish("a", text100)
		}
		w.want(s, "gap 2", "a:"+text100, "a:"+text100, "a:"+text100)
		w.Publish("a", "1")
		w.Publish("a", strings.Repeat("y", 500)) // larger than the buffer
		w.Publish("a", "2")
		w.want(s, "a:1", "gap 1", "a:2")
	})
}

func TestCloseOnOverflowEndsTheSubscriptionAfterWhatIsBuffered(t *testing.T) {
	each(t, func(w *world) {
		s := w.with(Options{Messages: 2, Overflow: CloseOnOverflow}, channels("a"))
		other := w.subscribe(channels("a"))
		for i := range 3 {
			w.Publish("a", fmt.Sprint(i))
		}
		synctest.Wait()
		for i := range 2 {
			if m, err := s.Next(bg); err != nil || m.Payload != fmt.Sprint(i) {
				t.Errorf("%q, %v", text(m), err)
			}
		}
		if _, err := s.Next(bg); !errors.Is(err, ErrOverflow) {
			t.Error(err)
		}
		if err := s.Add(bg, channels("b")); !errors.Is(err, ErrOverflow) {
			t.Error(err)
		}
		w.want(other, "a:0", "a:1", "a:2")
		other.Close()
		synctest.Wait()
		if n := w.subscribers(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestASubscriptionThatBlocksHoldsUpNobodyElse(t *testing.T) {
	each(t, func(w *world) {
		slow := w.with(Options{Messages: 2, Overflow: BlockOnOverflow}, channels("a"))
		fast := w.subscribe(channels("a"))
		for i := range 10 {
			w.Publish("a", fmt.Sprint(i))
		}
		w.want(fast, "a:0", "a:1", "a:2", "a:3", "a:4", "a:5", "a:6", "a:7", "a:8", "a:9")
		if st := slow.Stats(); st.Buffered != 2 {
			t.Errorf("%+v", st)
		}
		time.Sleep(10 * time.Minute) // longer than any sign of life may take
		w.want(slow, "a:0", "a:1", "a:2", "a:3", "a:4", "a:5", "a:6", "a:7", "a:8", "a:9")
		time.Sleep(10 * time.Minute)
		w.Publish("a", "later")
		w.want(slow, "a:later")
		if n := w.subscribers(); n != 2 {
			t.Errorf("%d connections", n)
		}
		for i := range 10 {
			w.Publish("a", fmt.Sprint(i))
		}
		synctest.Wait()
		slow.Close()
		synctest.Wait()
		if n := w.subscribers(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestABlockedConnectionThatIsLostGivesAllItHadAndThenTheGap(t *testing.T) {
	each(t, func(w *world) {
		s := w.with(Options{Messages: 1, Overflow: BlockOnOverflow}, channels("a"))
		// In one piece, so that the connection has read them all: what it has not
		// is lost with it, and the gap tells of that.
		var all strings.Builder
		w.Set(func() {
			for i := range 5 {
				fmt.Fprintf(&all, "%s3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n%d\r\n", w.Mark(), i)
			}
		})
		w.Say(all.String())
		synctest.Wait()
		w.Kick()
		time.Sleep(time.Minute)
		w.want(s, "a:0", "a:1", "a:2", "a:3", "a:4", "gap 0 reconnected")
		w.Publish("a", "5")
		w.want(s, "a:5")
	})
}

func TestBuffersOutsideTheirBoundsAreRefused(t *testing.T) {
	each(t, func(w *world) {
		for _, o := range []Options{{Messages: -1}, {Bytes: -1}, {Messages: maxMessages + 1}, {Bytes: maxBytes + 1}, {Overflow: 9}} {
			if s, err := w.hub.Subscribe(bg, channels("a"), o); err == nil {
				t.Errorf("%+v was accepted", o)
				s.Close()
			}
		}
		if _, err := w.hub.Subscribe(bg, nil, Options{}); !errors.Is(err, errNoTopic) {
			t.Error(err)
		}
	})
}

func TestTheNumberOfConnectionsOfTheirOwnIsBounded(t *testing.T) {
	each(t, func(w *world) {
		var all []*Subscription
		for range maxOwn {
			all = append(all, w.with(Options{Overflow: BlockOnOverflow}, channels("a")))
		}
		if _, err := w.hub.Subscribe(bg, channels("a"), Options{Overflow: BlockOnOverflow}); !errors.Is(err, errTooMany) {
			t.Error(err)
		}
		all[0].Close()
		w.with(Options{Overflow: BlockOnOverflow}, channels("a"))
	})
}

// The model of a queue is what was put into it: numbers, with those that were
// dropped taken out. A number that does not follow the one before must have a
// gap between, and the gaps add up.
func TestAQueueTellsExactlyWhatItDropped(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	topic := &Topic{Channel, "a"}
	for range 500 {
		q := queue{maxMessages: 1 + rnd.IntN(8), maxBytes: 1000}
		policy := Overflow(rnd.IntN(2))
		put, next, dropped, told := 0, 0, 0, 0
		pop := func() bool {
			m, ok := q.pop()
			switch {
			case !ok:
				return false
			case m.Gap != nil:
				next += m.Gap.Dropped
				told += m.Gap.Dropped
			default:
				if m.Payload != fmt.Sprint(next) {
					t.Fatalf("seed %d: got %s, want %d", seed, m.Payload, next)
				}
				next++
			}
			return true
		}
		for range 200 {
			if rnd.IntN(3) == 0 {
				pop()
				continue
			}
			m := []byte(fmt.Sprint(put))
			put++
			if policy == DropNewest && !q.fits(sizeOf(nil, m)) {
				q.miss(Gap{Dropped: 1})
				dropped++
				continue
			}
			for !q.fits(sizeOf(nil, m)) {
				q.dropFirst()
				dropped++
			}
			q.add(topic, nil, m)
			if q.texts.size != q.bytes-overhead*q.messages || q.messages > q.maxMessages || q.bytes > q.maxBytes || q.n > 2*q.maxMessages {
				t.Fatalf("seed %d: %d messages, %d items, %d bytes", seed, q.messages, q.n, q.bytes)
			}
		}
		for pop() {
		}
		if next != put || q.texts.size != 0 || told != dropped || q.bytes != 0 || q.messages != 0 || !q.empty() {
			t.Fatalf("seed %d: %d put, %d accounted for, %d dropped, %d told, %+v", seed, put, next, dropped, told, q)
		}
	}
}
