package smart_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
)

func TestEveryConditionIsMetByItsChange(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		c, other := dstest.ConnectTo(t, via.url(s.Addr)), dstest.Connect(t, s)
		for _, tt := range []struct {
			name   string
			before []string // commands, in words
			wait   smart.Condition
			change []string
			want   func(r smart.Result) bool
		}{
			{"a value", []string{"SET k a"}, smart.Key("k", is("b")), []string{"SET k b"}, func(r smart.Result) bool { return r.Value == "b" && r.Exists }},
			{"a value of an absent key", nil, smart.Key("k", is("b")), []string{"SET k b"}, func(r smart.Result) bool { return r.Value == "b" }},
			{"a value that goes", []string{"SET k a"}, smart.Key("k", func(_ string, ok bool) bool { return !ok }), []string{"DEL k"}, func(r smart.Result) bool { return !r.Exists }},
			{"existence", nil, smart.Exists("k"), []string{"SADD k x"}, func(r smart.Result) bool { return r.Exists }},
			{"absence", []string{"HSET k f v"}, smart.Absent("k"), []string{"DEL k"}, func(r smart.Result) bool { return !r.Exists }},
			{"absence by rename", []string{"SET k v"}, smart.Absent("k"), []string{"RENAME k l"}, func(r smart.Result) bool { return !r.Exists }},
			{"a list", []string{"RPUSH k a"}, smart.ListLen("k", 3), []string{"RPUSH k b", "RPUSH k c"}, func(r smart.Result) bool { return r.Len == 3 }},
			{"an absent list", nil, smart.ListLen("k", 1), []string{"LPUSH k a"}, func(r smart.Result) bool { return r.Len == 1 }},
			{"a stream", []string{"XADD k 5-1 f v"}, smart.StreamAfter("k", "5-1"), []string{"XADD k 5-2 f v"}, func(r smart.Result) bool { return r.LastID == "5-2" && r.Lost == 0 }},
			{"an absent stream", nil, smart.StreamAfter("k", "0"), []string{"XADD k 5-1 f v"}, func(r smart.Result) bool { return r.LastID == "5-1" && r.FirstID == "5-1" && r.Lost == 0 }},
			{"any of several types", []string{"SET k a"}, smart.AnyOf(smart.Key("k", is("b")), smart.ListLen("l", 1)), []string{"RPUSH l x"}, func(r smart.Result) bool {
				return r.Index == 1 && r.Key == "l" && r.Len == 1 && len(r.All) == 2 && r.All[0].Value == "a" && !r.All[0].Met
			}},
			{"all of several types", []string{"SET k a"}, smart.AllOf(smart.Key("k", is("b")), smart.ListLen("l", 1)), []string{"RPUSH l x", "SET k b"}, func(r smart.Result) bool {
				return r.Index == 0 && r.All[0].Met && r.All[1].Met
			}},
			{"one of two groups", nil, smart.AnyOf(smart.AllOf(smart.Exists("k"), smart.Exists("l")), smart.AllOf(smart.Exists("m"), smart.Absent("n"))), []string{"SET k 1", "SET m 1"}, func(r smart.Result) bool {
				return r.Index >= 0 && r.All[r.Index].Met && r.All[2].Met && r.All[3].Met
			}},
			{"two conditions on one key", []string{"SET k a"}, smart.AnyOf(smart.Key("k", is("b")), smart.Key("k", is("c"))), []string{"SET k c"}, func(r smart.Result) bool { return r.Index == 1 && r.Value == "c" }},
		} {
			t.Run(tt.name, func(t *testing.T) {
				run := func(commands []string) {
					for _, line := range commands {
						words := strings.Fields(line)
						args := make([]any, len(words)-1)
						for i, w := range words[1:] {
							args[i] = w
						}
						dstest.Cmd(t, other, words[0], args...)
					}
				}
				dstest.Cmd(t, other, "FLUSHALL")
				run(tt.before)
				type outcome struct {
					r   smart.Result
					err error
				}
				done := make(chan outcome, 1)
				reads := smart.StatsOf(c).Reads
				go func() {
					r, err := smart.WaitFor(within(t, 10*time.Second), c, tt.wait)
					done <- outcome{r, err}
				}()
				dstest.Eventually(t, 5*time.Second, "read", func() bool { return smart.StatsOf(c).Waiters > 0 && smart.StatsOf(c).Reads > reads })
				select {
				case o := <-done:
					t.Fatalf("done before the change: %+v, %v", o.r, o.err)
				case <-time.After(20 * time.Millisecond):
				}
				run(tt.change)
				if o := <-done; o.err != nil || !tt.want(o.r) {
					t.Errorf("got %+v, error %v", o.r, o.err)
				}
				// Now that it is so, it needs no change.
				if r, err := smart.WaitFor(within(t, 5*time.Second), c, tt.wait); err != nil || !r.Met || !r.All[r.Index].Met {
					t.Errorf("already met: %+v, error %v", r, err)
				}
				if st := smart.StatsOf(c); st.Waiters != 0 || st.Keys != 0 || st.Bytes != 0 {
					t.Errorf("left behind: %+v", st)
				}
			})
		}
	})
}

