package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

var bg = context.Background()

func TestACommandCancelledBeforeTheWriteIsNeverSent(t *testing.T) {
	ended, cancel := context.WithCancel(bg)
	cancel()
	t.Run("before the call", func(t *testing.T) {
		inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
			p.wantError(do(ended, c, "GET", "a"), command.NotSent, "queue", context.Canceled)
			p.nothing()
		})
	})
	t.Run("while it waits for room", func(t *testing.T) {
		inBubble(t, Config{MaxInFlight: 1}, simnet.Options{}, func(c *Conn, p *peer) {
			a := do(bg, c, "GET", "a")
			ctx, cancel := context.WithTimeout(bg, time.Second)
			defer cancel()
			if r := p.wantError(do(ctx, c, "GET", "b"), command.NotSent, "queue", context.DeadlineExceeded); r.took != time.Second {
				t.Errorf("took %v", r.took)
			}
			p.next()
			p.send("+1\r\n")
			p.want(a, "1")
			p.nothing()
		})
	})
	t.Run("while a write before it blocks", func(t *testing.T) {
		inBubble(t, Config{}, simnet.Options{Window: 100}, func(c *Conn, p *peer) {
			a := do(bg, c, "SET", "a", strings.Repeat("x", 1000))
			ctx, cancel := context.WithCancel(bg)
			b := do(ctx, c, "GET", "b")
			d := do(bg, c, "GET", "d")
			cancel()
			if r := p.wantError(b, command.NotSent, "queue", context.Canceled); r.took != 0 {
				t.Errorf("took %v", r.took)
			}
			p.next()
			if got := p.next(); got != "GET d" {
				t.Errorf("after the withdrawn command came %q", got)
			}
			p.send("+1\r\n+2\r\n")
			p.want(a, "1")
			p.want(d, "2")
		})
	})
}

func TestACancelAfterTheWriteReturnsAtOnceAndKeepsTheConnection(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		ctx, cancel := context.WithCancelCause(bg)
		a := do(ctx, c, "INCR", "a")
		p.next()
		why := errors.New("the user left")
		cancel(why)
		r := p.wantError(a, command.Maybe, "read", context.Canceled)
		if !errors.Is(r.err, why) || r.took != 0 || command.SafeToRetry(r.err) {
			t.Errorf("%v after %v", r.err, r.took)
		}
		b := do(bg, c, "GET", "b")
		p.next()
		p.send("+orphan\r\n+b\r\n")
		p.want(b, "b")
		if c.Err() != nil || c.Pending() != 0 {
			t.Errorf("error %v, %d pending", c.Err(), c.Pending())
		}
	})
}

func TestAnOrphansReplyIsReadWithoutAnyCaller(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		p.wantError(do(ctx, c, "GET", "a"), command.Maybe, "read", context.DeadlineExceeded)
		if c.Pending() != 1 {
			t.Errorf("%d pending, want the orphan", c.Pending())
		}
		p.send("+late\r\n")
		time.Sleep(20 * time.Millisecond)
		if c.Err() != nil || c.Pending() != 0 {
			t.Errorf("error %v, %d pending", c.Err(), c.Pending())
		}
		time.Sleep(time.Minute - 55*time.Second) // longer than the orphan's stall clock
		if c.Err() != nil {
			t.Error(c.Err())
		}
	})
}

func TestAnOrphanThatIsNeverAnsweredKillsTheConnection(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		p.wantError(do(ctx, c, "GET", "a"), command.Maybe, "read", context.DeadlineExceeded)
		time.Sleep(4100 * time.Millisecond)
		if !errors.Is(c.Err(), ErrStalled) {
			t.Errorf("error %v", c.Err())
		}
	})
}

