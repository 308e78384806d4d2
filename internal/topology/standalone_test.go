package topology

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/observe"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
	"github.com/redisx/redisx/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// leave is the answer of a server that runs a command and closes the connection.
const leave = "leave"

// silence is the answer of a server that runs a command and says nothing.
const silence = ""

// site is a server in memory that counts what it runs.
type site struct {
	mu     sync.Mutex
	runs   map[string]int
	total  atomic.Int64
	answer func(n int, words []string) string // n: how often it has run, from 1
	client *simnet.Conn                       // the client's end of the last connection
	down   atomic.Bool
}

var errRefused = errors.New("connection refused")

func (s *site) dial(context.Context) (net.Conn, error) {
	if s.down.Load() {
		return nil, errRefused
	}
	client, server := simnet.Pipe(simnet.Options{})
	s.mu.Lock()
	s.client = client
	s.mu.Unlock()
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
		case "CLIENT":
		default:
			s.mu.Lock()
			s.runs[words[0]]++
			n := s.runs[words[0]]
			s.mu.Unlock()
			s.total.Add(1)
			if reply = s.answer(n, words); reply == leave {
				return
			}
		}
		if _, err := nc.Write([]byte(reply)); err != nil {
			return
		}
	}
}

func (s *site) ran(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[name]
}

// listener keeps the retries that it is told of.
type listener struct {
	mu      sync.Mutex
	retries []telemetry.Retry
}

func (l *listener) CommandRetried(_ context.Context, r telemetry.Retry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retries = append(l.retries, r)
}

func (l *listener) count(denied bool) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.retries {
		if r.Denied == denied {
			n += r.Commands
		}
	}
	return n
}

type fixture struct {
	*site
	top  *Standalone
	node *pool.Node
	told *listener
}

func inBubble(t *testing.T, answer func(n int, words []string) string, burst int, f func(f fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{runs: map[string]int{}, answer: answer}
		told := &listener{}
		observers, err := observe.New([]telemetry.Observer{told})
		if err != nil {
			t.Fatal(err)
		}
		group := &session.Group{}
		node := pool.New(pool.Config{Dial: s.dial, Session: session.Config{Node: "site", Group: group}})
		top := NewStandalone(node, Config{
			Policy:  Policy{Reads: 2, NotRun: 4, Patience: time.Second},
			Burst:   burst,
			Traffic: func() int64 { return group.Counts().Commands },

			Observers: observers,
		})
		f(fixture{s, top, node, told})
		node.Close()
	})
}

func spec(name string, class command.Retry, flags command.Flags) *command.Spec {
	return command.NewSpec(command.Spec{Name: name, Arity: -1, Retry: class, Flags: flags})
}

var (
	getSpec    = spec("GET", command.RetryRead, command.ReadOnly)
	setSpec    = spec("SET", command.RetryState, command.Write)
	incrSpec   = spec("INCR", command.RetryUnsafe, command.Write)
	saveSpec   = spec("BGSAVE", command.RetryAdmin, command.Admin)
	evalSpec   = spec("EVAL", command.RetryUnsafe, command.Scripting)
	selectSpec = spec("SELECT", command.RetrySession, 0)
)

func request(s *command.Spec) command.Request { return command.NewRequest(s, command.Str("k")) }

func do(ctx context.Context, top *Standalone, s *command.Spec) error {
	r := request(s)
	reply, err := top.Do(ctx, &r)
	if err == nil {
		reply.Release()
	}
	return err
}

