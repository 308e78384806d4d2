package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

// With calls fn with a private connection, which is kept if fn returns nil.
func (n *Node) With(ctx context.Context, fn func(*session.Conn) error) error {
	c, err := n.Take(ctx)
	if err != nil {
		return err
	}
	clean := false
	defer func() { n.Give(c, clean) }()
	err = fn(c)
	clean = err == nil
	return err
}

// queueSite is a site on which BLPOP blocks until it is unblocked, and that
// knows connections by number.
type queueSite struct {
	t      *testing.T
	mu     sync.Mutex
	conns  map[int]*simnet.Conn
	block  map[int]bool
	frozen bool
	dials  int
	log    []string
	answer string // to CLIENT UNBLOCK; "" runs it
	last   string // what a BLPOP that is unblocked answers
}

func newQueueSite(t *testing.T) *queueSite {
	return &queueSite{t: t, conns: map[int]*simnet.Conn{}, block: map[int]bool{}, last: "_\r\n"}
}

func (s *queueSite) dial(context.Context) (net.Conn, error) {
	client, server := simnet.Pipe(simnet.Options{})
	s.mu.Lock()
	s.dials++
	id := s.dials
	s.conns[id] = server
	s.mu.Unlock()
	go s.serve(id, server)
	return client, nil
}

func (s *queueSite) serve(id int, nc *simnet.Conn) {
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
		s.run(id, nc, words)
	}
}

func (s *queueSite) run(id int, nc *simnet.Conn, words []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen {
		return
	}
	line := strings.Join(words, " ")
	s.log = append(s.log, fmt.Sprintf("%d %s", id, line))
	switch {
	case words[0] == "HELLO":
		fmt.Fprintf(nc, "%%2\r\n+proto\r\n:3\r\n+id\r\n:%d\r\n", id)
	case words[0] == "BLPOP":
		s.block[id] = true
	case strings.HasPrefix(line, "CLIENT UNBLOCK "):
		target, _ := strconv.Atoi(words[2])
		switch {
		case s.answer != "":
			io.WriteString(nc, s.answer)
		case s.block[target]:
			s.block[target] = false
			io.WriteString(s.conns[target], s.last)
			io.WriteString(nc, ":1\r\n")
		default:
			io.WriteString(nc, ":0\r\n")
		}
	case s.block[id]: // behind BLPOP
		s.log = append(s.log, fmt.Sprintf("%d waits", id))
	default:
		io.WriteString(nc, "+OK\r\n")
	}
}

func (s *queueSite) saw(line string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.log, line)
}

func blpop() *command.Request {
	r := command.BLPop(0, "q").Request()
	return &r
}

// leave runs a BLPOP whose caller leaves after a second, and returns when the
// caller is back.
func leave(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, time.Second)
	defer cancel()
	start := time.Now()
	_, err := n.Do(ctx, blpop())
	var e *command.Error
	if !errors.As(err, &e) || e.Outcome != command.Maybe || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller that left was told %v", err)
	}
	if d := time.Since(start); d != time.Second {
		t.Errorf("the caller was held back for %v", d-time.Second)
	}
}

func TestABlockedCallerThatLeavesIsUnblockedAndItsConnectionKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueSite(t)
		n := New(Config{Dial: s.dial})
		for i := range 3 {
			leave(t, n)
			synctest.Wait()
			if got := n.PrivateStats(); got.Unblocked != int64(i+1) || got.Lost != 0 || got.CutOff != 0 || got.InUse != 0 || got.Idle != 1 {
				t.Errorf("after %d: %+v", i+1, got)
			}
		}
		if !s.saw("1 CLIENT UNBLOCK 2") || s.dials != 2 {
			t.Errorf("%d dials; the server saw %q", s.dials, s.log)
		}
		n.Close()
	})
}

func TestAnElementThatCameTooLateIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueSite(t)
		s.last = "*2\r\n+q\r\n+element\r\n"
		n := New(Config{Dial: s.dial})
		leave(t, n)
		synctest.Wait()
		if got := n.PrivateStats(); got.Lost != 1 || got.Unblocked != 1 || got.Idle != 1 {
			t.Errorf("%+v", got)
		}
		n.Close()
	})
}

func TestAConnectionThatIsNotDrainedIsClosed(t *testing.T) {
	for name, answer := range map[string]string{
		"no permission":              "-NOPERM no permission\r\n",
		"the reply does not come":    ":1\r\n",
		"the command ran on for now": ":0\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newQueueSite(t)
				s.answer = answer
				n := New(Config{Dial: s.dial})
				leave(t, n)
				time.Sleep(drainWithin + time.Millisecond)
				synctest.Wait()
				if got := n.PrivateStats(); got.CutOff != 1 || got.Unblocked != 0 || got.InUse != 0 || got.Idle != 0 {
					t.Errorf("%+v", got)
				}
				n.Close()
			})
		})
	}
}

