package tracking

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

func TestCallersOfTheSameCommandShareOneFetch(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		var all []<-chan answer
		for range 10 {
			all = append(all, s.get("k"))
		}
		s.wants("PTTL k", "GET k")
		s.send(forever, bulk("v"))
		for _, ch := range all {
			s.is(ch, "v")
		}
		s.is(s.get("k"), "v")
		st := s.hub.Stats()
		if st.Misses != 1 || st.Shared != 9 || st.Hits != 1 || st.Entries != 1 || st.State != Live {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestACallerThatLeavesLeavesTheFetchToTheOthers(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		defer cancel()
		first := s.ask(ctx, time.Minute, command.Get("k"))
		second := s.get("k")
		s.wants("PTTL k", "GET k")
		time.Sleep(20 * time.Millisecond)
		a := s.fails(first, context.DeadlineExceeded)
		var e *command.Error
		if !errors.As(a.err, &e) || e.Outcome != command.Maybe || e.Command != "GET" || a.took != 20*time.Millisecond {
			t.Errorf("after %v: %#v", a.took, a.err)
		}
		s.send(forever, bulk("v"))
		s.is(second, "v")
		s.is(s.get("k"), "v")
	})
}

func TestTheLastCallerThatLeavesEndsTheFetch(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		ctx, cancel := context.WithCancel(bg)
		first, second := s.ask(ctx, time.Minute, command.Get("k")), s.ask(ctx, time.Minute, command.Get("k"))
		s.wants("PTTL k", "GET k")
		cancel()
		s.fails(first, context.Canceled)
		s.fails(second, context.Canceled)
		third := s.get("k") // does not join what nobody waits for
		s.wants("PTTL k", "GET k")
		s.send(forever, bulk("old"), forever, bulk("new"))
		s.is(third, "new")
		s.is(s.get("k"), "new")
	})
}

func TestACallWhoseContextHasEndedIsNotServed(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		s.store("k", "v")
		ctx, cancel := context.WithCancelCause(bg)
		cancel(errors.ErrUnsupported)
		a := s.fails(s.ask(ctx, time.Minute, command.Get("k")), errors.ErrUnsupported)
		if !errors.Is(a.err, context.Canceled) || !command.SafeToRetry(a.err) {
			t.Errorf("error %v", a.err)
		}
	})
}

func TestAnInvalidationDropsWhatItNames(t *testing.T) {
	for name, push := range map[string]string{
		"a key":                    invalid("other", "k"),
		"null: everything":         invalidAll,
		"what nobody can read":     ">2\r\n$10\r\ninvalidate\r\n:1\r\n",
		"nothing where a list was": ">1\r\n$10\r\ninvalidate\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Config{}, func(s *fake) {
				s.store("k", "old")
				s.send(push)
				again := s.get("k")
				s.wants("PTTL k", "GET k")
				s.send(forever, bulk("new"))
				s.is(again, "new")
			})
		})
	}
	inBubble(t, Config{}, func(s *fake) {
		s.store("k", "v")
		s.send(invalid("other"), ">2\r\n$3\r\nfoo\r\n*1\r\n$1\r\nk\r\n")
		s.is(s.get("k"), "v")
	})
}

// The write that an invalidation tells of may have come before or after the
// read whose reply is under way: wherever it arrives, the reply is not kept,
// and who asks after it does not get it.
func TestAnInvalidationDuringAFetchKeepsItsReplyFromBeingStored(t *testing.T) {
	for name, play := range map[string]func(s *fake, push string){
		"before the replies": func(s *fake, push string) {
			s.send(push)
			s.late()
			s.send(forever, bulk("old"))
		},
		"between PTTL and the reply": func(s *fake, push string) {
			s.send(forever, push)
			s.late()
			s.send(bulk("old"))
		},
		"with the replies, in one piece": func(s *fake, push string) {
			s.send(push + forever + bulk("old"))
			s.late()
		},
		"behind the replies, in one piece": func(s *fake, push string) {
			s.send(forever + bulk("old") + push)
			s.late()
		},
	} {
		for what, push := range map[string]string{"the key": invalid("k"), "everything": invalidAll} {
			t.Run(name+", "+what, func(t *testing.T) {
				inBubble(t, Config{}, func(s *fake) {
					first := s.get("k")
					s.wants("PTTL k", "GET k")
					play(s, push)
					s.is(first, "old") // it asked before
					s.send(forever, bulk("new"))
					s.is(s.get("k"), "new")
				})
			})
		}
	}
}

// late asks for k after an invalidation, and checks that this fetches.
func (s *fake) late() {
	s.t.Helper()
	ch := s.get("k")
	s.wants("PTTL k", "GET k")
	s.t.Cleanup(func() { // both replies are in by then
		if a := <-ch; a.text != "new" {
			s.t.Errorf("who asked after the invalidation got %q, error %v", a.text, a.err)
		}
	})
}

