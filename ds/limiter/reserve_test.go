package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/resp3"
)

// TestAReservationIsSettledForWhatItCameTo: reserve 4000, settle 1200.
func TestAReservationIsSettledForWhatItCameTo(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l := limiter.New(c, "10000/d", limiter.Using(algorithm))
		key := string(algorithm)
		r, err := l.Reserve(t.Context(), key, 4000)
		if err != nil {
			t.Fatal(err)
		}
		left(t, l, key, 6000)
		if info, err := limiter.Inspect(t.Context(), c, key); err != nil || info.Reserved != 4000 || info.Left != 6000 {
			t.Errorf("%s: Inspect = %+v, %v", key, info, err)
		}
		if d, err := l.AllowN(t.Context(), key, 6001); err != nil || d.Allowed || d.RetryAfter <= 0 || d.RetryAfter > time.Minute {
			t.Errorf("%s: more than is left beside a reservation: %+v, %v", key, d, err)
		}
		if err := r.Settle(t.Context(), 1200); err != nil {
			t.Fatal(err)
		}
		left(t, l, key, 8800)
		for _, end := range []error{r.Settle(t.Context(), 1200), r.Settle(t.Context(), 0)} {
			if !errors.Is(end, limiter.ErrNotReserved) {
				t.Errorf("%s: settled twice: %v", key, end)
			}
		}
		if err := r.Cancel(t.Context()); err != nil {
			t.Errorf("%s: Cancel after Settle: %v", key, err)
		}
		r.Forget() // the answer was lost, and the caller tries again
		if err := r.Settle(t.Context(), 1200); !errors.Is(err, limiter.ErrNotReserved) {
			t.Errorf("%s: settled twice on the server: %v", key, err)
		}
		left(t, l, key, 8800)
	}
}

func left(t *testing.T, l *limiter.Limiter, key string, want int) {
	t.Helper()
	if d, err := l.Peek(t.Context(), key); err != nil || d.Remaining < want || d.Remaining > want+5 {
		t.Errorf("%s: %d left (%v), want %d", key, d.Remaining, err, want)
	}
}

func TestACancelledReservationLeavesNothing(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), ended} {
		l := limiter.New(c, "10/d")
		r, err := l.Reserve(t.Context(), "k", 10)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reserve(t.Context(), "k", 1); !errors.Is(err, limiter.ErrLimited) {
			t.Errorf("Reserve beside all that there is: %v", err)
		}
		if err := r.Cancel(ctx); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			if d, err := l.Peek(t.Context(), "k"); err == nil && d.Remaining == 10 && d.ResetAfter == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatal("what was cancelled is still reserved")
			}
		}
		if n := raw(t, c, "EXISTS", "{redisx:limiter:k}:bucket:reserved"); n != "0" && ctx.Err() == nil {
			if raw(t, c, "HLEN", "{redisx:limiter:k}:bucket:reserved") != "2" { // kind and v
				t.Error("the reservation is still there")
			}
		}
	}
}

// TestWhatIsUsedBeyondTheReservationIsWaitedFor by those who come later.
func TestWhatIsUsedBeyondTheReservationIsWaitedFor(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l, key := limiter.New(c, "10/d", limiter.Using(algorithm)), string(algorithm)
		if d, err := l.AllowN(t.Context(), key, 6); err != nil || !d.Allowed {
			t.Fatal(err)
		}
		r, err := l.Reserve(t.Context(), key, 4)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Settle(t.Context(), 1_000_000_000); err != nil {
			t.Fatal(err)
		}
		d, err := l.Peek(t.Context(), key)
		if err != nil || d.Allowed || d.Remaining != 0 || d.ResetAfter <= 0 || d.ResetAfter > 48*time.Hour {
			t.Errorf("%s: after an overdraft: %+v, %v, want it denied, and full within two periods", key, d, err)
		}
	}
}