func TestALeaderThatLeavesHandsTheLeadOn(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		ctx, cancel := context.WithCancel(bg)
		a := do(ctx, c, "GET", "a") // leads
		b := do(bg, c, "GET", "b")
		d := do(bg, c, "GET", "d")
		cancel()
		p.wantError(a, command.Maybe, "read", context.Canceled)
		p.send("+a\r\n+b\r\n+d\r\n")
		p.want(b, "b")
		p.want(d, "d")
		e := do(ctx, c, "GET", "e") // the ended context does not disturb later leaders
		p.wantError(e, command.NotSent, "queue", context.Canceled)
		f := do(bg, c, "GET", "f")
		p.send("+f\r\n")
		p.want(f, "f")
	})
}

// The context of a caller ends while the lead is handed to it: whichever comes
// first, those behind it must not be left without a leader.
func TestALeadHandedToACallerThatLeavesIsPassedOn(t *testing.T) {
	for range 50 {
		inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
			ctx, cancel := context.WithCancel(bg)
			a := do(bg, c, "GET", "a") // leads
			b := do(ctx, c, "GET", "b")
			c.mu.Lock() // which both need, the leader first
			leader := c.inflight[0]
			p.send("+a\r\n")
			for leader.state.Load() != done {
				yield()
			}
			cancel()
			for range 100 {
				yield()
			}
			c.mu.Unlock()
			p.want(a, "a")
			p.wantError(b, command.Maybe, "read", context.Canceled)
			d := do(bg, c, "GET", "d")
			p.send("+b\r\n+d\r\n")
			p.want(d, "d")
		})
	}
}

func TestTheStallClockIsTheDefaultTimeout(t *testing.T) {
	for _, tt := range []struct {
		name     string
		block    time.Duration
		min, max time.Duration
	}{
		{"5 s", 0, 5 * time.Second, 5020 * time.Millisecond},
		{"a command that blocks adds its time", 2 * time.Second, 7 * time.Second, 7020 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
				req := request("BLPOP", "q")
				req.SetBlock(tt.block)
				r := p.wantError(doRequest(bg, c, req), command.Maybe, "read", ErrStalled)
				if r.took < tt.min || r.took > tt.max {
					t.Errorf("took %v", r.took)
				}
				var e *command.Error
				if errors.As(r.err, &e) && !e.Timeout() {
					t.Error("a stall is not a timeout")
				}
				p.dead(c)
			})
		})
	}
	t.Run("a command that blocks without end has none and can be cancelled", func(t *testing.T) {
		inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
			ctx, cancel := context.WithTimeout(bg, time.Hour)
			defer cancel()
			req := request("BLPOP", "q")
			req.SetBlock(-1)
			blocked := doRequest(ctx, c, req)
			time.Sleep(time.Minute)
			c.mu.Lock()
			if every := c.clock.due - c.clock.now; every < idleEvery.Milliseconds() {
				t.Errorf("meanwhile its clock ticks every %d ms", every)
			}
			c.mu.Unlock()
			if r := p.wantError(blocked, command.Maybe, "read", context.DeadlineExceeded); r.took != time.Hour {
				t.Errorf("took %v", r.took)
			}
		})
	})
}

func TestAWriteThatStallsEndsByDeadlineAndByStall(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{Window: 100}, func(c *Conn, p *peer) {
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		r := p.wantError(do(ctx, c, "SET", "a", strings.Repeat("x", 1000)), command.Maybe, "read", context.DeadlineExceeded)
		if r.took > 1020*time.Millisecond {
			t.Errorf("took %v", r.took)
		}
		b := p.wantError(do(bg, c, "GET", "b"), command.NotSent, "queue", ErrStalled)
		if b.took > 4100*time.Millisecond {
			t.Errorf("took %v", b.took)
		}
	})
}

func TestTheRestOfAnInterruptedWriteFollowsInOrder(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{Window: 100}, func(c *Conn, p *peer) {
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		a := do(ctx, c, "SET", "a", strings.Repeat("x", 1000))
		b := do(bg, c, "GET", "b")
		p.wantError(a, command.Maybe, "read", context.DeadlineExceeded)
		if got, want := p.next(), "SET a "+strings.Repeat("x", 1000); got != want {
			t.Errorf("sent %.50q", got)
		}
		if got := p.next(); got != "GET b" {
			t.Errorf("then %.50q", got)
		}
		p.send("+a\r\n+b\r\n")
		p.want(b, "b")
	})
}

