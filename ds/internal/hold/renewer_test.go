package hold

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/replicas"
	"github.com/redisx/redisx/resp3"
)

var renewScript = command.NewScript("return {}")

// thing is what a hold of these tests holds.
type thing string

func (thing) Script() *command.Script { return renewScript }

func (t thing) Append(keys []string, args []command.Arg) ([]string, []command.Arg) {
	return append(keys, string(t)), append(args, command.Str("id"))
}

// server renews rows. It owns a renewer as a client does.
type server struct {
	mu      sync.Mutex
	id      string
	scripts []int // rows of each
	// answer is the frame for a row, ":1\r\n" where it is nil.
	answer func(row string) string
	// slow is how long a batch with that row takes.
	slow  func(row string) time.Duration
	acked int64 // what WAIT answers

	attached io.Closer
}

func (s *server) Attach(_ any, make func() io.Closer) (io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached == nil {
		s.attached = make()
	}
	return s.attached, nil
}

func (s *server) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	frame := "*" + strconv.Itoa(rows(r)+1) + "\r\n+" + s.id + "\r\n"
	var slow time.Duration
	s.mu.Lock()
	s.scripts = append(s.scripts, rows(r))
	for i := range rows(r) {
		row := r.Arg(2 + i).Text()
		if s.slow != nil {
			slow = max(slow, s.slow(row))
		}
		if s.answer == nil {
			frame += ":1\r\n"
		} else {
			frame += s.answer(row)
		}
	}
	s.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return command.Reply{}, &command.Error{Command: "EVALSHA", Outcome: command.Maybe, Err: ctx.Err()}
		}
	}
	v := resp3.NewView([]byte(frame))
	return command.NewReply(&v, nil), nil
}

func rows(r command.Request) int {
	n, _ := strconv.Atoi(r.Arg(1).Text())
	return n
}

// DoBatch is a script and the WAIT behind it.
func (s *server) DoBatch(ctx context.Context, rs []command.Request, got func(int, resp3.View, error)) error {
	reply, err := s.Do(ctx, rs[0])
	got(0, reply.View(), err)
	s.mu.Lock()
	acked := s.acked
	s.mu.Unlock()
	got(1, resp3.NewView([]byte(":"+strconv.FormatInt(acked, 10)+"\r\n")), nil)
	return nil
}

func (s *server) count() (scripts, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.scripts {
		rows += n
	}
	return len(s.scripts), rows
}

func (s *server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// hold starts n holds and returns them. The test stops them.
func (s *server) hold(t *testing.T, n int, o Options) []*Hold {
	holds := make([]*Hold, n)
	for i := range holds {
		o.Row, o.Doer = thing(fmt.Sprintf("thing:%d", i)), s
		if o.TTL == 0 {
			o.TTL = ttl
		}
		holds[i] = Start(t.Context(), time.Now(), o)
	}
	return holds
}

func (s *server) stop(t *testing.T, holds []*Hold) {
	for _, h := range holds {
		h.Stop()
	}
	if err := s.attached.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestHoldsAreRenewedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, minutes = 10_000, 1
		s := &server{}
		holds := s.hold(t, n, Options{TTL: 30 * time.Second})
		time.Sleep(minutes * time.Minute)
		for _, h := range holds {
			if err := h.Err(); err != nil {
				t.Fatalf("lost: %v", err)
			}
		}
		scripts, rows := s.count()
		t.Logf("%d holds, %d minutes: %d scripts (%.1f/s), %.1f renewals of each a minute", n, minutes, scripts,
			float64(scripts)/minutes/60, float64(rows)/n/minutes)
		if perSecond := scripts / minutes / 60; perSecond > 40 {
			t.Errorf("%d scripts a second, want at most 40", perSecond)
		}
		if each := float64(rows) / n / minutes; each < 5 || each > 7 {
			t.Errorf("%.1f renewals of each hold a minute, want about 6", each)
		}
		for _, rows := range s.scripts {
			if rows > batchRows {
				t.Fatalf("%d rows in a script, want at most %d", rows, batchRows)
			}
		}
		s.stop(t, holds)
	})
}