// TestAReservationOfTheDeadLapses: its calls count as used in full, and drain.
func TestAReservationOfTheDeadLapses(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l := limiter.New(c, "10/500ms", limiter.Using(algorithm), limiter.Lapse(200*time.Millisecond))
		key := string(algorithm)
		begun := time.Now()
		r, err := l.Reserve(t.Context(), key, 10)
		if err != nil {
			t.Fatal(err)
		}
		for { // denied until it has lapsed, and then until it has drained
			d, err := l.Allow(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if d.Allowed {
				break
			}
			if time.Since(begun) > 5*time.Second {
				t.Fatalf("%s: still denied: %+v", key, d)
			}
			time.Sleep(min(d.RetryAfter, 50*time.Millisecond))
		}
		if took := time.Since(begun); took < 200*time.Millisecond {
			t.Errorf("%s: admitted after %v, though it was reserved for 200 ms", key, took)
		}
		if err := r.Settle(t.Context(), 1); !errors.Is(err, limiter.ErrNotReserved) {
			t.Errorf("%s: Settle after the lapse: %v", key, err)
		}
		if d, err := l.Peek(t.Context(), key); err != nil || d.Remaining > 9 {
			t.Errorf("%s: %+v, %v: the lapse has given more than there is", key, d, err)
		}
	}
}

// TestNothingOfReservationsStaysForEver: state and reservations have an end.
func TestNothingOfReservationsStaysForEver(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, algorithm := range everyAlgorithm {
		l := limiter.New(c, "10/50ms", limiter.Using(algorithm), limiter.Lapse(100*time.Millisecond))
		if _, err := l.Reserve(t.Context(), string(algorithm), 3); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(5 * time.Second); raw(t, c, "DBSIZE") != "0"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s keys are left", raw(t, c, "DBSIZE"))
		}
	}
}

// TestSettlingWorksOnAFullServer: who gives back must never be refused.
func TestSettlingWorksOnAFullServer(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, servers.Options{Args: []string{"--maxmemory-policy", "noeviction"}})
	for _, algorithm := range everyAlgorithm {
		l, key := limiter.New(c, "10/d", limiter.Using(algorithm)), string(algorithm)
		r, err := l.Reserve(t.Context(), key, 10)
		if err != nil {
			t.Fatal(err)
		}
		raw(t, c, "CONFIG", "SET", "maxmemory", "1")
		if err := r.Settle(t.Context(), 2); err != nil {
			t.Errorf("%s: Settle on a full server: %v", key, err)
		}
		raw(t, c, "CONFIG", "SET", "maxmemory", "0")
		left(t, l, key, 8)
	}
}

// slow is a server that tells what has come, and runs it when it is told to.
type slow struct {
	came           chan string
	decide, settle chan struct{} // a token for each script

	mu   sync.Mutex
	kept []io.Closer
	by   map[any]io.Closer
}

func newSlow() *slow {
	return &slow{came: make(chan string, 10), decide: make(chan struct{}), settle: make(chan struct{}), by: map[any]io.Closer{}}
}

func (s *slow) Attach(key any, make func() io.Closer) (io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[key] == nil {
		s.by[key] = make()
		s.kept = append(s.kept, s.by[key])
	}
	return s.by[key], nil
}

func (s *slow) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	name, answer, run := "settle", "*2\r\n:1\r\n:1\r\n", s.settle
	if !dstest.Runs(r, limiter.SettleScript()) {
		keys, _ := strconv.Atoi(r.Arg(1).Text())
		name, run = fmt.Sprintf("decide %d", keys/2), s.decide
		answer = fmt.Sprintf("*%d\r\n%s", keys/2, strings.Repeat("*6\r\n:1\r\n:1\r\n:9\r\n:0\r\n:0\r\n:1\r\n", keys/2))
	}
	s.came <- name
	select {
	case <-run:
	case <-ctx.Done():
		return command.Reply{}, &command.Error{Command: r.Name(), Phase: "read", Outcome: command.Maybe, Err: ctx.Err()}
	}
	v := resp3.NewView([]byte(answer))
	return command.NewReply(&v, nil), nil
}

