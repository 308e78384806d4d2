package pubsub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pubsub/pubsubtest"
	"github.com/redisx/redisx/resp3"
)

func TestWhatIsPublishedAfterSubscribeIsReceived(t *testing.T) {
	each(t, func(w *world) {
		s := w.subscribe(append(channels("a", "b", "a"), patterns("a*")...))
		w.Publish("a", "1")
		w.Publish("b", "2")
		w.Publish("ax", "3")
		w.Publish("c", "4")
		synctest.Wait()
		st := s.Stats()
		if st.Received != 4 || st.Buffered != 4 || st.BufferedBytes != 4*overhead+7 || !st.Connected {
			t.Errorf("%+v", st)
		}
		got := map[string]bool{}
		for range 4 {
			m, err := s.Next(bg)
			if err != nil {
				t.Fatal(err)
			}
			got[text(m)] = true
		}
		for _, item := range []string{"a:1", "a*>a:1", "b:2", "a*>ax:3"} {
			if !got[item] {
				t.Errorf("no %q", item)
			}
		}
		w.want(s)
		if st := s.Stats(); st.Buffered != 0 || st.BufferedBytes != 0 || st.Dropped != 0 || st.Gaps != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestATopicIsSubscribedToOnceAndUnsubscribedByTheLast(t *testing.T) {
	each(t, func(w *world) {
		a := w.subscribe(channels("x", "y"))
		w.wantSent("SUBSCRIBE x y")
		b := w.subscribe(channels("x"))
		c := w.subscribe(channels("y"))
		w.wantSent()
		w.Publish("x", "1")
		w.want(a, "x:1")
		w.want(b, "x:1")
		a.Close()
		w.wantSent()
		b.Remove(channels("x", "unknown"))
		b.Remove(channels("x"))
		w.wantSent("UNSUBSCRIBE x")
		if n := w.Publish("x", "2") + w.Publish("y", "3"); n != 1 {
			t.Errorf("%d subscribers", n)
		}
		w.want(b)
		w.want(c, "y:3")
		if err := b.Add(bg, channels("x", "y")); err != nil {
			t.Error(err)
		}
		w.wantSent("SUBSCRIBE x")
		w.Publish("x", "4")
		w.want(b, "x:4")
		w.want(c)
		c.Close()
		b.Close()
		b.Close()
		synctest.Wait()
		if n := w.subscribers(); n != 0 {
			t.Errorf("%d connections after the last subscription", n)
		}
		if _, err := b.Next(bg); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := b.Add(bg, channels("z")); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		w.Sent()
		d := w.subscribe(channels("x"))
		w.wantSent("SUBSCRIBE x")
		d.Close()
	})
}

func TestWhoJoinsWhileTheServerUnsubscribesWaitsForTheNextConfirmation(t *testing.T) {
	each(t, func(w *world) {
		keep := w.subscribe(channels("other"))
		a := w.subscribe(channels("x"))
		w.Sent()
		w.Set(func() { w.Held = true })
		a.Close()
		w.wantSent("UNSUBSCRIBE x")
		joined := make(chan *Subscription)
		go func() { joined <- w.subscribe(channels("x")) }()
		synctest.Wait()
		w.Publish("x", "before") // the server has not unsubscribed yet
		w.Set(func() { w.Held = false })
		w.Say(w.Mark() + "3\r\n+unsubscribe\r\n+x\r\n:1\r\n")
		b := <-joined
		w.wantSent("SUBSCRIBE x")
		w.Publish("x", "after")
		w.want(b, "x:after")
		w.want(keep)
	})
}

func TestALostConnectionIsAGapForEverySubscription(t *testing.T) {
	each(t, func(w *world) {
		a := w.subscribe(append(channels("x", "y"), patterns("z*")...))
		b := w.subscribe(channels("x"))
		w.Publish("x", "1")
		synctest.Wait()
		time.Sleep(time.Second)
		lost := time.Now()
		w.Set(func() { w.Down = true })
		w.Kick()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		w.Publish("x", "missed")
		if st := a.Stats(); st.Connected || st.LastError == nil {
			t.Errorf("%+v", st)
		}
		w.Sent()
		w.Set(func() { w.Down = false })
		time.Sleep(10 * time.Second)
		w.Publish("x", "2")
		for _, s := range []*Subscription{a, b} {
			synctest.Wait()
			m, err := s.Next(bg)
			if err != nil || text(m) != "x:1" {
				t.Errorf("%q, %v", text(m), err)
			}
			g, err := s.Next(bg)
			if err != nil || text(g) != "gap 0 reconnected" {
				t.Fatalf("%q, %v", text(g), err)
			}
			if d := lost.Sub(g.Gap.Since); d < 0 || d > 2*time.Second {
				t.Errorf("the gap begins %v before the loss", d)
			}
			w.want(s, "x:2")
		}
		if got := len(w.Sent()); got != 2 { // one command for all channels, one for the patterns
			t.Errorf("%d commands", got)
		}
		if st := a.Stats(); !st.Connected || st.Gaps != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// A consumer that catches up elsewhere when it sees the gap must not miss what
// is published right after it.
func TestTheGapComesWhenTheLastTopicIsBack(t *testing.T) {
	each(t, func(w *world) {
		w.hub.backoff = func(int) time.Duration { return 0 }
		s := w.subscribe(append(channels("x"), patterns("z*")...))
		early := 0
		for round := 0; round < 10 || early == 0; round++ { // in some of them the channel is back before the pattern
			if round == 1000 {
				t.Fatal("the channel never came first")
			}
			w.Set(func() { w.Silent = "z*" })
			w.Kick()
			synctest.Wait()
			n := w.Publish("x", "early")
			early += n
			w.want(s)
			w.Set(func() { w.Silent = "" })
			w.Say(w.Mark() + "3\r\n+psubscribe\r\n+z*\r\n:2\r\n")
			synctest.Wait()
			if n == 0 && w.subscribers() == 0 { // the pattern came first: nobody could be told
				time.Sleep(10 * time.Second)
			}
			w.Publish("x", "late")
			w.want(s, fmt.Sprintf("gap %d reconnected", n), "x:late")
		}
		if st := s.Stats(); st.Dropped != uint64(early) {
			t.Errorf("%d dropped, %+v", early, st)
		}
	})
}

func TestASlotThatMovesIsSubscribedToAgain(t *testing.T) {
	each(t, func(w *world) {
		s := w.subscribe(append(shards("s1", "s2"), channels("c")...))
		w.Publish("s1", "1")
		synctest.Wait()
		w.Sent()
		w.Forget("ssubscribe s1")
		w.Say(w.Mark() + "3\r\n+sunsubscribe\r\n+s1\r\n:1\r\n")
		w.wantSent("SSUBSCRIBE s1")
		w.Publish("s1", "2")
		w.Publish("c", "3")
		w.want(s, "s1:1", "gap 0 reconnected", "s1:2", "c:3")
		if w.Dials() != 2 { // the shared connection, and one
			t.Errorf("%d dials", w.Dials())
		}
	})
}

func TestARefusedTopicIsTheErrorOfItsSubscriber(t *testing.T) {
	each(t, func(w *world) {
		good := w.subscribe(channels("a"))
		w.Set(func() { w.Refuse["secret"] = "NOPERM No permissions to access a channel" })
		w.Sent()
		_, err := w.hub.Subscribe(bg, channels("b", "secret"), Options{})
		var server resp3.ServerError
		var e *command.Error
		if !errors.As(err, &server) || server.Code() != "NOPERM" || !errors.As(err, &e) || e.Command != "SUBSCRIBE" || !command.SafeToRetry(err) {
			t.Errorf("error %v", err)
		}
		synctest.Wait()
		if n := w.Publish("b", "1"); n != 0 {
			t.Errorf("b has %d subscribers", n)
		}
		if err := good.Add(bg, channels("c", "secret")); !errors.As(err, &server) {
			t.Errorf("error %v", err)
		}
		synctest.Wait()
		if n := w.Publish("c", "1"); n != 0 {
			t.Errorf("c has %d subscribers", n)
		}
		w.Publish("a", "2")
		w.want(good, "a:2")
	})
}

func TestAResubscriptionThatIsRefusedEndsItsSubscriptionOnly(t *testing.T) {
	each(t, func(w *world) {
		good, bad, both := w.subscribe(channels("a")), w.subscribe(channels("b")), w.subscribe(channels("a", "b"))
		w.Publish("b", "1")
		synctest.Wait()
		w.Set(func() { w.Refuse["b"] = "NOPERM no" })
		w.Kick()
		time.Sleep(10 * time.Second)
		w.Publish("a", "2")
		w.want(good, "gap 0 reconnected", "a:2")
		for _, s := range []*Subscription{bad, both} {
			if m, err := s.Next(bg); err != nil || text(m) != "b:1" {
				t.Errorf("%q, %v", text(m), err)
			}
			for range 2 {
				var server resp3.ServerError
				if m, err := s.Next(bg); !errors.As(err, &server) || server.Code() != "NOPERM" {
					t.Errorf("%q, %v", text(m), err)
				}
			}
		}
	})
}

func TestWithoutAServerSubscribeFailsAsNotSent(t *testing.T) {
	each(t, func(w *world) {
		w.Set(func() { w.Down = true })
		start := time.Now()
		_, err := w.hub.Subscribe(bg, channels("a"), Options{})
		if !errors.Is(err, pubsubtest.ErrRefused) || !command.SafeToRetry(err) || time.Since(start) > 1100*time.Millisecond {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		time.Sleep(time.Minute)
		dials := w.Dials()
		time.Sleep(time.Minute)
		if w.Dials() != dials {
			t.Error("the keeper dials for nobody")
		}
		w.Set(func() { w.Down = false })
		time.Sleep(10 * time.Second)
		w.subscribe(channels("a")).Close()
	})
}

func TestACancelledSubscribeReturnsAtOnceAndIsUndone(t *testing.T) {
	each(t, func(w *world) {
		keep := w.subscribe(channels("k"))
		w.Set(func() { w.Held = true })
		ctx, cancel := context.WithCancelCause(bg)
		why := errors.New("the user left")
		time.AfterFunc(time.Second, func() { cancel(why) })
		start := time.Now()
		_, err := w.hub.Subscribe(ctx, channels("a"), Options{})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || time.Since(start) != time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		if _, err := w.hub.Subscribe(ctx, channels("a"), Options{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		ctx, stop := context.WithTimeout(bg, time.Second)
		defer stop()
		start = time.Now()
		if _, err := keep.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		w.Set(func() { w.Held = false })
		time.Sleep(30 * time.Second) // the connection stalls and is replaced
		if n := w.Publish("a", "1"); n != 0 {
			t.Errorf("a has %d subscribers", n)
		}
		w.Publish("k", "2")
		w.want(keep, "gap 0 reconnected", "k:2")
	})
}

func TestASubscribeThatNobodyConfirmsEndsWithoutADeadlineToo(t *testing.T) {
	each(t, func(w *world) {
		w.subscribe(channels("k"))
		w.Set(func() { w.Held = true })
		start := time.Now()
		_, err := w.hub.Subscribe(bg, channels("a"), Options{})
		var e *command.Error
		if !errors.As(err, &e) || !e.Timeout() || time.Since(start) > 6*time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

func TestCloseEndsAllThatWaits(t *testing.T) {
	each(t, func(w *world) {
		a, b := w.subscribe(channels("a")), w.with(Options{Overflow: BlockOnOverflow, Messages: 1}, channels("a"))
		for i := range 10 {
			w.Publish("a", fmt.Sprint(i)) // the reader of b waits now
		}
		ends := make(chan error, 2)
		go func() {
			for {
				if _, err := a.Next(bg); err != nil {
					ends <- err
					return
				}
			}
		}()
		synctest.Wait()
		w.Set(func() { w.Held = true })
		go func() {
			_, err := w.hub.Subscribe(bg, channels("c"), Options{})
			ends <- err
		}()
		synctest.Wait()
		w.hub.Close()
		for range 2 {
			if err := <-ends; !errors.Is(err, errClient) {
				t.Error(err)
			}
		}
		if m, err := b.Next(bg); err != nil || text(m) != "a:0" {
			t.Errorf("%q, %v", text(m), err)
		}
		if _, err := b.Next(bg); !errors.Is(err, errClient) {
			t.Error(err)
		}
		for _, o := range []Overflow{DropOldest, BlockOnOverflow} {
			if _, err := w.hub.Subscribe(bg, channels("a"), Options{Overflow: o}); !errors.Is(err, errClient) {
				t.Error(err)
			}
		}
		w.hub.Close()
	})
}

func TestManyTopicsAreSubscribedToInBoundedCommands(t *testing.T) {
	each(t, func(w *world) {
		var names []string
		for i := range 2500 {
			names = append(names, fmt.Sprint("c", i))
		}
		s := w.subscribe(channels(names...))
		check := func() {
			t.Helper()
			total := 0
			commands := w.Sent()
			for _, c := range commands {
				n := strings.Count(c, " ")
				total += n
				if n > batchNames {
					t.Errorf("%d names in a command", n)
				}
			}
			if total != 2500 || len(commands) != 3 {
				t.Errorf("%d names in %d commands", total, len(commands))
			}
		}
		check()
		w.Kick()
		time.Sleep(10 * time.Second)
		check()
		w.want(s, "gap 0 reconnected")
		long := strings.Repeat("x", batchBytes)
		if err := s.Add(bg, channels(long+"1", long+"2")); err != nil {
			t.Error(err)
		}
		if n := len(w.Sent()); n != 2 {
			t.Errorf("%d commands for two long names", n)
		}
	})
}

func TestAConnectionThatDoesNotLastIsDialledWithBackoff(t *testing.T) {
	each(t, func(w *world) {
		s := w.subscribe(channels("a"))
		start, dials := time.Now(), w.Dials()
		for time.Since(start) < time.Minute {
			w.Kick()
			time.Sleep(time.Millisecond)
		}
		if n := w.Dials() - dials; n < 10 || n > 100 {
			t.Errorf("%d dials in a minute", n)
		}
		time.Sleep(20 * time.Second)
		w.want(s, "gap 0 reconnected")
	})
}

func TestTheKeeperGoesWithTheLastSubscription(t *testing.T) {
	each(t, func(w *world) {
		w.hub.backoff = func(int) time.Duration { return time.Hour }
		s := w.subscribe(channels("a"))
		w.Kick()
		synctest.Wait()
		s.Close()
		synctest.Wait()
		w.empty()
		w.subscribe(channels("a")).Close() // and the next one starts another at once
	})
}

func TestEachMessageGoesToOneConsumer(t *testing.T) {
	each(t, func(w *world) {
		s := w.subscribe(channels("a"))
		var mu sync.Mutex
		got := map[string]int{}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for {
					m, err := s.Next(bg)
					if errors.Is(err, ErrClosed) {
						return
					}
					mu.Lock()
					got[text(m)]++
					mu.Unlock()
				}
			})
		}
		for i := range 1000 {
			w.Publish("a", fmt.Sprint(i))
			if i%100 == 0 {
				synctest.Wait() // all consumers sleep
			}
		}
		synctest.Wait()
		s.Close()
		wg.Wait() // every one has woken
		if len(got) != 1000 {
			t.Errorf("%d different messages", len(got))
		}
		for m, n := range got {
			if n != 1 {
				t.Errorf("%s came %d times", m, n)
			}
		}
	})
}