// The table of what is sent again: the behaviour of a server that keeps it up,
// against the class of the command.
func TestHowOftenTheServerSeesACommand(t *testing.T) {
	plain, marked := bg, Repeatable(bg)
	const reads, notRun = 3, 5 // with the first
	for _, tt := range []struct {
		answer string
		spec   *command.Spec
		ctx    context.Context
		want   int
		out    command.Outcome
	}{
		{leave, getSpec, plain, reads, command.Maybe},
		{leave, setSpec, plain, 1, command.Maybe},
		{leave, setSpec, marked, reads, command.Maybe},
		{leave, incrSpec, plain, 1, command.Maybe},
		{leave, incrSpec, marked, 1, command.Maybe},
		{leave, saveSpec, marked, 1, command.Maybe},
		{leave, evalSpec, marked, 1, command.Maybe},
		{leave, selectSpec, marked, 1, command.Maybe},
		{"-LOADING Redis is loading\r\n", getSpec, plain, notRun, command.Refused},
		{"-LOADING Redis is loading\r\n", incrSpec, plain, notRun, command.Refused},
		{"-LOADING Redis is loading\r\n", saveSpec, plain, 1, command.Refused},
		{"-LOADING Redis is loading\r\n", evalSpec, plain, 1, command.Done},
		{"-LOADING Redis is loading\r\n", selectSpec, plain, 1, command.Refused},
		{"-BUSY a script runs\r\n", incrSpec, plain, notRun, command.Refused},
		{"-TRYAGAIN later\r\n", incrSpec, plain, notRun, command.Refused},
		{"-CLUSTERDOWN no\r\n", incrSpec, plain, notRun, command.Refused},
		{"-MASTERDOWN no\r\n", incrSpec, plain, notRun, command.Refused},
		{"-BUSYKEY exists\r\n", getSpec, plain, 1, command.Done},
		{"-MOVED 1 host:1\r\n", getSpec, plain, 1, command.Refused},
		{"-ASK 1 host:1\r\n", getSpec, plain, 1, command.Refused},
		{"-READONLY replica\r\n", setSpec, marked, 1, command.Refused},
		{"-OOM full\r\n", setSpec, marked, 1, command.Refused},
		{"-NOAUTH who\r\n", getSpec, plain, 1, command.Refused},
		{"-NOPERM no\r\n", getSpec, plain, 1, command.Refused},
		{"-MISCONF disk\r\n", incrSpec, plain, 1, command.Refused},
		{"-NOREPLICAS no\r\n", incrSpec, plain, 1, command.Refused},
		{"-WRONGTYPE no\r\n", getSpec, marked, 1, command.Done},
		{"?what\r\n", getSpec, plain, 1, command.Maybe},
		{"+OK\r\n", getSpec, plain, 1, command.Done},
	} {
		name := fmt.Sprintf("%s answered %.8q, marked %v", tt.spec.Name, tt.answer, tt.ctx != plain)
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(int, []string) string { return tt.answer }, 100, func(f fixture) {
				err := do(tt.ctx, f.top, tt.spec)
				if tt.answer == "+OK\r\n" {
					if err != nil {
						t.Fatal(err)
					}
				} else {
					var e *command.Error
					if !errors.As(err, &e) || e.Outcome != tt.out || e.Attempts != tt.want {
						t.Errorf("error %v of %d attempts, want outcome %q of %d", err, e.Attempts, tt.out, tt.want)
					}
				}
				if n := f.ran(tt.spec.Name); n != tt.want {
					t.Errorf("the server saw it %d times, want %d", n, tt.want)
				}
				if n := f.told.count(false); n != tt.want-1 {
					t.Errorf("observers were told of %d further attempts, want %d", n, tt.want-1)
				}
				st := f.top.Stats()
				if n := st.Again[command.Maybe] + st.Again[command.Refused]; n != int64(tt.want-1) {
					t.Errorf("%d further attempts counted, want %d", n, tt.want-1)
				}
			})
		})
	}
}

func TestAReadThatIsAnsweredInTheEndIsNoError(t *testing.T) {
	inBubble(t, func(n int, _ []string) string {
		if n < 3 {
			return leave
		}
		return "+v\r\n"
	}, 100, func(f fixture) {
		attempts := make([]int, 1)
		if err := do(CountAttempts(bg, attempts), f.top, getSpec); err != nil || attempts[0] != 3 {
			t.Errorf("%v after %d attempts", err, attempts[0])
		}
	})
}

