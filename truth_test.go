package redisx_test

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

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

// ledger is a server in memory that notes which commands it ran, and that
// knows MULTI.
type ledger struct {
	mu    sync.Mutex
	ran   map[string]int
	cutAt string         // the command at which it cuts the connection, having run it
	ends  []*simnet.Conn // the clients'
}

func (l *ledger) Dial(context.Context, string, string) (net.Conn, error) {
	client, server := simnet.Pipe(simnet.Options{})
	l.mu.Lock()
	l.ends = append(l.ends, client)
	l.mu.Unlock()
	go l.serve(server)
	return client, nil
}

func (l *ledger) serve(nc *simnet.Conn) {
	defer nc.Close()
	rd := resp3.NewReader(nc, resp3.Limits{})
	var queued []string
	multi := false
	for {
		v, err := rd.Read()
		if err != nil {
			return
		}
		var words []string
		for e := range v.Elems() {
			words = append(words, e.Text())
		}
		line := strings.Join(words, " ")
		reply := "+OK\r\n"
		switch {
		case words[0] == "HELLO":
			reply = "%1\r\n+proto\r\n:3\r\n"
		case line == "MULTI":
			multi = true
		case line == "EXEC":
			reply = fmt.Sprintf("*%d\r\n", len(queued)) + strings.Repeat(":1\r\n", len(queued))
			l.run(append(queued, line)...)
			multi, queued = false, nil
		case multi:
			queued = append(queued, line)
			reply = "+QUEUED\r\n"
		case words[0] == "INCR":
			reply = l.run(line)
		}
		l.mu.Lock()
		cut := line == l.cutAt
		l.mu.Unlock()
		if cut {
			nc.Cut()
			return
		}
		nc.Write([]byte(reply))
	}
}

func (l *ledger) run(lines ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range lines {
		l.ran[line]++
	}
	return ":1\r\n"
}

func (l *ledger) count(line string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ran[line]
}

// last returns the client's end of the newest connection.
func (l *ledger) last() *simnet.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ends[len(l.ends)-1]
}

// withLedger runs f in virtual time with a client that has run a transaction.
func withLedger(t *testing.T, f func(l *ledger, client *redisx.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{ran: map[string]int{}}
		client, err := redisx.ConnectConfig(bg, redisx.Config{Dialer: l})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		tx := client.Tx()
		tx.Incr("warm")
		if err := tx.Exec(bg); err != nil {
			t.Fatal(err)
		}
		f(l, client)
	})
}

const (
	batch        = 5
	requestBytes = 200 // more than a batch has
)

func incrs(q interface {
	Incr(string) redisx.Future[int64]
},
) (fs []redisx.Future[int64]) {
	for i := range batch {
		fs = append(fs, q.Incr(fmt.Sprint("n", i)))
	}
	return fs
}

// The connection is cut after each possible byte of the request.
func TestAPipelineThatIsCutTellsOfEachCommand(t *testing.T) {
	seen := map[command.Outcome]int{}
	for n := range requestBytes {
		withLedger(t, func(l *ledger, client *redisx.Client) {
			p := client.Pipeline()
			fs := incrs(p)
			l.last().CutAfter(n)
			p.Exec(bg)
			for i, f := range fs {
				v, err := f.Result()
				ran := l.count(fmt.Sprint("INCR n", i))
				switch {
				case err == nil && (v != 1 || ran != 1),
					err != nil && redisx.SafeToRetry(err) && ran != 0,
					ran > 1:
					t.Errorf("cut after %d bytes: command %d ran %d times and told %d, %v", n, i, ran, v, err)
				}
				if err != nil {
					seen[outcome(t, err)]++
				}
			}
		})
	}
	if seen[command.NotSent] == 0 || seen[command.Cut] == 0 || seen[command.Maybe] == 0 {
		t.Errorf("outcomes %v: the test shows too little", seen)
	}
}

func TestAServerThatRunsSomeOfAPipelineAndLeavesIsToldExactly(t *testing.T) {
	for k := range batch {
		withLedger(t, func(l *ledger, client *redisx.Client) {
			l.cutAt = fmt.Sprint("INCR n", k)
			p := client.Pipeline()
			fs := incrs(p)
			if err := p.Exec(bg); outcome(t, err) != command.Maybe {
				t.Error(err)
			}
			for i, f := range fs {
				if _, err := f.Result(); (err == nil) != (i < k) {
					t.Errorf("cut at %d: command %d: %v", k, i, err)
				} else if err != nil && outcome(t, err) != command.Maybe {
					t.Errorf("cut at %d: command %d was handed over: %v", k, i, err)
				}
			}
		})
	}
}

