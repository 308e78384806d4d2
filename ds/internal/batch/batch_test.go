package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/replicas"
	"github.com/redisx/redisx/resp3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each row, of one key and one argument, with both of them joined
// to the head.
var echo = command.NewScript("-- echo")

func newEcho() *Script[string] { return New(echo, 1, 1, command.AsString, command.Str("h")) }

// server is a client whose server runs echo.
type server struct {
	mu       sync.Mutex
	attached map[any]io.Closer
	closed   bool
	calls    []int         // rows of each call
	gate     chan struct{} // each call takes one, nil: none waits
	answer   func(rows []string) (string, error)
	ended    atomic.Int32 // calls whose context ended at the gate
}

func (s *server) Attach(key any, make func() io.Closer) (io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("closed")
	}
	if s.attached == nil {
		s.attached = map[any]io.Closer{}
	}
	if s.attached[key] == nil {
		s.attached[key] = make()
	}
	return s.attached[key], nil
}

// close ends what is attached, and refuses more, as a client does.
func (s *server) close() {
	s.mu.Lock()
	attached := s.attached
	s.attached, s.closed = nil, true
	s.mu.Unlock()
	for _, c := range attached {
		c.Close()
	}
}

func (s *server) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	words := words(&r)
	keys, _ := strconv.Atoi(words[2])
	rows := make([]string, keys)
	for i := range rows {
		rows[i] = words[3+keys] + words[3+i] + words[4+keys+i]
	}
	if len(words) != 4+2*keys {
		return command.Reply{}, fmt.Errorf("%d words for %d rows", len(words), keys)
	}
	s.mu.Lock()
	s.calls = append(s.calls, keys)
	s.mu.Unlock()
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			s.ended.Add(1)
			return command.Reply{}, &command.Error{Command: r.Name(), Phase: "read", Err: ctx.Err()}
		}
	}
	var err error
	answer := frame(rows)
	if s.answer != nil {
		answer, err = s.answer(rows)
	}
	if err != nil {
		return command.Reply{}, err
	}
	v := resp3.NewView([]byte(answer))
	return command.NewReply(&v, nil), nil
}

// frame is an array of strings.
func frame(elems []string) string {
	b := fmt.Appendf(nil, "*%d\r\n", len(elems))
	for _, e := range elems {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(e), e)
	}
	return string(b)
}

// words are what a request sends.
func words(r *command.Request) []string {
	var words []string
	for _, line := range strings.Split(string(r.Append(nil)), "\r\n") {
		if line != "" && line[0] != '$' && line[0] != '*' {
			words = append(words, line)
		}
	}
	return words
}

func (s *server) sizes() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.calls)
}

// ask runs a row whose answer is known, and returns its error, or that the
// answer was another's.
func ask(ctx context.Context, e *Script[string], d command.Doer, key string) error {
	got, sent, err := e.Run(ctx, d, replicas.Need{}, []string{key}, []command.Arg{command.Str("=" + key)})
	if err == nil && (got != "h"+key+"="+key || sent.IsZero()) {
		return fmt.Errorf("%s got %q, sent at %v", key, got, sent)
	}
	return err
}

// crowd is callers whose calls are held by a gate.
type crowd struct {
	*server
	e      *Script[string]
	wg     sync.WaitGroup
	mu     sync.Mutex
	errs   map[string]error
	cancel map[string]context.CancelFunc
}

func newCrowd() *crowd {
	return &crowd{server: &server{gate: make(chan struct{})}, e: newEcho(), errs: map[string]error{}, cancel: map[string]context.CancelFunc{}}
}

// come starts a caller and waits until it waits.
func (c *crowd) come(keys ...string) {
	for _, key := range keys {
		ctx, cancel := context.WithCancel(context.Background())
		c.cancel[key] = cancel
		c.wg.Go(func() {
			err := ask(ctx, c.e, c.server, key)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.errs[key] = err
		})
	}
	synctest.Wait()
}

// open lets all calls through.
func (c *crowd) open() {
	close(c.gate)
	c.wg.Wait()
	for _, cancel := range c.cancel {
		cancel()
	}
	c.server.close()
}

// outcome is that of a caller's error.
func (c *crowd) outcome(t *testing.T, key string) command.Outcome {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var e *command.Error
	if !errors.As(c.errs[key], &e) || !errors.Is(e, context.Canceled) {
		t.Fatalf("%s: %v", key, c.errs[key])
	}
	return e.Outcome
}

func TestALoneCallerSendsAtOnce(t *testing.T) {
	s, e := &server{}, newEcho()
	for i := range 3 {
		if err := ask(t.Context(), e, s, fmt.Sprint("k", i)); err != nil {
			t.Fatal(err)
		}
	}
	if s.sizes() != "[1 1 1]" {
		t.Errorf("calls of %s rows", s.sizes())
	}
	s.close()
}

func TestCallersWhoComeMeanwhileShareACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.come("a")
		c.come("b")
		c.come("c", "d", "e", "f")
		if c.sizes() != "[1 1]" {
			t.Errorf("with %d calls on their way: %s", inFlight, c.sizes())
		}
		c.gate <- struct{}{}
		synctest.Wait()
		if c.sizes() != "[1 1 4]" {
			t.Errorf("after one was answered: %s", c.sizes())
		}
		c.open()
		for key, err := range c.errs {
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
}

func TestACallIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.come("a")
		c.come("b")
		for i := range 2*maxRows + 3 {
			c.come(fmt.Sprint("k", i))
		}
		c.open()
		slices.Sort(c.calls) // the last ones leave side by side
		if want := fmt.Sprintf("[1 1 3 %d %d]", maxRows, maxRows); c.sizes() != want {
			t.Errorf("calls of %s rows, want %s", c.sizes(), want)
		}
		for key, err := range c.errs {
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
}

func TestARowThatHasNotLeftIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.come("a")
		c.come("b")
		c.come("c", "d", "e")
		c.cancel["d"]()
		synctest.Wait()
		if o := c.outcome(t, "d"); o != command.NotSent || Over(c.errs["d"]) != nil {
			t.Errorf("taken back: %v, %v", o, c.errs["d"])
		}
		c.open()
		if c.sizes() != "[1 1 2]" || c.errs["c"] != nil || c.errs["e"] != nil {
			t.Errorf("calls of %s rows; c: %v; e: %v", c.sizes(), c.errs["c"], c.errs["e"])
		}
	})
}

func TestWhoLeavesDoesNotDisturbTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.come("a")
		c.come("b")
		c.come("c", "d", "e")
		c.gate <- struct{}{}
		synctest.Wait() // c, d and e are on their way
		c.cancel["d"]()
		synctest.Wait()
		if o := c.outcome(t, "d"); o != command.Maybe {
			t.Errorf("left under way: %v", o)
		}
		over := Over(fmt.Errorf("wrapped: %w", c.errs["d"]))
		select {
		case <-over:
			t.Error("over while it was under way")
		default:
		}
		c.open()
		select {
		case <-over:
		default:
			t.Error("not over with the call")
		}
		if c.errs["c"] != nil || c.errs["e"] != nil || c.ended.Load() != 0 {
			t.Errorf("c: %v; e: %v; %d calls ended", c.errs["c"], c.errs["e"], c.ended.Load())
		}
	})
}

func TestACallThatAllHaveLeftIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.come("a")
		c.come("b")
		c.come("c", "d")
		c.gate <- struct{}{}
		synctest.Wait()
		c.cancel["c"]()
		c.cancel["d"]()
		synctest.Wait()
		if c.ended.Load() != 1 {
			t.Errorf("%d calls were given up", c.ended.Load())
		}
		c.open()
	})
}

func TestAnErrorInTheAnswerIsThatOfItsRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.answer = func(rows []string) (string, error) {
			frame := fmt.Sprintf("*%d\r\n", len(rows))
			for _, row := range rows {
				if row == "hd=d" {
					frame += "-WRONGTYPE not a hash\r\n"
				} else {
					frame += fmt.Sprintf("$%d\r\n%s\r\n", len(row), row)
				}
			}
			return frame, nil
		}
		c.come("a")
		c.come("b")
		c.come("c", "d", "e")
		c.open()
		if !command.IsCode(c.errs["d"], "WRONGTYPE") || c.errs["c"] != nil || c.errs["e"] != nil {
			t.Errorf("c: %v; d: %v; e: %v", c.errs["c"], c.errs["d"], c.errs["e"])
		}
	})
}

func TestAnErrorOfTheCallIsThatOfEveryRow(t *testing.T) {
	for name, answer := range map[string]func(rows []string) (string, error){
		"refused":          func([]string) (string, error) { return "", resp3.ServerError("OOM no memory") },
		"an answer less":   func(rows []string) (string, error) { return frame(rows[1:]), nil },
		"an answer beyond": func(rows []string) (string, error) { return frame(append(rows, "x")), nil },
		"no array":         func([]string) (string, error) { return ":1\r\n", nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd()
				c.answer = answer
				c.come("a")
				c.come("b")
				c.come("c", "d")
				c.open()
				for _, key := range []string{"a", "b", "c", "d"} {
					if c.errs[key] == nil {
						t.Errorf("%s has no error", key)
					}
				}
			})
		})
	}
}