func (s *slow) close(t *testing.T) {
	t.Helper()
	for _, c := range s.kept {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAReservationThatComesLateIsCancelledAfterIt: its caller has left, and the
// call that it shares with another is still on its way.
func TestAReservationThatComesLateIsCancelledAfterIt(t *testing.T) {
	t.Parallel()
	for range 100 {
		if leaveSharedCall(t) {
			return
		}
	}
	t.Error("no two callers have shared a call")
}

// leaveSharedCall reports false if two callers have not come to share a call.
func leaveSharedCall(t *testing.T) bool {
	s := newSlow()
	defer s.close(t)
	l := limiter.New(s, "10/s")
	var wg sync.WaitGroup
	defer wg.Wait()
	reserve := func(ctx context.Context, key string) <-chan error {
		left := make(chan error, 1)
		wg.Go(func() {
			_, err := l.Reserve(ctx, key, 1)
			left <- err
		})
		return left
	}
	for _, key := range []string{"a", "b"} { // all the calls that are on their way at once
		reserve(t.Context(), key)
		<-s.came
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	late := reserve(ctx, "late")
	reserve(t.Context(), "beside it")
	time.Sleep(5 * time.Millisecond) // for both to wait, or there will be another try
	s.decide <- struct{}{}
	if <-s.came != "decide 2" {
		close(s.decide)
		close(s.settle)
		return false
	}
	leave()
	if err := <-late; !errors.Is(err, context.Canceled) {
		t.Errorf("who has left got %v", err)
	}
	select {
	case what := <-s.came:
		t.Errorf("%s came while the reservation was on its way", what)
	case <-time.After(50 * time.Millisecond):
	}
	close(s.settle)
	close(s.decide)
	select {
	case what := <-s.came:
		if what != "settle" {
			t.Errorf("%s came, want the reservation settled", what)
		}
	case <-time.After(10 * time.Second):
		t.Error("what nobody waits for stays reserved")
	}
	return true
}

func TestWhoWaitsForAnotherToSettleIsBoundByItsOwnContext(t *testing.T) {
	t.Parallel()
	s := newSlow()
	defer s.close(t)
	close(s.decide)
	r, err := limiter.New(s, "10/s").Reserve(t.Context(), "k", 1)
	if err != nil {
		t.Fatal(err)
	}
	<-s.came
	long, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	settled := make(chan error, 1)
	go func() { settled <- r.Settle(long, 1) }()
	<-s.came
	for name, end := range map[string]func(context.Context) error{"Cancel": r.Cancel, "Settle": func(ctx context.Context) error { return r.Settle(ctx, 1) }} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := end(ctx); !errors.Is(err, context.DeadlineExceeded) || long.Err() != nil {
			t.Errorf("%s: %v, while the other waits: %v", name, err, long.Err())
		}
		cancel()
	}
	cancel()
	if err := <-settled; !errors.Is(err, context.Canceled) {
		t.Errorf("Settle: %v", err)
	}
}

func TestAKeyHasAThousandReservations(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "10000/d", limiter.Lapse(time.Hour))
	for i := range 1000 {
		if _, err := l.Reserve(t.Context(), "k", 1); err != nil {
			t.Fatalf("reservation %d: %v", i+1, err)
		}
	}
	if _, err := l.Reserve(t.Context(), "k", 1); !errors.Is(err, limiter.ErrLimited) {
		t.Errorf("one more: %v", err)
	}
}

func TestImpossibleReservationsAreRefused(t *testing.T) {
	t.Parallel()
	var sent failing
	l := limiter.New(&sent, "10/s")
	for cost, want := range map[int]error{0: limiter.ErrCost, -1: limiter.ErrCost, 11: limiter.ErrNeverFits} {
		if _, err := l.Reserve(t.Context(), "k", cost); !errors.Is(err, want) {
			t.Errorf("Reserve(%d): %v, want %v", cost, err, want)
		}
		if err := l.WaitN(t.Context(), "k", cost); !errors.Is(err, want) {
			t.Errorf("WaitN(%d): %v, want %v", cost, err, want)
		}
	}
	if sent.n != 0 {
		t.Errorf("%d requests were sent", sent.n)
	}
}