// Before the last byte of EXEC is out nothing has run; afterwards nobody knows,
// and nothing is sent again.
func TestATransactionThatIsCutTellsWhetherItMayHaveRun(t *testing.T) {
	for _, inSession := range []bool{false, true} {
		seen := map[command.Outcome]int{}
		for n := range requestBytes {
			withLedger(t, func(l *ledger, client *redisx.Client) {
				exec := func(tx *redisx.Tx) error {
					fs := incrs(tx)
					l.last().CutAfter(n)
					err := tx.Exec(bg)
					ran := l.count("EXEC") - 2
					if err == nil {
						return nil
					}
					o := outcome(t, err)
					seen[o]++
					if ran != 0 && o != command.Maybe || ran > 1 {
						t.Errorf("cut after %d bytes: EXEC ran %d times, told %v", n, ran, err)
					}
					for i, f := range fs {
						if _, ferr := f.Result(); outcome(t, ferr) != o {
							t.Errorf("cut after %d bytes: command %d: %v, the transaction: %v", n, i, ferr, err)
						}
					}
					return nil
				}
				if !inSession {
					exec(client.Tx())
					return
				}
				client.WithSession(bg, func(_ context.Context, s *redisx.Session) error { return exec(s.Tx()) })
			})
		}
		if seen[command.Cut] == 0 {
			t.Errorf("outcomes %v: the test shows too little", seen)
		}
	}
}

func TestATransactionWhoseAnswerIsLostMayHaveRun(t *testing.T) {
	withLedger(t, func(l *ledger, client *redisx.Client) {
		l.cutAt = "EXEC"
		attempts := 0
		err := client.WatchTx(bg, []string{"k"}, 10, func(_ context.Context, _ *redisx.Session, tx *redisx.Tx) error {
			attempts++
			incrs(tx)
			return nil
		})
		if outcome(t, err) != command.Maybe || redisx.SafeToRetry(err) || attempts != 1 {
			t.Errorf("%v after %d attempts", err, attempts)
		}
		tx := client.Tx()
		fs := incrs(tx)
		err = tx.Exec(bg)
		if _, ferr := fs[0].Result(); outcome(t, err) != command.Maybe || outcome(t, ferr) != command.Maybe {
			t.Errorf("%v, %v", err, ferr)
		}
		if ran := l.count("EXEC"); ran != 4 {
			t.Errorf("EXEC ran %d times, want 4: nothing is sent again", ran)
		}
	})
}

// A server in front of which connections are cut: what ran, counted there, is
// what was told.
func TestWhatPipelinesAndTransactionsTellIsTrue(t *testing.T) {
	srv := serverstest.Start(t)
	p := startCutter(t, srv.Addr)
	cfg, err := redisx.ParseURL("redis://" + p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.OfflineWait = 10 * time.Second
	client, err := redisx.ConnectConfig(bg, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	type told struct {
		name string
		errs []error
	}
	var mu sync.Mutex
	var all []told
	var maybes atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for g := range 10 {
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				kind, name := "p", fmt.Sprintf("%d:%d", g, i)
				var q interface {
					Incr(string) redisx.Future[int64]
					Exec(context.Context) error
				} = client.Pipeline()
				if i%2 == 1 {
					kind, q = "t", client.Tx()
				}
				var fs []redisx.Future[int64]
				for k := range 3 {
					fs = append(fs, q.Incr(fmt.Sprintf("%s:%s:%d", kind, name, k)))
				}
				q.Exec(bg)
				r := told{name: kind + ":" + name}
				for _, f := range fs {
					n, err := f.Result()
					if err == nil && n != 1 {
						t.Errorf("%s ran %d times", r.name, n)
					}
					if err != nil && !redisx.SafeToRetry(err) {
						maybes.Add(1)
					}
					r.errs = append(r.errs, err)
				}
				mu.Lock()
				all = append(all, r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	admin := connect(t, srv.URL())
	for _, r := range all {
		var ran [3]bool
		for k, err := range r.errs {
			v, gerr := admin.Get(bg, fmt.Sprintf("%s:%d", r.name, k))
			if ran[k] = gerr == nil; gerr != nil && !errors.Is(gerr, redisx.Nil) {
				t.Fatal(gerr)
			}
			if ran[k] && v != "1" || err == nil && !ran[k] || err != nil && redisx.SafeToRetry(err) && ran[k] {
				t.Errorf("%s:%d: the server has %q, told %v", r.name, k, v, err)
			}
		}
		if r.name[0] == 't' && (ran[0] != ran[1] || ran[1] != ran[2]) {
			t.Errorf("half a transaction ran: %s, %v", r.name, ran)
		}
	}
	t.Logf("%d executed, %d commands may have run", len(all), maybes.Load())
	if maybes.Load() == 0 {
		t.Error("nothing was cut off: the test shows nothing")
	}
}