func TestAfterCloseEveryCallerSendsItsOwnRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.come("a")
		c.come("b")
		c.come("c", "d")
		c.gate <- struct{}{}
		synctest.Wait() // c and d are on their way, on the client's goroutine
		start := time.Now()
		if err := c.attached[c.e].Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if waited := time.Since(start); waited != closeTimeout {
			t.Errorf("Close gave it %v", waited)
		}
		if c.ended.Load() != 1 || c.errs["c"] == nil || c.errs["d"] == nil {
			t.Errorf("after Close: %d calls ended; c: %v; d: %v", c.ended.Load(), c.errs["c"], c.errs["d"])
		}
		c.come("e", "f")
		c.open()
		if c.sizes() != "[1 1 2 1 1]" || c.errs["e"] != nil || c.errs["f"] != nil {
			t.Errorf("calls of %s rows; e: %v; f: %v", c.sizes(), c.errs["e"], c.errs["f"])
		}
		if err := ask(t.Context(), c.e, c.server, "g"); err != nil {
			t.Errorf("on a client that attaches nothing any more: %v", err)
		}
	})
}

// bare owns nothing.
type bare struct{ s *server }

func (b bare) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return b.s.Do(ctx, r)
}

// view is a Doer that cannot be told from others.
type view struct {
	*server
	_ []int
}

func TestWithoutAnOwnerEveryCallerSendsItsOwnRow(t *testing.T) {
	s, e := &server{}, newEcho()
	for _, d := range []command.Doer{bare{s}, view{server: s}} {
		if err := ask(t.Context(), e, d, "a"); err != nil {
			t.Error(err)
		}
	}
	s.close()
}

func TestEveryDoerHasCallsOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		other := &struct{ *server }{c.server}
		var wg sync.WaitGroup
		c.come("a")
		c.come("b")
		wg.Go(func() {
			if err := ask(t.Context(), c.e, other, "x"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if c.sizes() != "[1 1 1]" {
			t.Errorf("another Doer's row waited: %s", c.sizes())
		}
		c.open()
		wg.Wait()
	})
}

func TestARowOfAnotherWidthIsRefused(t *testing.T) {
	s := &server{}
	_, _, err := newEcho().Run(t.Context(), s, replicas.Need{}, []string{"a", "b"}, []command.Arg{command.Str("c")})
	if !command.SafeToRetry(err) || s.sizes() != "[]" {
		t.Errorf("sent %s: %v", s.sizes(), err)
	}
}

// TestNobodyGetsAnothersAnswer lets callers come and leave at random.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		s, e := &server{gate: make(chan struct{})}, newEcho()
		var wg sync.WaitGroup
		var done, left atomic.Int64
		for i := range 100 {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			wg.Go(func() {
				for n := range 50 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(3000))*time.Microsecond)
					err := ask(ctx, e, s, fmt.Sprintf("%d.%d", i, n))
					cancel()
					var e *command.Error
					switch {
					case err == nil:
						done.Add(1)
					case errors.As(err, &e) && errors.Is(err, context.DeadlineExceeded):
						left.Add(1)
					default:
						t.Errorf("seed %d: %v", seed, err)
					}
					time.Sleep(time.Duration(random.IntN(100)) * time.Microsecond)
				}
			})
		}
		stop := make(chan struct{})
		wg.Go(func() {
			for {
				time.Sleep(200 * time.Microsecond)
				select {
				case s.gate <- struct{}{}:
				case <-stop:
					return
				}
			}
		})
		for done.Load()+left.Load() < 5000 {
			time.Sleep(time.Millisecond)
		}
		close(stop)
		wg.Wait()
		s.close()
		if done.Load() < 500 || left.Load() < 500 {
			t.Errorf("seed %d: %d done, %d left: that is no test", seed, done.Load(), left.Load())
		}
	})
}

func TestWhatACrowdNeededIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.come("a")
		c.come("b")
		for i := range 1000 {
			c.come(fmt.Sprint("k", i))
		}
		g := c.attached[c.e].(*groups[string]).first
		c.open()
		for _, spare := range g.spare {
			if cap(spare.rows) > 2*maxRows {
				t.Errorf("a spare call has room for %d rows", cap(spare.rows))
			}
		}
	})
}

func TestTheErrorOfARowSaysThatItsCommandWasAnswered(t *testing.T) {
	s := &server{answer: func([]string) (string, error) { return "*1\r\n-WRONGTYPE not a hash\r\n", nil }}
	err := ask(t.Context(), newEcho(), s, "a")
	var e *command.Error
	if !errors.As(err, &e) || e.Outcome != command.Done || !command.IsCode(err, "WRONGTYPE") {
		t.Errorf("%v", err)
	}
	s.close()
}

// odd is a Doer that cannot be told from others, although its type can.
type odd struct {
	*server
	extra any
}

func TestDoersOfManyCallersAreBounded(t *testing.T) {
	s, e := &server{}, newEcho()
	for range 2 {
		if err := ask(t.Context(), e, odd{s, []int{1}}, "a"); err != nil {
			t.Error(err)
		}
	}
	for range 1000 {
		if err := ask(t.Context(), e, &struct{ *server }{s}, "a"); err != nil {
			t.Error(err)
		}
	}
	if n := len(s.attached[e].(*groups[string]).of); n > 100 {
		t.Errorf("%d groups are kept", n)
	}
	s.close()
}