// TestAnEndedKeyIsSeenAtItsEnd is about keys that the server removes late: its
// own event comes when it happens to look at them.
func TestAnEndedKeyIsSeenAtItsEnd(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		c := dstest.ConnectTo(t, via.url(s.Addr))
		dstest.Cmd(t, c, "DEBUG", "SET-ACTIVE-EXPIRE", "0")
		lag, worst := machineLag(), time.Duration(0)
		for _, life := range []time.Duration{2 * time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond} {
			for _, wait := range []smart.Condition{smart.Absent("k"), smart.Key("k", func(_ string, ok bool) bool { return !ok })} {
				start := time.Now()
				dstest.Cmd(t, c, "SET", "k", "v", "PX", life.Milliseconds())
				_, err := smart.WaitFor(within(t, 10*time.Second), c, wait)
				late := time.Since(start) - life
				if err != nil || late < -time.Millisecond {
					t.Errorf("a life of %v: late by %v, error %v", life, late, err)
				}
				worst = max(worst, late)
			}
		}
		machine := lag()
		t.Logf("the ends were seen up to %v late; the machine itself was late by up to %v", worst, machine)
		if worst > slack(50*time.Millisecond)+machine {
			t.Errorf("an end was seen %v late", worst)
		}
		// A life that is given, changed and taken back while somebody waits.
		done := make(chan error, 1)
		for taken := int64(0); taken == 0; {
			dstest.Cmd(t, c, "SET", "k", "v")
			go func() {
				_, err := smart.WaitFor(within(t, 10*time.Second), c, smart.Absent("k"))
				done <- err
			}()
			waiting(t, c, 1)
			dstest.Cmd(t, c, "PEXPIRE", "k", 50)
			if taken = dstest.Int(t, c, "PERSIST", "k"); taken == 0 { // it has ended meanwhile
				<-done
			}
		}
		select {
		case err := <-done:
			t.Fatalf("a key without an end was waited for to its end: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		start := time.Now()
		dstest.Cmd(t, c, "PEXPIRE", "k", 100)
		if err := <-done; err != nil || time.Since(start) < 99*time.Millisecond || time.Since(start) > 100*time.Millisecond+slack(200*time.Millisecond) {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	}, "--enable-debug-command", "local")
}

func TestAStreamTellsOfWhatIsMissing(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		c := dstest.ConnectTo(t, via.url(s.Addr))
		add := func(ids ...string) {
			for _, id := range ids {
				dstest.Cmd(t, c, "XADD", "s", id, "f", "v")
			}
		}
		after := func(id string) smart.Result {
			t.Helper()
			r, err := smart.WaitFor(within(t, 5*time.Second), c, smart.StreamAfter("s", id))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		add("1-0", "2-0", "3-0", "4-0", "5-0")
		if r := after("2-0"); r.Lost != 0 || r.FirstID != "1-0" {
			t.Errorf("nothing is missing: %+v", r.Seen)
		}
		dstest.Cmd(t, c, "XTRIM", "s", "MAXLEN", 2) // 4-0 and 5-0 are left
		if r := after("0"); r.Lost != 3 || r.FirstID != "4-0" {
			t.Errorf("from the start: %+v", r.Seen)
		}
		if r := after("2"); r.Lost != -1 || r.FirstID != "4-0" {
			t.Errorf("from 2-0: %+v", r.Seen)
		}
		if r := after("4-0"); r.Lost != 0 {
			t.Errorf("nothing is missing after 4-0: %+v", r.Seen)
		}
		dstest.Cmd(t, c, "XTRIM", "s", "MAXLEN", 0)
		if r := after("3-0"); r.Lost != -1 || r.FirstID != "" || r.LastID != "5-0" {
			t.Errorf("from 3-0 in an empty stream: %+v", r.Seen)
		}

		// Who waits while entries come and go knows how many went.
		for _, tt := range []struct {
			id   string
			keep int
			want int64 // lost
		}{{"10-0", 1, 2}, {"20-0", 3, 0}, {"30-0", 0, 3}} {
			add(tt.id)
			reads := smart.StatsOf(c).Reads
			done := make(chan smart.Result, 1)
			go func() {
				r, err := smart.WaitFor(within(t, 5*time.Second), c, smart.StreamAfter("s", tt.id))
				if err != nil {
					t.Error(err)
				}
				done <- r
			}()
			dstest.Eventually(t, 5*time.Second, "read", func() bool { return smart.StatsOf(c).Reads > reads })
			ms := strings.TrimSuffix(tt.id, "-0")
			if _, err := c.Cmd(t.Context(), "EVAL", fmt.Sprintf(`for i = 1, 3 do redis.call('XADD', 's', '%s-'..i, 'f', 'v') end redis.call('XTRIM', 's', 'MAXLEN', %d)`, ms, tt.keep), "1", "s"); err != nil {
				t.Fatal(err)
			}
			r := <-done
			if r.Lost != tt.want || r.LastID != ms+"-3" {
				t.Errorf("3 were added and %d kept: %+v; want %d lost", tt.keep, r.Seen, tt.want)
			}
		}
	})
}