func TestAnEntryOfSeveralKeysGoesWithAnyOfThem(t *testing.T) {
	for _, key := range []string{"a", "b"} {
		inBubble(t, Config{}, func(s *fake) {
			mget := command.MGet("b", "a", "b")
			first := s.ask(bg, time.Minute, mget)
			s.wants("PTTL a", "PTTL b", "MGET b a b")
			s.send(forever, ":50\r\n", "*3\r\n+2\r\n+1\r\n+2\r\n")
			s.is(first, " 2 1 2")
			s.is(s.ask(bg, time.Minute, mget), " 2 1 2")
			s.send(invalid(key))
			again := s.ask(bg, time.Minute, mget)
			s.wants("PTTL a", "PTTL b", "MGET b a b")
			s.send(forever, ":50\r\n", "*3\r\n+2\r\n+9\r\n+2\r\n")
			s.is(again, " 2 9 2")
			time.Sleep(50 * time.Millisecond) // the shortest life counts
			again = s.ask(bg, time.Minute, mget)
			s.wants("PTTL a", "PTTL b", "MGET b a b")
			s.send(forever, forever, "*3\r\n+2\r\n+9\r\n+2\r\n")
			s.is(again, " 2 9 2")
		})
	}
}

func TestNothingIsServedWithoutALiveConnection(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		s.store("k", "old")
		pending := s.get("other")
		s.wants("PTTL other", "GET other")
		s.refuse.Store(true)
		s.line.Close()
		s.fails(pending, ErrUncached)
		for range 20 {
			a := s.fails(s.get("k"), ErrUncached)
			if a.took != 0 {
				t.Errorf("a call without a connection took %v", a.took)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if st := s.hub.Stats(); st.State != Down || st.Entries != 0 || st.Bytes != 0 || st.Uncached != 21 {
			t.Errorf("stats %+v", st)
		}
		s.refuse.Store(false)
		for i := 0; s.hub.Stats().State != Live && i < 10; i++ {
			s.get("k") // the calls drive the dialling, as fast as the backoff lets them
			time.Sleep(5 * time.Second)
		}
		again := s.get("k")
		s.wants("PTTL k", "GET k")
		s.send(forever, bulk("new"))
		s.is(again, "new")
	})
}

func TestAReplyOfALostConnectionIsNotStored(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		s.store("j", "v")
		first := s.get("k")
		s.wants("PTTL k", "GET k")
		s.send(forever + bulk("old"))
		s.line.Close() // the reply may be with its caller, or not yet
		synctest.Wait()
		s.is(first, "old")
		s.fails(s.get("k"), ErrUncached)
	})
}

func TestAnotherSharedConnectionEmptiesTheCache(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		first := s.node.Generation()
		s.get("k")
		s.wants("PTTL k", "GET k")
		s.send(forever, bulk("old"))
		old := s.line
		s.hub.mu.Lock()
		s.hub.line.generation = first - 1 // as if another had been dialled since
		s.hub.mu.Unlock()
		s.fails(s.get("k"), ErrUncached)
		time.Sleep(leastApart)
		synctest.Wait()
		if s.line == old {
			t.Fatal("the old tracking connection is still in use")
		}
		again := s.get("k")
		s.wants("PTTL k", "GET k")
		s.send(forever, bulk("new"))
		s.is(again, "new")
	})
}

func TestAnEntryEndsWithItsKeyOrItsAge(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		fetch := func(maxAge time.Duration, pttl, value string) {
			t.Helper()
			ch := s.ask(bg, maxAge, command.Get("k"))
			s.wants("PTTL k", "GET k")
			time.Sleep(30 * time.Millisecond) // on the way: part of the life
			s.send(pttl, bulk(value))
			s.is(ch, value)
		}
		fetch(time.Minute, ":100\r\n", "1")
		time.Sleep(69 * time.Millisecond)
		s.is(s.get("k"), "1")
		time.Sleep(time.Millisecond) // 100 ms after the question
		fetch(time.Minute, forever, "2")
		time.Sleep(170 * time.Millisecond)
		s.is(s.ask(bg, 201*time.Millisecond, command.Get("k")), "2")
		fetch(200*time.Millisecond, forever, "3") // too old for this caller
		time.Sleep(59 * time.Second)
		s.is(s.get("k"), "3")
		time.Sleep(time.Second)
		fetch(time.Minute, ":30\r\n", "4") // dead when it arrives
		fetch(time.Minute, ":0\r\n", "5")
		fetch(time.Minute, "-NOPERM no PTTL for you\r\n", "6") // nobody knows its life
		fetch(time.Minute, ":-3\r\n", "7")
		fetch(time.Minute, ":9223372036854775807\r\n", "8")
		s.is(s.get("k"), "8")
		s.fails(s.ask(bg, 0, command.Get("k")), ErrUncached)
		s.fails(s.ask(bg, -1, command.Get("k")), ErrUncached)
	})
}