func TestADeadlineOrACancelIsNeverFollowedByAnotherAttempt(t *testing.T) {
	for _, answer := range []string{silence, "-LOADING x\r\n"} {
		inBubble(t, func(int, []string) string { return answer }, 100, func(f fixture) {
			ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
			defer cancel()
			err := do(ctx, f.top, getSpec)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v does not say that the deadline passed", err)
			}
			ran := f.ran("GET")
			ctx, stop := context.WithCancel(bg)
			time.AfterFunc(10*time.Millisecond, stop)
			if err := do(ctx, f.top, getSpec); !errors.Is(err, context.Canceled) {
				t.Errorf("%v does not say that the context was cancelled", err)
			}
			if answer == silence && (ran != 1 || f.ran("GET") != 2) {
				t.Errorf("the server saw %d and %d commands, want 1 and 2", ran, f.ran("GET"))
			}
			before := f.ran("GET")
			time.Sleep(time.Minute)
			if n := f.ran("GET") - before; n != 0 {
				t.Errorf("%d commands came after their callers had left", n)
			}
		})
	}
}

func TestTheStallClockIsADeadlineToo(t *testing.T) {
	inBubble(t, func(int, []string) string { return silence }, 100, func(f fixture) {
		if err := do(bg, f.top, getSpec); !errors.Is(err, session.ErrStalled) || f.ran("GET") != 1 {
			t.Errorf("%v, sent %d times", err, f.ran("GET"))
		}
	})
}

func TestAContextThatEndsInThePauseSaysWhatTheLastAttemptMet(t *testing.T) {
	inBubble(t, func(int, []string) string { return "-LOADING x\r\n" }, 100, func(f fixture) {
		ctx, cancel := context.WithTimeout(bg, time.Microsecond)
		defer cancel()
		err := do(ctx, f.top, incrSpec)
		var e *command.Error
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || e.Outcome != command.Refused ||
			e.Attempts != 1 || !command.IsCode(err, "LOADING") {
			t.Errorf("%v", err)
		}
	})
}

func TestACommandThatWasCutIsSentAgainWhateverItsClass(t *testing.T) {
	inBubble(t, func(int, []string) string { return "+OK\r\n" }, 100, func(f fixture) {
		if err := f.node.Open(bg); err != nil {
			t.Fatal(err)
		}
		f.client.CutAfter(5)
		if err := do(bg, f.top, incrSpec); err != nil {
			t.Error(err)
		}
		if st := f.top.Stats(); f.ran("INCR") != 1 || st.Again[command.Cut] != 1 {
			t.Errorf("ran %d times, %d counted", f.ran("INCR"), st.Again[command.Cut])
		}
	})
}

// An attempt that may have run is not forgotten because the next one was not.
func TestTheOutcomeIsThatOfAllAttempts(t *testing.T) {
	for _, second := range []string{"-LOADING x\r\n", "-OOM x\r\n"} {
		inBubble(t, func(n int, _ []string) string {
			if n == 1 {
				return leave
			}
			return second
		}, 100, func(f fixture) {
			err := do(Repeatable(bg), f.top, setSpec)
			var e *command.Error
			if !errors.As(err, &e) || e.Outcome != command.Maybe || command.SafeToRetry(err) {
				t.Errorf("%v: it may have run in the first attempt", err)
			}
		})
	}
	inBubble(t, func(int, []string) string { return leave }, 100, func(f fixture) {
		if err := f.node.Open(bg); err != nil {
			t.Fatal(err)
		}
		f.down.Store(true)
		err := do(bg, f.top, getSpec)
		var e *command.Error
		if !errors.As(err, &e) || e.Outcome != command.Maybe || e.Attempts != 1 || !errors.Is(err, errRefused) {
			t.Errorf("%v: the first attempt may have run", err)
		}
	})
}

// The rule: an outage multiplies what is sent by 1.1 at most, beyond the burst.
func TestTheBudgetBoundsWhatAnOutageAdds(t *testing.T) {
	for _, answer := range []string{"-LOADING x\r\n", leave} {
		inBubble(t, func(int, []string) string { return answer }, 20, func(f fixture) {
			const callers, each = 10, 100
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range each {
						do(bg, f.top, getSpec)
						time.Sleep(time.Millisecond)
					}
				})
			}
			wg.Wait()
			first := int64(callers * each)
			st := f.top.Stats()
			// Handshakes are traffic too: each reconnect adds a few commands.
			most := first + 20 + int64(share*float64(f.top.cfg.Traffic()))
			if n := f.total.Load(); n > most {
				t.Errorf("%q: %d commands became %d, want at most %d", answer, first, n, most)
			}
			// A server that leaves is spared by the backoff of dials as well.
			if answer != leave && (f.total.Load() <= first || st.Denied == 0 || f.told.count(true) == 0) {
				t.Errorf("nothing was sent again or denied: the test shows nothing")
			}
		})
	}
}