func TestADeletedStreamIsWaitedForQuietly(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		c := dstest.ConnectTo(t, via.url(s.Addr))
		dstest.Cmd(t, c, "XADD", "s", "5-0", "f", "v")
		done := make(chan error, 1)
		go func() {
			_, err := smart.WaitFor(within(t, 10*time.Second), c, smart.StreamAfter("s", "5-0"))
			done <- err
		}()
		asked := func(n int) func() bool { return func() bool { return calls(t, c, "xinfo|stream", "pttl") >= n } }
		dstest.Eventually(t, 10*time.Second, "the stream and its end were asked for", asked(2))
		dstest.Cmd(t, c, "DEL", "s")
		dstest.Eventually(t, 10*time.Second, "the stream was read again", asked(3))
		before := calls(t, c, "xinfo|stream", "pttl")
		time.Sleep(300 * time.Millisecond)
		if n := calls(t, c, "xinfo|stream", "pttl") - before; n != 0 {
			t.Errorf("%d commands in 0.3 s for a stream that is gone", n)
		}
		dstest.Cmd(t, c, "XADD", "s", "6-0", "f", "v")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAKeyOfAnotherTypeIsAnError(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		c := dstest.ConnectTo(t, via.url(s.Addr))
		for _, tt := range []struct {
			wrong string
			wait  smart.Condition
			want  string
		}{
			{"RPUSH", smart.Key("k", is("x")), "a string"},
			{"SET", smart.ListLen("k", 1), "a list"},
			{"RPUSH", smart.StreamAfter("k", "0"), "a stream"},
			{"RPUSH", smart.AnyOf(smart.Exists("other"), smart.Key("k", is("x"))), "a string"},
		} {
			for _, name := range []string{"from the start", "while waiting"} {
				dstest.Cmd(t, c, "DEL", "k")
				done := make(chan error, 1)
				wait := func() {
					_, err := smart.WaitFor(within(t, 10*time.Second), c, tt.wait)
					done <- err
				}
				if name == "while waiting" {
					go wait()
					dstest.Eventually(t, 5*time.Second, "waiting", func() bool { return smart.StatsOf(c).Waiters > 0 })
					time.Sleep(10 * time.Millisecond)
				}
				dstest.Cmd(t, c, tt.wrong, "k", "v")
				before := calls(t, c, "get", "llen", "xinfo|stream", "exists")
				if name == "from the start" {
					go wait()
				}
				err := <-done
				var wrong redisx.ServerError
				var explained interface{ Explain() string }
				if !errors.As(err, &wrong) || wrong.Code() != "WRONGTYPE" || !strings.Contains(err.Error(), "k does not hold "+tt.want) || !errors.As(err, &explained) || explained.Explain() == "" {
					t.Errorf("%s %s: %v", tt.want, name, err)
				}
				if n := calls(t, c, "get", "llen", "xinfo|stream", "exists") - before; n > 3 {
					t.Errorf("%s %s: %d reads", tt.want, name, n)
				}
			}
		}
		// Whoever comes after it was mended is not told of it.
		dstest.Cmd(t, c, "DEL", "k")
		dstest.Cmd(t, c, "SET", "k", "x")
		if _, err := smart.WaitFor(within(t, 5*time.Second), c, smart.Key("k", is("x"))); err != nil {
			t.Error(err)
		}
	})
}