func TestHoldsOfUnlikeTTLsDoNotShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{slow: func(string) time.Duration { return 20 * time.Millisecond }}
		long, short := s.hold(t, 100, Options{TTL: 30 * time.Second}), s.hold(t, 100, Options{TTL: 50 * time.Millisecond})
		r := s.attached.(*renewer)
		r.mu.Lock()
		if len(r.groups) != 2 {
			t.Errorf("%d groups, want 2: the timeout of a batch is that of its shortest TTL", len(r.groups))
		}
		r.mu.Unlock()
		time.Sleep(10 * time.Minute)
		for _, h := range long {
			if err := h.Err(); err != nil {
				t.Fatalf("lost: %v: the timeout of a short one was its own", err)
			}
		}
		// Too short for this server: a third of the TTL is less than its answers take.
		for _, h := range short {
			if reasonOf(h.Err()) != Expired {
				t.Fatalf("Err is %v, want expired", h.Err())
			}
		}
		s.stop(t, append(long, short...))
	})
}

func TestARowThatFailsSinksNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: func(row string) string {
			if row == "thing:7" {
				return "-WRONGTYPE not a hash\r\n"
			}
			return ":1\r\n"
		}}
		holds := s.hold(t, 300, Options{})
		time.Sleep(10 * ttl)
		for i, h := range holds {
			var said resp3.ServerError
			switch err := h.Err(); {
			case i != 7 && err != nil:
				t.Fatalf("hold %d lost: %v", i, err)
			case i == 7 && (reasonOf(err) != Expired || !errors.As(err, &said) || said.Code() != "WRONGTYPE"):
				t.Fatalf("hold 7: %v, want expired for WRONGTYPE", err)
			}
		}
		s.stop(t, holds)
	})
}

func TestABatchThatHangsSinksNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hung []*Hold
		s := &server{}
		holds := s.hold(t, 2000, Options{})
		time.Sleep(ttl) // in step
		s.set(func() {
			s.slow = func(row string) time.Duration {
				if row == "thing:0" {
					return time.Hour
				}
				return 0
			}
		})
		most := 0
		for range 100 {
			time.Sleep(ttl / 100)
			late := 0
			for _, h := range holds {
				if h.Err() == nil && h.Remaining() < ttl/2 {
					late++
				}
			}
			most = max(most, late)
		}
		if most > 2*batchRows {
			t.Errorf("%d holds at once waited for a batch that hung and was not theirs", most)
		}
		for _, h := range holds {
			if h.Err() != nil {
				hung = append(hung, h)
			}
		}
		// Who shared a batch with it was repeated in another one.
		if len(hung) > batchRows {
			t.Errorf("%d holds lost for one batch that hung, want %d at most", len(hung), batchRows)
		}
		s.set(func() { s.slow = nil })
		time.Sleep(10 * ttl)
		lost := 0
		for _, h := range holds {
			if h.Err() != nil {
				lost++
			}
		}
		t.Logf("%d of %d lost with the batch that hung", lost, len(holds))
		s.stop(t, holds)
	})
}

func TestWithoutAnswersTheyEndAMarginBeforeTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{slow: func(string) time.Duration { return time.Hour }}
		start := time.Now()
		holds := s.hold(t, 1000, Options{})
		for _, h := range holds {
			if got, want := endsAt(h, start), ttl-Margin(ttl); got != want {
				t.Fatalf("ended after %v, want %v", got, want)
			}
		}
		s.stop(t, holds)
	})
}

func TestTheAnswerSaysWhyItIsNotOurs(t *testing.T) {
	for name, tt := range map[string]struct {
		answer   string
		failover bool
		want     Reason
	}{
		"nobody has it":               {"$4\r\ngone\r\n", false, Gone},
		"somebody else has it":        {"$9\r\nnot owner\r\n", false, NotOwner},
		"it was taken":                {"$10\r\ntaken over\r\n", false, TakenOver},
		"it was given":                {"$11\r\nhanded over\r\n", false, HandedOver},
		"a word that nobody knows":    {"$4\r\nwhat\r\n", false, Gone},
		"0":                           {":0\r\n", false, Gone},
		"gone on another server":      {"$4\r\ngone\r\n", true, Failover},
		"not owner on another server": {"$9\r\nnot owner\r\n", true, Failover},
		"taken on another server":     {"$10\r\ntaken over\r\n", true, TakenOver},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{id: "a1"}
				holds := s.hold(t, 1, Options{})
				time.Sleep(time.Second) // the first renewal is at once, to learn of the server
				if scripts, _ := s.count(); scripts != 1 {
					t.Errorf("%d scripts in the first second, want 1", scripts)
				}
				s.set(func() {
					s.answer = func(string) string { return tt.answer }
					if tt.failover {
						s.id = "b2"
					}
				})
				<-holds[0].Context().Done()
				if r := reasonOf(holds[0].Err()); r != tt.want {
					t.Errorf("reason is %q, want %q", r, tt.want)
				}
				s.stop(t, holds)
			})
		})
	}
}

func TestARenewalThatIsNotReplicatedDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{acked: 2}
		start := time.Now()
		holds := s.hold(t, 300, Options{Confirm: replicas.Need{Count: 2, Within: time.Second}})
		time.Sleep(10 * ttl)
		s.set(func() { s.acked = 1 })
		for i, h := range holds {
			at := endsAt(h, start)
			var short *replicas.ShortError
			if reasonOf(h.Err()) != Expired || !errors.As(h.Err(), &short) || short.Acked != 1 || at > 11*ttl {
				t.Fatalf("hold %d ended after %v with %v, want expired for 1 of 2", i, at, h.Err())
			}
		}
		s.stop(t, holds)
	})
}

func TestAnAnswerOfTheWrongShapeIsNone(t *testing.T) {
	for _, answer := range []string{"*0\r\n", "_\r\n", "%0\r\n", ",1.5\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{answer: func(string) string { return answer }}
			holds := s.hold(t, 1, Options{})
			<-holds[0].Context().Done()
			if r := reasonOf(holds[0].Err()); r != Expired && r != Gone {
				t.Errorf("%q: reason is %q", answer, r)
			}
			s.stop(t, holds)
		})
	}
}

// plain is a Doer that owns nothing.
type plain struct{ s *server }

func (p plain) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return p.s.Do(ctx, r)
}

func TestWithoutAnOwnerEachRenewsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{id: "a1"}
		h := Start(t.Context(), time.Now(), Options{TTL: ttl, Row: thing("x"), Doer: plain{s}})
		time.Sleep(10 * ttl)
		if err := h.Err(); err != nil {
			t.Errorf("lost: %v", err)
		}
		if scripts, rows := s.count(); scripts != rows || rows < 25 {
			t.Errorf("%d scripts for %d rows, want about 30 of one row", scripts, rows)
		}
		s.set(func() { s.id, s.answer = "b2", func(string) string { return "$4\r\ngone\r\n" } })
		<-h.Context().Done()
		if r := reasonOf(h.Err()); r != Failover {
			t.Errorf("reason is %q, want %q", r, Failover)
		}
		h.Stop()
	})
}

func TestHeldForAMomentCostsNoRenewalAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		for range 1000 {
			for _, h := range s.hold(t, 3, Options{}) {
				h.Stop()
			}
		}
		time.Sleep(10 * ttl)
		if scripts, _ := s.count(); scripts > 1 {
			t.Errorf("%d scripts, want the first at most", scripts)
		}
		r := s.attached.(*renewer)
		r.mu.Lock()
		if len(r.groups) != 0 {
			t.Errorf("%d groups are left", len(r.groups))
		}
		r.mu.Unlock()
		s.stop(t, nil)
	})
}

func TestTheClientsCloseEndsBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{slow: func(string) time.Duration { return time.Hour }}
		holds := s.hold(t, 10, Options{})
		time.Sleep(time.Second)
		start := time.Now()
		s.stop(t, nil)
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %v", took)
		}
		before, _ := s.count()
		time.Sleep(ttl / 2)
		if after, _ := s.count(); after != before {
			t.Errorf("%d scripts after Close", after-before)
		}
		s.stop(t, holds)
	})
}

func TestHoldsThatNobodyStopsEndInTimeAfterTheClientsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		holds := s.hold(t, 300, Options{})
		time.Sleep(ttl / 2) // some have been renewed
		s.set(func() { s.slow = func(string) time.Duration { return time.Hour } })
		time.Sleep(ttl / 10) // renewals are under way
		s.stop(t, nil)
		for _, h := range holds {
			left, begin := h.Remaining(), time.Now()
			if got := endsAt(h, begin); got != left {
				t.Fatalf("ended %v after it had %v left", got, left)
			}
		}
	})
}

// odd is a Doer that cannot be told from others, although its type can.
type odd struct {
	*server
	extra any
}

func TestADoerThatCannotBeToldFromOthersRenewsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		for _, d := range []command.Doer{odd{s, []int{1}}, odd{s, 1}} {
			h := Start(t.Context(), time.Now(), Options{TTL: ttl, Row: thing("x"), Doer: d})
			time.Sleep(2 * ttl)
			if err := h.Err(); err != nil {
				t.Errorf("lost: %v", err)
			}
			h.Stop()
		}
		s.stop(t, nil)
	})
}