func TestTheBudgetGrowsByATenthOfTheTraffic(t *testing.T) {
	traffic := int64(0)
	b := newBudget(3, func() int64 { return traffic })
	if !b.take(3) || b.take(1) {
		t.Error("a budget holds its burst, and no more")
	}
	traffic = 13 // three of them by what was taken
	if got := b.remaining(); got != 1 {
		t.Errorf("%v after ten commands, want 1", got)
	}
	traffic = 1e6
	if got := b.remaining(); got != 3 {
		t.Errorf("%v after a million commands, want the burst", got)
	}
}

func TestWithoutRetriesEveryCommandIsSentOnce(t *testing.T) {
	for _, answer := range []string{leave, "-LOADING x\r\n"} {
		inBubble(t, func(int, []string) string { return answer }, 100, func(f fixture) {
			f.top.cfg.Reads, f.top.cfg.NotRun = -1, -1
			if err := do(bg, f.top, getSpec); err == nil || f.ran("GET") != 1 {
				t.Errorf("%v after %d", err, f.ran("GET"))
			}
		})
	}
}

func TestAClosedClientSendsNothingAgain(t *testing.T) {
	inBubble(t, func(int, []string) string { return silence }, 100, func(f fixture) {
		time.AfterFunc(time.Millisecond, func() { f.node.Close() })
		if err := do(bg, f.top, getSpec); !errors.Is(err, session.ErrClosed) || f.ran("GET") != 1 {
			t.Errorf("%v after %d", err, f.ran("GET"))
		}
	})
}

// A batch's failed tail, and nothing else.
func TestWhatOfABatchIsSentAgain(t *testing.T) {
	get, set, incr, save := getSpec, setSpec, incrSpec, saveSpec
	for _, tt := range []struct {
		name  string
		specs []*command.Spec
		fail  int    // which command fails in its first run, from 0
		with  string // how
		want  string // what the server ran, in order
		errs  string // ok and outcomes
	}{
		{"reads from the first that was lost", []*command.Spec{get, get, get}, 1, leave, "GET0 GET1 GET1 GET2", "ok ok ok"},
		{"nothing behind a lost write", []*command.Spec{incr, get, set}, 0, leave, "INCR0", "maybe maybe maybe"},
		{"no read behind a lost write", []*command.Spec{incr, get, get}, 0, leave, "INCR0", "maybe maybe maybe"},
		{"nothing where the tail holds a write that may have run", []*command.Spec{get, get, incr}, 2, leave, "GET0 GET1 INCR2", "ok ok maybe"},
		{"a refusal at the end", []*command.Spec{get, set}, 1, "-LOADING x\r\n", "GET0 SET1 SET1", "ok ok"},
		{"no refusal that others overtook", []*command.Spec{set, set}, 0, "-LOADING x\r\n", "SET0 SET1", "refused ok"},
		{"no administration", []*command.Spec{get, save}, 1, "-LOADING x\r\n", "GET0 BGSAVE1", "ok refused"},
		{"an error that is an answer stays", []*command.Spec{get, get}, 0, "-WRONGTYPE x\r\n", "GET0 GET1", "failed ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ran []string
			seen := map[string]bool{}
			inBubble(t, func(_ int, words []string) string {
				ran = append(ran, words[0]+words[1])
				if words[1] == fmt.Sprint(tt.fail) && !seen[words[1]] {
					seen[words[1]] = true
					return tt.with
				}
				return "+OK\r\n"
			}, 100, func(f fixture) {
				var rs []command.Request
				for i, s := range tt.specs {
					rs = append(rs, command.NewRequest(s, command.Int(int64(i))))
				}
				var errs []string
				f.top.DoBatch(bg, rs, func(i int, _ resp3.View, err error) {
					if i != len(errs) {
						t.Errorf("result %d came when %d was due", i, len(errs))
					}
					errs = append(errs, string(OutcomeOf(err)))
				})
				// What was on its way when the server left is not known to have run.
				if got := strings.Join(ran, " "); got != tt.want {
					t.Errorf("the server ran %s, want %s", got, tt.want)
				}
				if got := strings.Join(errs, " "); got != tt.errs {
					t.Errorf("results %s, want %s", got, tt.errs)
				}
			})
		})
	}
}