func TestBytesThatNobodyAskedForEndTheConnection(t *testing.T) {
	t.Run("while it idles", func(t *testing.T) {
		inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
			p.send("+OK\r\n")
			time.Sleep(1100 * time.Millisecond)
			p.dead(c)
		})
	})
	t.Run("before the next command is written", func(t *testing.T) {
		inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
			a := do(bg, c, "GET", "a")
			p.next()
			p.send("+a\r\n")
			p.want(a, "a")
			time.Sleep(30 * time.Millisecond)
			p.send("+stray\r\n")
			p.wantError(do(bg, c, "GET", "b"), command.NotSent, "queue", errNobody)
			p.nothing()
		})
	})
	t.Run("with the last reply in flight", func(t *testing.T) {
		inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
			a := do(bg, c, "GET", "a")
			p.send("+a\r\n+stray\r\n")
			p.want(a, "a")
			p.dead(c)
		})
	})
	t.Run("begun before the command and ended after it", func(t *testing.T) {
		inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
			a := do(bg, c, "GET", "a")
			p.send("+a\r\n+str")
			p.want(a, "a")
			b := do(bg, c, "GET", "b")
			p.send("ay\r\n+b\r\n")
			p.wantError(b, command.Maybe, "read", errNobody)
			p.dead(c)
		})
	})
}

// lazy is a transport whose reads begin late.
type lazy struct {
	*simnet.Conn
	by time.Duration
}

func (l *lazy) Read(b []byte) (int, error) {
	time.Sleep(l.by)
	return l.Conn.Read(b)
}

// Who comes while another caller finds out what has arrived must wait for that:
// else what came before its command could be taken for its reply.
func TestNobodyWritesWhileAnotherLooksAtWhatHasArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := simnet.Pipe(simnet.Options{})
		slow := &lazy{Conn: client}
		c := New(slow, Config{Node: "peer:1"})
		p := &peer{t, server, resp3.NewReader(server, resp3.Limits{})}
		first := do(bg, c, "GET", "first")
		p.next()
		p.send("+first\r\n")
		p.want(first, "first")
		time.Sleep(30 * time.Millisecond)
		p.send("+stray\r\n")
		slow.by = peekFor / 2
		a := do(bg, c, "GET", "a") // looks
		b := do(bg, c, "GET", "b")
		p.wantError(a, command.NotSent, "queue", errNobody)
		p.wantError(b, command.NotSent, "queue", errNobody)
		p.nothing()
		c.Close()
		server.Close()
	})
}

func TestAPeerThatClosedIsSeenBeforeTheNextWrite(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		a := do(bg, c, "GET", "a")
		p.send("+a\r\n")
		p.want(a, "a")
		time.Sleep(30 * time.Millisecond)
		p.nc.Close()
		if r := <-do(bg, c, "INCR", "b"); !command.SafeToRetry(r.err) {
			t.Errorf("error %v, want one that says not sent", r.err)
		}
	})
}

func TestPushesNeverShiftReplies(t *testing.T) {
	const n = 100_000
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		p.send(">1\r\n+early\r\n")
		a := do(bg, c, "GET", "a")
		b := do(bg, c, "GET", "b")
		p.send(">0\r\n>2\r\n:1\r\n_\r\n+a\r\n")
		p.send(strings.Repeat(">2\r\n+flood\r\n:1\r\n", n))
		p.send("+b\r\n>1\r\n+late")
		p.want(a, "a")
		p.want(b, "b")
		d := do(bg, c, "GET", "d")
		p.send("\r\n+d\r\n") // the push began before the command, its reply did not
		p.want(d, "d")
		if got := c.Pushes(); got != n+4 {
			t.Errorf("%d pushes were counted, want %d", got, n+4)
		}
	})
}