func TestTheBudgetIsKept(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) { // SB7
		c := dstest.ConnectTo(t, via.url(s.Addr))
		dstest.Cmd(t, c, "SET", "job", "pending")
		start := time.Now()
		r, err := smart.WaitFor(t.Context(), c, smart.Key("job", is("done")), smart.Budget(200*time.Millisecond))
		took := time.Since(start)
		var budget *smart.BudgetError
		if !errors.As(err, &budget) || !errors.Is(err, smart.ErrBudget) {
			t.Fatalf("error %v", err)
		}
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Error("a budget that ran out looks like the end of the context")
		}
		if took < 200*time.Millisecond || took > 230*time.Millisecond && dstest.Long || took > time.Second {
			t.Errorf("took %v, want 200 to 230 ms", took)
		}
		if r.Value != "pending" || budget.Last.Value != "pending" || r.Index != -1 || budget.Waited < 200*time.Millisecond || budget.Since.IsZero() || budget.Rung != via.name || budget.Err != nil {
			t.Errorf("result %+v, error %+v", r, budget)
		}
		if strings.Contains(err.Error()+budget.Explain(), "pending") {
			t.Errorf("the value is in the text: %v; %s", err, budget.Explain())
		}
		if st := smart.StatsOf(c); st.Waiters != 0 || st.Keys != 0 || st.Bytes != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

func TestTheContextEndsAWait(t *testing.T) {
	c := dstest.Start(t)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	readOnce := smart.Key("k", func(string, bool) bool { cancel(why); return false })
	r, err := smart.WaitFor(ctx, c, readOnce, smart.Budget(time.Minute))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || errors.Is(err, smart.ErrBudget) || !r.Known || r.Exists {
		t.Errorf("%+v, error %v", r, err)
	}
	if _, err := smart.WaitFor(ctx, c, smart.Absent("k")); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	short, cancel2 := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel2()
	if _, err := smart.WaitFor(short, c, smart.Exists("k")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after a deadline: %v", err)
	}
}