// The number by which one server knows a connection is a stranger's on another.
func TestOnlyTheServerOfAConnectionIsToldToUnblockIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueSite(t)
		n := New(Config{Dial: s.dial})
		defer n.Close()
		ctx, cancel := context.WithCancel(bg)
		left := make(chan error, 1)
		go func() {
			_, err := n.Do(ctx, blpop())
			left <- err
		}()
		time.Sleep(time.Second)
		s.mu.Lock()
		s.conns[1].Cut()
		s.mu.Unlock()
		time.Sleep(2 * time.Second)                       // the loss is noticed
		if reply, err := n.Do(bg, get("a")); err != nil { // on a shared connection to who knows whom
			t.Error(err)
		} else {
			reply.Release()
		}
		cancel()
		<-left
		synctest.Wait()
		if got := n.PrivateStats(); got.CutOff != 1 || got.InUse != 0 || s.saw("3 CLIENT UNBLOCK 2") {
			t.Errorf("%+v; the server saw %q", got, s.log)
		}
	})
}

func TestCloseEndsTheWaitForAPrivateDialsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueSite(t)
		n := New(Config{Dial: s.dial, OfflineWait: time.Hour})
		defer n.Close()
		if err := n.Open(bg); err != nil {
			t.Fatal(err)
		}
		n.mu.Lock()
		n.refusals, n.turn = 3, time.Now().Add(time.Minute)
		n.mu.Unlock()
		failed := make(chan error, 1)
		go func() {
			_, err := n.Take(bg)
			failed <- err
		}()
		synctest.Wait()
		start := time.Now()
		n.Close()
		if err := <-failed; !errors.Is(err, ErrClosed) || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestCloseDoesNotWaitForADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueSite(t)
		s.answer = ":1\r\n" // and the reply never comes
		n := New(Config{Dial: s.dial})
		leave(t, n)
		start := time.Now()
		n.Close()
		if d := time.Since(start); d > 20*time.Millisecond {
			t.Errorf("Close took %v", d)
		}
	})
}

func TestCommandsThatBlockWithoutEndDoNotOutliveAFrozenServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueSite(t)
		n := New(Config{Dial: s.dial, Session: session.Config{Node: "site"}})
		ended := make(chan error, 4)
		for range 2 {
			go func() {
				_, err := n.Do(bg, blpop())
				ended <- err
			}()
		}
		go func() {
			n.DoBatch(bg, []command.Request{*blpop()}, func(_ int, _ resp3.View, err error) { ended <- err })
		}()
		go func() {
			ended <- n.With(bg, func(c *session.Conn) error {
				_, err := c.Do(bg, blpop())
				return err
			})
		}()
		time.Sleep(10 * time.Minute) // a server that answers is left alone
		if len(ended) != 0 {
			t.Fatal(<-ended)
		}
		s.mu.Lock()
		s.frozen = true
		s.mu.Unlock()
		start := time.Now()
		for range 4 {
			err := <-ended
			var e *command.Error
			if !errors.As(err, &e) || e.Outcome != command.Maybe || !errors.Is(err, session.ErrStalled) {
				t.Errorf("error %v", err)
			}
			if d := time.Since(start); d > 15*time.Second {
				t.Errorf("after %v", d)
			}
		}
		n.Close()
	})
}

func TestThoseWhoWaitForAPrivateConnectionAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{}
		n := New(Config{Dial: s.dial, MaxPrivate: 1})
		first, err := n.Take(bg)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 20 {
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			wg.Go(func() {
				err := n.With(ctx, func(*session.Conn) error {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, i)
					return nil
				})
				if i%3 == 1 {
					var full *ExhaustedError
					wantNotSent(t, err, context.Canceled)
					if !errors.As(err, &full) || full.Max != 1 || full.Waiting < 1 {
						t.Errorf("caller %d that left was told %v", i, err)
					}
				}
			})
			synctest.Wait()
			if i%3 == 1 {
				cancel()
				synctest.Wait()
			}
		}
		if got := n.PrivateStats(); got.Waiting != 13 || got.InUse != 1 || got.Max != 1 {
			t.Errorf("%+v", got)
		}
		n.Give(first, true)
		wg.Wait()
		if len(order) != 13 || !slices.IsSorted(order) {
			t.Errorf("served in the order %v", order)
		}
		if got := n.PrivateStats(); got.Waiting != 0 || got.InUse != 0 {
			t.Errorf("left behind: %+v", got)
		}
		n.Close()
	})
}