func TestAnAbsentKeyIsStoredAndAnErrorIsNot(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		ch := s.get("k")
		s.wants("PTTL k", "GET k")
		s.send(":-2\r\n", "_\r\n")
		s.is(ch, "null")
		s.is(s.get("k"), "null")
		for _, e := range []string{"-WRONGTYPE no string\r\n", "-LOADING\r\n", "!8\r\nERR oops\r\n"} {
			one, two := s.get("x"), s.get("x")
			s.wants("PTTL x", "GET x")
			s.send(forever, e)
			for _, ch := range []<-chan answer{one, two} {
				var word resp3.ServerError
				if a := <-ch; !errors.As(a.err, &word) {
					t.Errorf("%q came back as %v", e, a.err)
				}
			}
		}
		if n := s.hub.Stats().Entries; n != 1 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestAnOwnWriteDropsItsKeysAndTheirFetches(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		set := command.Untyped("SET", "k", "new").Request()
		s.store("k", "old")
		s.store("other", "v")
		s.hub.Wrote(&set) // about to be sent
		during := s.get("k")
		s.wants("PTTL k", "GET k")
		s.hub.Wrote(&set) // answered
		after := s.get("k")
		s.wants("PTTL k", "GET k")
		s.send(forever, bulk("old"), forever, bulk("new"))
		s.is(during, "old")
		s.is(after, "new")
		s.is(s.get("k"), "new")
		s.is(s.get("other"), "v")
	})
}

func TestWhatACommandMayWrite(t *testing.T) {
	untyped := func(name string, args ...any) command.Sendable { return command.Untyped(name, args...) }
	for _, tt := range []struct {
		c    command.Sendable
		want string // of the keys a, b, c those that stay
	}{
		{command.Get("a"), "abc"},
		{untyped("PING"), "abc"},
		{untyped("PUBLISH", "a", "x"), "abc"},
		{untyped("SET", "a", "x"), "bc"},
		{untyped("MSET", "a", 1, "c", 2), "b"},
		{untyped("BLPOP", "a", "b", 1), "c"},
		{untyped("COPY", "a", "b"), "c"},
		{untyped("EVAL", "x", 2, "a", "b", "c"), "c"},
		{untyped("EVAL", "x", 0), ""},
		{untyped("EVAL_RO", "x", 1, "a"), "abc"},
		{untyped("ZUNIONSTORE", "a", 1, "b"), "c"},
		{untyped("XREADGROUP", "GROUP", "g", "me", "STREAMS", "a", ">"), "bc"},
		{untyped("FLUSHALL"), ""},
		{untyped("FLUSHDB"), ""},
		{untyped("SWAPDB", 0, 1), ""},
		{untyped("SORT", "a", "STORE", "b"), "c"},
		{command.NewRequest(command.NewSpec(command.Spec{
			Name: "X.MOVE", Flags: command.Write | command.Movable, Keys: command.KeySpec{First: 1, Last: 1, Step: 1},
		}),
			command.Str("a"), command.Str("TO"), command.Str("b")), ""}, // a key behind an option
		{untyped("JSON.SET", "a", "$", "1"), ""}, // the table lacks it
		{command.NewRequest(command.NewSpec(command.Spec{Name: "JSON.GET", Flags: command.ReadOnly}), command.Str("a")), "abc"},
	} {
		inBubble(t, Config{}, func(s *fake) {
			for _, k := range []string{"a", "b", "c"} {
				s.store(k, k)
			}
			r := tt.c.Request()
			s.hub.Wrote(&r)
			left := ""
			for _, k := range []string{"a", "b", "c"} {
				if s.hub.store.keys[k] != nil {
					left += k
				}
			}
			if left != tt.want {
				t.Errorf("after %s the cache has %q, want %q", r.Name(), left, tt.want)
			}
		})
	}
}

func TestFlushDropsFetchesToo(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		s.store("k", "old")
		first := s.get("j")
		s.wants("PTTL j", "GET j")
		s.hub.Flush()
		second, third := s.get("j"), s.get("k")
		s.wants("PTTL j", "GET j", "PTTL k", "GET k")
		s.send(forever, bulk("1"), forever, bulk("2"), forever, bulk("3"))
		s.is(first, "1")
		s.is(second, "2")
		s.is(third, "3")
	})
}