func TestWhatCannotBeWaitedForIsRefused(t *testing.T) {
	c := dstest.Start(t)
	for _, tt := range []struct {
		name string
		wait smart.Condition
		opts []smart.Option
	}{
		{"the zero Condition", smart.Condition{}, nil},
		{"AnyOf nothing", smart.AnyOf(), nil},
		{"AllOf something and nothing", smart.AllOf(smart.Exists("k"), smart.AllOf()), nil},
		{"no predicate", smart.Key("k", nil), nil},
		{"an ID that is none", smart.StreamAfter("k", "$"), nil},
		{"an ID that ends early", smart.StreamAfter("k", "5-"), nil},
		{"no budget", smart.Absent("k"), []smart.Option{smart.Budget(0)}},
		{"no waiters", smart.Absent("k"), []smart.Option{smart.MaxWaiters(0)}},
	} {
		if _, err := smart.WaitFor(t.Context(), c, tt.wait, tt.opts...); err == nil || !strings.HasPrefix(err.Error(), "smart: ") {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
}

func TestBeyondTheBoundAWaitIsRefusedAtOnce(t *testing.T) {
	c := dstest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { smart.WaitFor(ctx, c, smart.Exists("k")) })
	}
	waiting(t, c, 10)
	_, err := smart.WaitFor(t.Context(), c, smart.Absent("other"), smart.MaxWaiters(10))
	if !errors.Is(err, smart.ErrOverloaded) || !strings.Contains(err.Error(), "10 conditions are waited for, of at most 10") {
		t.Errorf("error %v", err)
	}
	if _, err := smart.WaitFor(t.Context(), c, smart.AnyOf(smart.Absent("a"), smart.Absent("b")), smart.MaxWaiters(11)); !errors.Is(err, smart.ErrOverloaded) {
		t.Errorf("two conditions with room for one: %v", err)
	}
	if _, err := smart.WaitFor(t.Context(), c, smart.Absent("other"), smart.MaxWaiters(11)); err != nil {
		t.Errorf("with room: %v", err)
	}
	if st := smart.StatsOf(c); st.Refused != 2 || st.Keys != 1 {
		t.Errorf("%+v", st)
	}
	cancel()
	wg.Wait()
}

func TestAPanicHitsOnlyItsWaiter(t *testing.T) {
	c := dstest.Start(t)
	var wg sync.WaitGroup
	var survived error
	var panicked any
	wg.Go(func() { _, survived = smart.WaitFor(within(t, 10*time.Second), c, smart.Key("k", is("v"))) })
	wg.Go(func() {
		defer func() { panicked = recover() }()
		smart.WaitFor(within(t, 10*time.Second), c, smart.Key("k", func(_ string, ok bool) bool {
			if ok {
				panic("mine")
			}
			return false
		}))
	})
	waiting(t, c, 2)
	dstest.Cmd(t, c, "SET", "k", "v")
	wg.Wait()
	if survived != nil || panicked != "mine" {
		t.Errorf("the other waiter: %v; the panic: %v", survived, panicked)
	}
	if st := smart.StatsOf(c); st.Waiters != 0 || st.Keys != 0 {
		t.Errorf("left behind: %+v", st)
	}
}

func TestCloseEndsWaits(t *testing.T) {
	c := dstest.Start(t)
	done := make(chan error, 1)
	go func() {
		_, err := smart.WaitFor(within(t, 10*time.Second), c, smart.Exists("k"), smart.Budget(10*time.Second))
		done <- err
	}()
	waiting(t, c, 1)
	start := time.Now()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil || errors.Is(err, smart.ErrBudget) || time.Since(start) > 2*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if _, err := smart.WaitFor(t.Context(), c, smart.Exists("k")); err == nil {
		t.Error("a closed client waits")
	}
}
