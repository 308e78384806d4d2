package smart_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// TestNoWakeIsLost is SB1: the setter writes at a random time around the call.
func TestNoWakeIsLost(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		c, setter := dstest.ConnectTo(t, via.url(s.Addr)), dstest.Connect(t, s)
		n := dstest.Rounds(500, 10_000)
		late := make([]time.Duration, 0, n)
		lag := machineLag()
		for i := range n {
			want := fmt.Sprint(i)
			before, after := rand.N(2*time.Millisecond), rand.N(2*time.Millisecond)
			var wg sync.WaitGroup
			var set time.Time
			wg.Go(func() {
				time.Sleep(before)
				setter.Set(t.Context(), "k", want)
				set = time.Now()
			})
			time.Sleep(after)
			_, err := smart.WaitFor(t.Context(), c, smart.Key("k", is(want)), smart.Budget(5*time.Second))
			woken := time.Now()
			wg.Wait()
			if err != nil {
				lag()
				t.Fatalf("round %d: set %v, waiting from %v on: lost: %v", i, before, after, err)
			}
			late = append(late, woken.Sub(set))
		}
		p50, p99, worst := quantile(late, 0.5), quantile(late, 0.99), late[len(late)-1]
		machine := lag()
		t.Logf("%d rounds, 0 lost; woken after SET's answer: p50 %v, p99 %v, max %v; the machine itself was late by up to %v", n, p50, p99, worst, machine)
		if bound := slack(50*time.Millisecond) + machine; worst > bound {
			t.Errorf("woken after %v, want at most %v", worst, bound)
		}
	})
}

// slack is the bound of a scenario with REDISX_LONG, which is run on a quiet
// machine, and much more without: other tests take their part.
func slack(d time.Duration) time.Duration { return time.Duration(dstest.Rounds(20, 1)) * d }

// TestManyWaitersCostOneRead is SB2.
func TestManyWaitersCostOneRead(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		const n = 5000
		began := time.Now()
		c, other := dstest.ConnectTo(t, via.url(s.Addr)), dstest.Connect(t, s)
		dstest.Cmd(t, other, "SET", "k", "pending")
		before := calls(t, other, "get", "pttl", "exists")
		var wg sync.WaitGroup
		var failed atomic.Int64
		for range n {
			wg.Go(func() {
				if _, err := smart.WaitFor(t.Context(), c, smart.Key("k", is("done")), smart.Budget(20*time.Second)); err != nil {
					failed.Add(1)
				}
			})
		}
		waiting(t, c, n)
		// The key's end is asked for, once.
		dstest.Eventually(t, 5*time.Second, "2 reads", func() bool { return calls(t, other, "get", "pttl", "exists")-before >= 2 })
		if n := tellers(t, other); n != 1 || on(c, via) != 1 {
			t.Errorf("%d connections are told of changes, %d keys are on the rung", n, on(c, via))
		}
		start := time.Now()
		dstest.Cmd(t, other, "SET", "k", "done")
		wg.Wait()
		took := time.Since(start)
		reads := calls(t, other, "get", "pttl", "exists") - before
		// And what it looks after a silence, or after a connection that a loaded
		// machine has lost.
		most := 3 + 2*int(time.Since(began)/(2500*time.Millisecond))
		t.Logf("%d waiters woken in %v by %d reads", n, took, reads)
		if failed.Load() > 0 || reads > most || took > slack(250*time.Millisecond) {
			t.Errorf("%d failed, %d reads, %v", failed.Load(), reads, took)
		}
		if st := smart.StatsOf(c); st.Waiters != 0 || st.Keys != 0 || st.Push != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

// TestAThousandWaitersWakeSoon measures from before the write is sent to the
// waiter's return: 1000 waiters on as many keys, one of which is set at a time.
func TestAThousandWaitersWakeSoon(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		const n = 1000
		c, setter := dstest.ConnectTo(t, via.url(s.Addr)), dstest.Connect(t, s)
		woken := make(chan time.Time, 1)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if _, err := smart.WaitFor(t.Context(), c, smart.Exists(fmt.Sprint("k", i)), smart.Budget(time.Minute)); err != nil {
					t.Error(err)
				}
				woken <- time.Now()
			})
		}
		waiting(t, c, n)
		dstest.Eventually(t, 10*time.Second, "all read", func() bool { return smart.StatsOf(c).Reads >= n })
		took := make([]time.Duration, 0, n)
		lag := machineLag()
		for i := range n {
			start := time.Now()
			if err := setter.Set(t.Context(), fmt.Sprint("k", i), "v"); err != nil {
				lag()
				t.Fatal(err)
			}
			took = append(took, (<-woken).Sub(start))
		}
		wg.Wait()
		p50, p99, worst := quantile(took, 0.5), quantile(took, 0.99), took[n-1]
		machine := lag()
		t.Logf("SET to wake, %d waiters on as many keys: p50 %v, p99 %v, max %v; the machine itself was late by up to %v", n, p50, p99, worst, machine)
		if bound := slack(2*time.Millisecond) + machine; p99 > bound {
			t.Errorf("p99 %v, want at most %v", p99, bound)
		}
	})
}