func TestALargeReplyIsHandedOverAndNotStored(t *testing.T) {
	for _, tt := range []struct {
		cfg    Config
		size   int
		stored bool
	}{
		{Config{MaxEntryBytes: 1000}, 1000, true},
		{Config{MaxEntryBytes: 1000}, 1001, false},
		{Config{MaxBytes: 2000}, 1000, true},
		{Config{MaxBytes: 1300}, 1000, false},
	} {
		inBubble(t, tt.cfg, func(s *fake) {
			ch := s.get("k")
			s.wants("PTTL k", "GET k")
			v := strings.Repeat("x", tt.size)
			s.send(forever, bulk(v))
			s.is(ch, v)
			if got := s.hub.Stats().Entries == 1; got != tt.stored {
				t.Errorf("%+v, %d bytes: stored %v", tt.cfg, tt.size, got)
			}
		})
	}
}

func TestWithPrefixesOtherKeysAreNotCached(t *testing.T) {
	inBubble(t, Config{Prefixes: []string{"user:", "item:"}}, func(s *fake) {
		s.store("user:1", "v")
		s.fails(s.get("other"), ErrUncached)
		s.fails(s.ask(bg, time.Minute, command.MGet("user:1", "other")), ErrUncached)
	})
	inBubble(t, Config{MaxBytes: -1}, func(s *fake) {
		s.fails(s.get("k"), ErrUncached)
		if st := s.hub.Stats(); st.State != Off || s.dials.Load() != 1 {
			t.Errorf("stats %+v after %d dials", st, s.dials.Load())
		}
	})
}

func TestCallersWaitForTheFirstConnectionASecondAtMost(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		s.slow = 3 * time.Second
		ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
		defer cancel()
		hasty := s.ask(ctx, time.Minute, command.Get("k"))
		first := s.get("k")
		time.Sleep(600 * time.Millisecond)
		second := s.get("k")
		if a := s.fails(hasty, context.DeadlineExceeded); a.took != 100*time.Millisecond || !command.SafeToRetry(a.err) {
			t.Errorf("%v, after %v", a.err, a.took)
		}
		time.Sleep(400 * time.Millisecond)
		if a := s.fails(first, ErrUncached); a.took != time.Second {
			t.Errorf("the first waited %v", a.took)
		}
		if a := s.fails(second, ErrUncached); a.took != 400*time.Millisecond {
			t.Errorf("the second waited %v", a.took)
		}
		s.fails(s.get("k"), ErrUncached)
		time.Sleep(2*time.Second + time.Millisecond)
		s.store("k", "v")
	})
}

// Whatever keeps the tracking connection from living, the node is dialled 20
// times a second at most.
func TestALineThatDoesNotLiveIsNotDialledInAHotLoop(t *testing.T) {
	for name, spoil := range map[string]func(s *fake){
		"tracking is refused for now": func(s *fake) { s.script.Store(true) },
		"it is lost as soon as it is there": func(s *fake) {
			synctest.Wait()
			if s.line != nil {
				s.line.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Config{}, func(s *fake) {
				for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
					spoil(s)
					s.get("k")
					for len(s.asked) > 0 {
						<-s.asked
					}
				}
				if n := s.dials.Load(); n > 10*20+2 { // the shared connection, and both ends of the 10 s
					t.Errorf("%d dials in 10 s", n)
				}
			})
		})
	}
}

func TestASilentServerIsReportedOnce(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		ch := s.get("k")
		s.wants("PTTL k", "GET k")
		time.Sleep(6 * time.Second)
		if a := s.fails(ch, session.ErrStalled); a.took > 5100*time.Millisecond {
			t.Errorf("after %v", a.took)
		}
	})
}

func TestCloseEndsFetchesAndRefusesMore(t *testing.T) {
	inBubble(t, Config{}, func(s *fake) {
		ch := s.get("k")
		s.wants("PTTL k", "GET k")
		s.hub.Close()
		s.fails(ch, ErrUncached)
		s.fails(s.get("k"), ErrUncached)
		s.hub.Close()
		if st := s.hub.Stats(); st.State != Off {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestArgumentsMayChangeOnceTheirCallerHasLeft(t *testing.T) {
	inBubbleWith(t, session.Config{MaxInFlight: 2}, Config{}, func(s *fake) {
		before := s.get("j")
		key := []byte("k")
		ctx, cancel := context.WithCancel(bg)
		first := s.ask(ctx, time.Minute, command.Untyped("GET", key)) // waits for room
		second := s.get("k")
		cancel()
		s.fails(first, context.Canceled)
		key[0] = 'X'
		s.wants("PTTL j", "GET j")
		s.send(forever, bulk("v"))
		s.is(before, "v")
		s.wants("PTTL k", "GET k")
		s.send(forever, bulk("v"))
		s.is(second, "v")
		if s.hub.store.keys["k"] == nil {
			t.Error("the key is not known by its name")
		}
	})
}