func TestAStandingReaderSeesPushesWhileNobodyCalls(t *testing.T) {
	var got []string
	cfg := Config{Standing: true, OnPush: func(v resp3.View) { got = append(got, string(v.Raw())) }}
	inBubble(t, cfg, simnet.Options{}, func(c *Conn, p *peer) {
		p.send(">1\r\n+one\r\n")
		synctest.Wait()
		if len(got) != 1 {
			t.Errorf("pushes %q", got)
		}
		a := do(bg, c, "GET", "a")
		ctx, cancel := context.WithCancel(bg)
		b := do(ctx, c, "GET", "b")
		cancel()
		p.wantError(b, command.Maybe, "read", context.Canceled)
		p.send("+a\r\n>1\r\n+two\r\n+b\r\n")
		p.want(a, "a")
		synctest.Wait()
		if len(got) != 2 || c.Pending() != 0 {
			t.Errorf("pushes %q, %d pending", got, c.Pending())
		}
	})
}

func TestAnIdleServerIsAskedForASignOfLife(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		start := time.Now()
		if got := p.next(); got != "PING" || time.Since(start) > 11*time.Second {
			t.Errorf("%q after %v", got, time.Since(start))
		}
		p.send("-LOADING not now\r\n") // is one
		p.next()
		time.Sleep(2100 * time.Millisecond)
		if !errors.Is(c.Err(), ErrStalled) {
			t.Errorf("error %v", c.Err())
		}
	})
}

func TestAWithdrawnCommandLeavesNoStallClockBehind(t *testing.T) {
	inBubble(t, Config{Standing: true}, simnet.Options{Window: 100}, func(c *Conn, p *peer) {
		a := do(bg, c, "SET", "a", strings.Repeat("x", 100_000))
		ctx, cancel := context.WithCancel(bg)
		b := do(ctx, c, "GET", "b")
		p.send("-ERR too long\r\n") // answered before its end was read
		<-a
		cancel()
		p.wantError(b, command.NotSent, "queue", context.Canceled)
		p.next()
		time.Sleep(7 * time.Second)
		if c.Err() != nil {
			t.Errorf("killed without a command in flight: %v", c.Err())
		}
	})
}

func TestErrorsNameCommandNodePhaseAndClassAndNothingElse(t *testing.T) {
	const canary = "c4n4ry"
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		r := <-do(ctx, c, "SET", canary, canary)
		const want = "redisx: SET on peer:1: read: context deadline exceeded (may have run)"
		if r.err == nil || r.err.Error() != want {
			t.Errorf("got  %v\nwant %s", r.err, want)
		}
		b := do(bg, c, "SET", canary, canary)
		p.nc.Cut()
		if r := <-b; r.err == nil || strings.Contains(r.err.Error(), canary) {
			t.Errorf("error %v", r.err)
		}
	})
}

// Servers before 7.0 that refuse EXEC itself stay in MULTI.
func TestAnExecThatLeavesItsTransactionOpenEndsTheConnection(t *testing.T) {
	for reply, ends := range map[string]bool{
		"-NOPERM no permission to run 'exec'\r\n": true,
		"-ERR unknown command 'EXEC'\r\n":         true,
		"-EXECABORT Transaction discarded\r\n":    false,
		"-ERR EXEC without MULTI\r\n":             false,
		"*1\r\n-WRONGTYPE wrong\r\n":              false,
		"_\r\n":                                   false,
	} {
		inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
			var errs []error
			done := make(chan error, 1)
			go func() {
				rs := []command.Request{request("MULTI"), request("INCR", "n"), request("EXEC")}
				done <- c.DoBatch(bg, rs, func(_ int, _ resp3.View, err error) { errs = append(errs, err) })
			}()
			synctest.Wait()
			other := do(bg, c, "GET", "other")
			p.send("+OK\r\n+QUEUED\r\n" + reply + "+QUEUED\r\n")
			if err := <-done; err != nil || len(errs) != 3 || (errs[2] != nil) != (reply[0] == '-') {
				t.Errorf("%q: %v, %v", reply, err, errs)
			}
			if r := <-other; (r.err != nil) != ends || (c.Err() != nil) != ends {
				t.Errorf("%q: another caller was told %q, %v; the connection: %v", reply, r.text, r.err, c.Err())
			}
		})
	}
}