// TestWhateverTheCallsCancelNothingStays is XX2.
func TestWhateverTheCallsCancelNothingStays(t *testing.T) {
	s := serverstest.Start(t)
	c, setter := dstest.Connect(t, s), dstest.Connect(t, s)
	n := dstest.Rounds(5000, 100_000)
	stop, stopped := context.WithCancel(t.Context())
	var noise, wg sync.WaitGroup
	noise.Go(func() {
		for i := 0; stop.Err() == nil; i++ {
			key := fmt.Sprint("k", rand.N(20))
			switch i % 3 {
			case 0:
				setter.Set(stop, key, "v")
			case 1:
				setter.Del(stop, key)
			case 2:
				command.Do(stop, setter, command.Untyped("SET", key, "w", "PX", 3))
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	lag := machineLag()
	var next, ended, wrong atomic.Int64
	var mu sync.Mutex
	var late []time.Duration
	for range 32 {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				limit := rand.N(5 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				start := time.Now()
				key := func() string { return fmt.Sprint("k", rand.N(20)) }
				var err error
				switch rand.N(4) {
				case 0:
					_, err = smart.WaitFor(ctx, c, smart.Key(key(), is("never")))
				case 1:
					_, err = smart.WaitFor(ctx, c, smart.AnyOf(smart.Key(key(), is("never")), smart.AllOf(smart.Exists(key()), smart.Absent(key()))))
				case 2:
					_, err = smart.WaitFor(ctx, c, smart.Exists(key()), smart.Budget(limit/2+1))
				case 3:
					for _, err = range smart.Changes(ctx, c, key()) {
						if rand.N(4) == 0 {
							break
						}
					}
				}
				took := time.Since(start)
				cancel()
				switch {
				case errors.Is(err, context.DeadlineExceeded):
					ended.Add(1)
					mu.Lock()
					late = append(late, took-limit)
					mu.Unlock()
				case err != nil && !errors.Is(err, smart.ErrBudget):
					wrong.Add(1)
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	stopped()
	noise.Wait()
	if len(late) == 0 {
		lag()
		t.Fatal("no call ended with its context")
	}
	p50, worst, machine := quantile(late, 0.5), quantile(late, 1), lag()
	t.Logf("%d calls, %d ended with their contexts, late by p50 %v, max %v; the machine itself was late by up to %v", n, ended.Load(), p50, worst, machine)
	if worst > slack(20*time.Millisecond)+machine {
		t.Errorf("a call ended %v after its context", worst)
	}
	if st := smart.StatsOf(c); st.Waiters != 0 || st.Keys != 0 || st.Bytes != 0 {
		t.Errorf("left behind: %+v", st)
	}
}
