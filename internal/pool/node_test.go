package pool

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	bg         = context.Background()
	errRefused = errors.New("connection refused")
)

// site is a server in memory that answers every command with its last word.
type site struct {
	dials atomic.Int32
	runs  atomic.Int32
	down  atomic.Bool
	last  atomic.Pointer[simnet.Conn]
	hello atomic.Pointer[string] // the reply to HELLO, if not the usual
}

func (s *site) dial(context.Context) (net.Conn, error) {
	s.dials.Add(1)
	if s.down.Load() {
		return nil, errRefused
	}
	client, server := simnet.Pipe(simnet.Options{})
	s.last.Store(server)
	go s.serve(server)
	return client, nil
}

func (s *site) serve(nc *simnet.Conn) {
	defer nc.Close()
	rd := resp3.NewReader(nc, resp3.Limits{})
	for {
		v, err := rd.Read()
		if err != nil {
			return
		}
		var words []string
		for e := range v.Elems() {
			words = append(words, e.Text())
		}
		reply := "+OK\r\n"
		switch words[0] {
		case "HELLO":
			reply = "%1\r\n+proto\r\n:3\r\n"
			if h := s.hello.Load(); h != nil {
				reply = *h
			}
		case "BLPOP":
			continue
		case "GET":
			s.runs.Add(1)
			if words[1] == "run and leave" {
				return
			}
			reply = string(resp3.AppendBulk(nil, words[1]))
		}
		if _, err := nc.Write([]byte(reply)); err != nil {
			return
		}
	}
}

func inBubble(t *testing.T, f func(n *Node, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{}
		n := New(Config{Dial: s.dial, Session: session.Config{Node: "site"}})
		defer n.Close() // also if f fails, and a second time
		f(n, s)
		n.Close()
		if len(n.room) != 0 || len(n.private) != 0 || len(n.idle) != 0 {
			t.Errorf("left: %d tokens, %d private, %d idle", len(n.room), len(n.private), len(n.idle))
		}
		if _, err := n.Do(bg, get("late")); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func get(key string) *command.Request {
	r := command.NewRequest(command.NewSpec(command.Spec{Name: "GET", Arity: 2}), command.Str(key))
	return &r
}

func mustGet(t *testing.T, n *Node, key string) {
	t.Helper()
	reply, err := n.Do(bg, get(key))
	if err != nil {
		t.Fatal(err)
	}
	if got := reply.View().Text(); got != key {
		t.Errorf("got %q, want %q", got, key)
	}
	reply.Release()
}

func wantNotSent(t *testing.T, err, cause error) {
	t.Helper()
	var e *command.Error
	if !errors.As(err, &e) || e.Outcome != command.NotSent || !command.SafeToRetry(err) || !errors.Is(err, cause) {
		t.Errorf("error %v, want one that says not sent because of %v", err, cause)
	}
}

func TestWithoutAServerACommandFailsAsNotSentWithinItsBounds(t *testing.T) {
	inBubble(t, func(n *Node, s *site) {
		s.down.Store(true)
		start := time.Now()
		_, err := n.Do(bg, get("a"))
		wantNotSent(t, err, errRefused)
		if d := time.Since(start); d != time.Second {
			t.Errorf("took %v, want OfflineWait", d)
		}
		ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
		defer cancel()
		start = time.Now()
		_, err = n.Do(ctx, get("a"))
		wantNotSent(t, err, context.DeadlineExceeded)
		if d := time.Since(start); d != 10*time.Millisecond {
			t.Errorf("took %v, want the context's 10 ms", d)
		}
		got := 0
		err = n.DoBatch(bg, []command.Request{*get("a"), *get("b")}, func(i int, _ resp3.View, err error) {
			got++
			wantNotSent(t, err, errRefused)
		})
		wantNotSent(t, err, errRefused)
		if got != 2 {
			t.Errorf("%d results of 2", got)
		}
	})
}

// The rule: 20 dials a second at most, however long the outage and however
// healthy the connection before it.
func TestAnOutageIsNotDialledInAHotLoop(t *testing.T) {
	for _, lived := range []time.Duration{0, time.Second, time.Minute} {
		for _, block := range []time.Duration{0, time.Second} {
			inBubble(t, func(n *Node, s *site) {
				mustGet(t, n, "a")
				time.Sleep(lived)
				s.down.Store(true)
				s.last.Load().Cut()
				end := time.Now().Add(40 * time.Second)
				for time.Now().Before(end) {
					before := s.dials.Load()
					for second := time.Now().Add(time.Second); time.Now().Before(second); {
						ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
						r := get("b")
						r.SetBlock(block)
						n.Do(ctx, r)
						cancel()
						time.Sleep(time.Millisecond)
					}
					if d := s.dials.Load() - before; d > 20 {
						t.Fatalf("lived %v, block %v: %d dials in a second", lived, block, d)
					}
				}
				s.down.Store(false)
				time.Sleep(6 * time.Second)
				mustGet(t, n, "c")
			})
		}
	}
}

// A server at its maxclients serves the connections that it has and refuses
// every further one.
func TestRefusedPrivateConnectionsAreNotDialledInAHotLoop(t *testing.T) {
	inBubble(t, func(n *Node, s *site) {
		mustGet(t, n, "a")
		no := "-ERR max number of clients reached\r\n"
		s.hello.Store(&no)
		for range 30 {
			before := s.dials.Load()
			for second := time.Now().Add(time.Second); time.Now().Before(second); {
				ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
				r := get("b")
				r.SetBlock(time.Second)
				if _, err := n.Do(ctx, r); !command.SafeToRetry(err) {
					t.Fatal(err)
				}
				cancel()
				time.Sleep(time.Millisecond)
			}
			if d := s.dials.Load() - before; d > 20 {
				t.Fatalf("%d dials in a second", d)
			}
		}
		mustGet(t, n, "c")
	})
}

func TestRefusedCredentialsSurfaceAtOnceAndAreNotHammered(t *testing.T) {
	inBubble(t, func(n *Node, s *site) {
		no := "-WRONGPASS invalid username-password pair\r\n"
		s.hello.Store(&no)
		start := time.Now()
		err := n.Open(bg)
		if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		for time.Since(start) < 10*time.Second {
			_, err := n.Do(bg, get("a"))
			if err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
				t.Fatal(err)
			}
		}
		if d := s.dials.Load(); d > 10 {
			t.Errorf("%d dials in 10 s", d)
		}
		s.hello.Store(nil)
		time.Sleep(10 * time.Second)
		mustGet(t, n, "a")
	})
}

func TestACommandThatWasNotSentGoesToTheNextConnection(t *testing.T) {
	inBubble(t, func(n *Node, s *site) {
		for range 5 {
			mustGet(t, n, "a")
			time.Sleep(11 * time.Second) // healthy: the backoff begins anew
			s.last.Load().Close()
			mustGet(t, n, "b")
			time.Sleep(11 * time.Second)
			s.last.Load().Close()
			n.DoBatch(bg, []command.Request{*get("c")}, func(_ int, v resp3.View, err error) {
				if err != nil || v.Text() != "c" {
					t.Errorf("%q, %v", v.Text(), err)
				}
			})
		}
		if got := s.runs.Load(); got != 15 {
			t.Errorf("the server ran %d commands, want 15", got)
		}
	})
}

func TestACommandThatMayHaveRunIsNeverSentAgain(t *testing.T) {
	inBubble(t, func(n *Node, s *site) {
		for range 3 {
			time.Sleep(11 * time.Second)
			if _, err := n.Do(bg, get("run and leave")); err == nil || command.SafeToRetry(err) {
				t.Errorf("error %v", err)
			}
		}
		n.DoBatch(bg, []command.Request{*get("run and leave")}, func(_ int, _ resp3.View, err error) {
			if err == nil || command.SafeToRetry(err) {
				t.Errorf("in a batch: %v", err)
			}
		})
		if got := s.runs.Load(); got != 4 {
			t.Errorf("the server ran %d commands, want 4", got)
		}
	})
}

func TestAWaiterThatLeavesDoesNotAbortTheDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{}
		n := New(Config{Dial: func(ctx context.Context) (net.Conn, error) {
			time.Sleep(100 * time.Millisecond)
			return s.dial(ctx)
		}})
		ctx, cancel := context.WithTimeout(bg, time.Millisecond)
		defer cancel()
		_, err := n.Do(ctx, get("a"))
		wantNotSent(t, err, context.DeadlineExceeded)
		mustGet(t, n, "b")
		if d := s.dials.Load(); d != 1 {
			t.Errorf("%d dials", d)
		}
		n.Close()
	})
}

func TestCloseEndsADialThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Dial: func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		ch := make(chan error, 1)
		go func() {
			_, err := n.Do(bg, get("a"))
			ch <- err
		}()
		synctest.Wait()
		n.Close()
		wantNotSent(t, <-ch, ErrClosed)
	})
}

func TestBlockingCommandsRunOnPrivateConnections(t *testing.T) {
	inBubble(t, func(n *Node, s *site) {
		mustGet(t, n, "a")
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		r := command.NewRequest(command.NewSpec(command.Spec{Name: "BLPOP", Arity: 3}), command.Str("q"), command.Int(0))
		r.SetBlock(-1)
		done := make(chan error, 1)
		go func() {
			_, err := n.Do(ctx, &r)
			done <- err
		}()
		synctest.Wait()
		mustGet(t, n, "b") // not behind it
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) || command.SafeToRetry(err) {
			t.Errorf("error %v", err)
		}
		if len(n.idle) != 0 {
			t.Error("a connection on which the server still blocks was kept")
		}
		fast := get("c")
		fast.SetBlock(time.Second)
		for range 3 {
			reply, err := n.Do(bg, fast)
			if err != nil {
				t.Fatal(err)
			}
			reply.Release()
			time.Sleep(time.Second)
		}
		if d := s.dials.Load(); d != 3 {
			t.Errorf("%d dials, want 3: the last one is kept", d)
		}
		s.last.Load().Close() // while it idles
		if _, err := n.Do(bg, fast); err != nil {
			t.Error(err)
		}
	})
}

func TestPrivateConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{}
		n := New(Config{Dial: s.dial, MaxPrivate: 1})
		err := n.With(bg, func(*session.Conn) error {
			ctx, cancel := context.WithTimeout(bg, time.Second)
			defer cancel()
			err := n.With(ctx, func(*session.Conn) error { return nil })
			wantNotSent(t, err, context.DeadlineExceeded)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := n.With(bg, func(*session.Conn) error { return nil }); err != nil {
			t.Error(err)
		}
		n.Close()
	})
}