func TestUnsentWritesBehindALostReadAreSentWithIt(t *testing.T) {
	inBubble(t, func(int, []string) string { return "+OK\r\n" }, 100, func(f fixture) {
		if err := f.node.Open(bg); err != nil {
			t.Fatal(err)
		}
		rs := []command.Request{request(getSpec), request(incrSpec), request(setSpec)}
		f.client.CutAfter(len(rs[0].Append(nil)) + 5)
		results := 0
		err := f.top.DoBatch(bg, rs, func(i int, _ resp3.View, err error) {
			results++
			if err != nil {
				t.Errorf("result %d: %v", i, err)
			}
		})
		if err != nil || results != 3 || f.ran("INCR") != 1 || f.ran("SET") != 1 {
			t.Errorf("%v, %d results, INCR ran %d times, SET %d", err, results, f.ran("INCR"), f.ran("SET"))
		}
	})
}

func TestABatchBeyondTheBudgetIsDelivered(t *testing.T) {
	inBubble(t, func(int, []string) string { return leave }, 2, func(f fixture) {
		rs := []command.Request{request(getSpec), request(getSpec), request(getSpec)}
		failed := 0
		err := f.top.DoBatch(bg, rs, func(_ int, _ resp3.View, err error) {
			if err != nil {
				failed++
			}
		})
		if err == nil || failed != 3 || f.ran("GET") != 1 || f.top.Stats().Denied != 3 {
			t.Errorf("%v, %d failed, the server ran %d, %d denied", err, failed, f.ran("GET"), f.top.Stats().Denied)
		}
	})
}

func TestABatchWhoseContextEndsInThePauseIsDelivered(t *testing.T) {
	inBubble(t, func(int, []string) string { return "-LOADING x\r\n" }, 100, func(f fixture) {
		ctx, cancel := context.WithTimeout(bg, time.Microsecond)
		defer cancel()
		rs := []command.Request{request(incrSpec), request(incrSpec)}
		failed := 0
		f.top.DoBatch(ctx, rs, func(i int, _ resp3.View, err error) {
			failed++
			if !errors.Is(err, context.DeadlineExceeded) || !command.SafeToRetry(err) || i != failed-1 {
				t.Errorf("result %d: %v", i, err)
			}
		})
		if failed != 2 || f.ran("INCR") != 2 {
			t.Errorf("%d results, the server ran %d", failed, f.ran("INCR"))
		}
	})
}

// What succeeds at once costs nothing more than the pool does.
func TestASuccessAllocatesNothingMore(t *testing.T) {
	s := &site{runs: map[string]int{}, answer: func(int, []string) string { return "+OK\r\n" }}
	node := pool.New(pool.Config{Dial: s.dial, Session: session.Config{Node: "site"}})
	defer node.Close()
	top := NewStandalone(node, Config{Policy: Policy{Reads: 2}, Traffic: func() int64 { return 0 }})
	r := request(getSpec)
	// Of 100 at a time, as what the pools of the race detector drop makes the
	// mean no whole number, and AllocsPerRun rounds down.
	run := func(do func(context.Context, *command.Request) (command.Reply, error)) float64 {
		return testing.AllocsPerRun(20, func() {
			for range 100 {
				reply, err := do(bg, &r)
				if err != nil {
					t.Fatal(err)
				}
				reply.Release()
			}
		})
	}
	run(node.Do)
	if bare, with := run(node.Do), run(top.Do); with > bare+50 {
		t.Errorf("%v allocations for 100 commands, %v without the topology", with, bare)
	}
}
