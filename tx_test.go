package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// inBothProtocols runs f against a server of its own, in RESP3 and in RESP2.
func inBothProtocols(t *testing.T, f func(t *testing.T, client *redisx.Client)) {
	url := serverstest.Start(t).URL()
	for _, protocol := range []string{"3", "2"} {
		t.Run("RESP"+protocol, func(t *testing.T) {
			client := connect(t, url+"?protocol="+protocol)
			if _, err := client.Cmd(bg, "FLUSHALL"); err != nil {
				t.Fatal(err)
			}
			f(t, client)
		})
	}
}

func outcome(t *testing.T, err error) command.Outcome {
	t.Helper()
	var e *redisx.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v says nothing of what ran", err)
	}
	return e.Outcome
}

func wantText(t *testing.T, client *redisx.Client, key, want string) {
	t.Helper()
	v, err := client.Get(bg, key)
	if errors.Is(err, redisx.Nil) {
		v = "nothing"
	} else if err != nil {
		t.Error(err)
	}
	if v != want {
		t.Errorf("%s is %q, want %q", key, v, want)
	}
}

func TestEachCommandOfATransactionHasItsTypedResult(t *testing.T) {
	inBothProtocols(t, func(t *testing.T, client *redisx.Client) {
		tx := client.Tx()
		if err := tx.Exec(bg); err != nil {
			t.Errorf("an empty transaction: %v", err)
		}
		long := strings.Repeat("long ", 10_000)
		for range 2 {
			tx.Reset()
			set := tx.Set("k", long)
			n := tx.Incr("n")
			get := tx.Get("k")
			none := tx.Get("none")
			all := redisx.Queue(tx, command.HGetAll("h"))
			pop := redisx.Queue(tx, command.BLPop(0, "empty")) // does not block in a transaction
			if _, err := n.Result(); !errors.Is(err, redisx.ErrNotExecuted) || tx.Len() != 6 {
				t.Errorf("before Exec: %v, %d commands", err, tx.Len())
			}
			if err := tx.Exec(bg); err != nil {
				t.Fatal(err)
			}
			if _, err := set.Result(); err != nil {
				t.Error(err)
			}
			if v, err := n.Result(); err != nil || v < 1 {
				t.Errorf("INCR: %d, %v", v, err)
			}
			if v, err := get.Result(); err != nil || v != long {
				t.Errorf("GET: %d bytes, %v", len(v), err)
			}
			if _, err := none.Result(); !errors.Is(err, redisx.Nil) {
				t.Error(err)
			}
			if v, err := all.Result(); err != nil || len(v) != 0 {
				t.Errorf("HGETALL: %v, %v", v, err)
			}
			if _, err := pop.Result(); !errors.Is(err, redisx.Nil) {
				t.Error(err)
			}
			if tx.Exec(bg) == nil || tx.Len() != 6 {
				t.Error("a transaction ran twice")
			}
			if _, err := tx.Incr("n").Result(); !errors.Is(err, redisx.ErrNotExecuted) {
				t.Errorf("queued after Exec: %v", err)
			}
		}
		wantText(t, client, "n", "2")
	})
}

func TestAFutureOfAnEarlierRoundHasNoResult(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	p := client.Pipeline()
	old := p.Incr("n")
	if err := p.Exec(bg); err != nil {
		t.Fatal(err)
	}
	p.Reset()
	p.Set("k", "v")
	if err := p.Exec(bg); err != nil {
		t.Fatal(err)
	}
	if v, err := old.Result(); !errors.Is(err, redisx.ErrNotExecuted) {
		t.Errorf("%d, %v: the reply of another command", v, err)
	}
}

// A command that fails when the transaction runs does not undo the others, nor
// does it say that the transaction may be sent again.
func TestCommandsThatFailWhenATransactionRunsAreTold(t *testing.T) {
	inBothProtocols(t, func(t *testing.T, client *redisx.Client) {
		tx := client.Tx()
		before, wrong, after := tx.Set("k", "text"), tx.Incr("k"), tx.Incr("n")
		err := tx.Exec(bg)
		var partial *redisx.PartialError
		if !errors.As(err, &partial) || partial.Failed != 1 || partial.Total != 3 {
			t.Fatalf("error %v, want a PartialError of 1 in 3", err)
		}
		var abort *redisx.AbortError
		if errors.As(err, &abort) || redisx.SafeToRetry(err) || outcome(t, err) != command.Done {
			t.Errorf("error %v says that nothing ran", err)
		}
		if _, err := before.Result(); err != nil {
			t.Error(err)
		}
		var reply redisx.ServerError
		if _, err := wrong.Result(); !errors.As(err, &reply) || outcome(t, err) != command.Done {
			t.Errorf("INCR of a text: %v", err)
		}
		if n, err := after.Result(); err != nil || n != 1 {
			t.Errorf("the command after it: %d, %v", n, err)
		}
		wantText(t, client, "k", "text")
	})
}

func TestATransactionWithACommandThatIsRefusedDoesNotRun(t *testing.T) {
	for name, refuse := range map[string]func(t *testing.T, client *redisx.Client, tx *redisx.Tx) (redisx.Future[string], string, string){
		"a wrong command": func(t *testing.T, _ *redisx.Client, tx *redisx.Tx) (redisx.Future[string], string, string) {
			return redisx.Queue(tx, command.As(command.Untyped("GET"), command.AsString)), "ERR wrong number", "EXECABORT"
		},
		"out of memory": func(t *testing.T, client *redisx.Client, tx *redisx.Tx) (redisx.Future[string], string, string) {
			if _, err := client.Cmd(bg, "CONFIG", "SET", "maxmemory", "1"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Cmd(bg, "CONFIG", "SET", "maxmemory", "0") })
			return redisx.Queue(tx, command.As(command.LPush("l", "x"), command.AsString)), "OOM", "OOM" // refuses all of them: redis #9926
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBothProtocols(t, func(t *testing.T, client *redisx.Client) {
				tx := client.Tx()
				before := tx.Del("n")
				bad, says, beside := refuse(t, client, tx)
				after := tx.Get("n")
				err := tx.Exec(bg)
				var abort *redisx.AbortError
				var reply redisx.ServerError
				if !errors.As(err, &abort) || len(abort.Errs) == 0 || !errors.As(err, &reply) || !strings.HasPrefix(string(reply), says) {
					t.Fatalf("error %v, want an AbortError with the server's %q", err, says)
				}
				if abort.Reply.Code() != "EXECABORT" || !redisx.SafeToRetry(err) {
					t.Errorf("error %v", err)
				}
				if _, err := bad.Result(); !errors.As(err, &reply) || !strings.HasPrefix(string(reply), says) || outcome(t, err) != command.Refused {
					t.Errorf("the refused command: %v", err)
				}
				_, err1 := before.Result()
				_, err2 := after.Result()
				for _, err := range []error{err1, err2} {
					if outcome(t, err) != command.Refused || !command.IsCode(err, beside) {
						t.Errorf("a command beside it: %v", err)
					}
				}
				if _, err := client.Ping(bg); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAWatchedKeyThatChangedKeepsTheTransactionFromRunning(t *testing.T) {
	inBothProtocols(t, func(t *testing.T, client *redisx.Client) {
		err := client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
			for _, changed := range []bool{false, true, false} {
				if err := s.Watch(ctx, "k"); err != nil {
					return err
				}
				if changed {
					if err := client.Set(ctx, "k", "other"); err != nil {
						return err
					}
				}
				tx := s.Tx()
				n := tx.Incr("n")
				err := tx.Exec(ctx)
				_, nerr := n.Result()
				if errors.Is(err, redisx.ErrConflict) != changed || errors.Is(nerr, redisx.ErrConflict) != changed {
					t.Errorf("changed %v: %v, %v", changed, err, nerr)
				}
				if changed && (outcome(t, err) != command.Refused || outcome(t, nerr) != command.Refused) {
					t.Error(err)
				}
			}
			// An empty one tells too.
			if err := errors.Join(s.Watch(ctx, "k"), client.Set(ctx, "k", "again")); err != nil {
				return err
			}
			if err := s.Tx().Exec(ctx); !errors.Is(err, redisx.ErrConflict) {
				t.Errorf("an empty transaction: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		wantText(t, client, "n", "2")
	})
}

func TestOptimisticIncrementsLoseNothing(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	const callers, each = 8, 25
	var runs atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				var last redisx.Future[struct{}]
				err := client.WatchTx(bg, []string{"n"}, 1000, func(ctx context.Context, s *redisx.Session, tx *redisx.Tx) error {
					runs.Add(1)
					v, err := s.Get(ctx, "n")
					if err != nil && !errors.Is(err, redisx.Nil) {
						return err
					}
					n, _ := strconv.Atoi(v)
					last = tx.Set("n", strconv.Itoa(n+1))
					return nil
				})
				if _, rerr := last.Result(); err != nil || rerr != nil {
					t.Error(err, rerr)
				}
			}
		})
	}
	wg.Wait()
	wantText(t, client, "n", fmt.Sprint(callers*each))
	t.Logf("%d runs for %d increments", runs.Load(), callers*each)
}

func TestWatchTxTriesAsOftenAsItMay(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	runs := 0
	disturbed := func(ctx context.Context, _ *redisx.Session, tx *redisx.Tx) error {
		runs++
		tx.Incr("ran")
		return client.Set(ctx, "k", strconv.Itoa(runs))
	}
	err := client.WatchTx(bg, []string{"k"}, 3, disturbed)
	var gaveUp *redisx.ConflictError
	if !errors.As(err, &gaveUp) || gaveUp.Attempts != 3 || runs != 3 || !errors.Is(err, redisx.ErrConflict) {
		t.Errorf("%v after %d runs", err, runs)
	}
	if err := client.WatchTx(bg, []string{"k"}, 0, disturbed); err == nil || runs != 3 {
		t.Errorf("without an attempt: %v", err)
	}
	no := errors.New("changed my mind")
	err = client.WatchTx(bg, []string{"k"}, 3, func(_ context.Context, _ *redisx.Session, tx *redisx.Tx) error {
		runs++
		tx.Incr("ran")
		return no
	})
	if err != no || runs != 4 {
		t.Errorf("fn's own error: %v after %d runs", err, runs)
	}
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	err = client.WatchTx(ctx, []string{"k"}, 1<<30, func(ctx context.Context, s *redisx.Session, tx *redisx.Tx) error {
		if runs++; runs >= 8 {
			cancel()
			return client.Set(bg, "k", "cancelled")
		}
		return disturbed(ctx, s, tx)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
	wantText(t, client, "ran", "nothing")
}

// Where MULTI is refused, what follows it would run command by command.
func TestATransactionIsNotSentToAServerThatRefusesMulti(t *testing.T) {
	srv := serverstest.Start(t)
	admin := connect(t, srv.URL())
	for _, denied := range []string{"-multi", "-exec"} {
		acl(t, admin, "reset", "on", ">pw", "~*", "&*", "+@all", denied)
		client := connect(t, "redis://limited:pw@"+srv.Addr)
		tx := client.Tx()
		n := tx.Incr("n")
		err := tx.Exec(bg)
		if _, nerr := n.Result(); !command.IsCode(err, "NOPERM") && !command.IsCode(err, "EXECABORT") || !redisx.SafeToRetry(err) || !redisx.SafeToRetry(nerr) {
			t.Errorf("%s: %v, %v", denied, err, nerr)
		}
		wantText(t, client, "n", "nothing")
		acl(t, admin, "+@all") // the next one asks again
		tx.Reset()
		tx.Incr("n")
		if err := tx.Exec(bg); err != nil {
			t.Error(err)
		}
		wantText(t, client, "n", "1")
		admin.Del(bg, "n")
	}
}

func acl(t *testing.T, admin *redisx.Client, rules ...any) {
	t.Helper()
	if _, err := admin.Cmd(bg, "ACL", append([]any{"SETUSER", "limited"}, rules...)...); err != nil {
		t.Fatal(err)
	}
}

func TestCommandsThatRanOneByOneAreToldSo(t *testing.T) {
	srv := serverstest.Start(t)
	admin := connect(t, srv.URL())
	acl(t, admin, "reset", "on", ">pw", "~*", "&*", "+@all")
	client := connect(t, "redis://limited:pw@"+srv.Addr)
	tx := client.Tx()
	tx.Incr("n")
	if err := tx.Exec(bg); err != nil {
		t.Fatal(err)
	}
	acl(t, admin, "-multi")
	tx.Reset()
	n, bad := tx.Incr("n"), redisx.Queue(tx, command.LLen("n"))
	err := tx.Exec(bg)
	if !errors.Is(err, redisx.ErrNotAtomic) || !command.IsCode(err, "NOPERM") || redisx.SafeToRetry(err) || outcome(t, err) != command.Done {
		t.Errorf("error %v", err)
	}
	if v, err := n.Result(); err != nil || v != 2 {
		t.Errorf("%d, %v", v, err)
	}
	if _, err := bad.Result(); !command.IsCode(err, "WRONGTYPE") {
		t.Error(err)
	}
	acl(t, admin, "-@all") // nothing runs: that is no broken transaction
	tx.Reset()
	n = tx.Incr("n")
	err = tx.Exec(bg)
	if _, nerr := n.Result(); errors.Is(err, redisx.ErrNotAtomic) || !redisx.SafeToRetry(err) || !redisx.SafeToRetry(nerr) {
		t.Errorf("%v, %v", err, nerr)
	}
	wantText(t, admin, "n", "2")
}

func TestWhatEndsATransactionOrItsConnectionIsRefused(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	try := func(tx *redisx.Tx, words ...string) {
		t.Helper()
		var args []any
		for _, w := range words[1:] {
			args = append(args, w)
		}
		n := tx.Incr("n")
		redisx.Queue(tx, command.Untyped(words[0], args...))
		err := tx.Exec(bg)
		if _, nerr := n.Result(); outcome(t, err) != command.NotSent || outcome(t, nerr) != command.NotSent || !strings.Contains(err.Error(), words[0]) {
			t.Errorf("%s: %v, %v", words, err, nerr)
		}
	}
	err := client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
		for _, words := range [][]string{
			{"MULTI"},
			{"EXEC"},
			{"DISCARD"},
			{"WATCH", "k"},
			{"UNWATCH"},
			{"RESET"},
			{"QUIT"},
			{"HELLO", "2"},
			{"AUTH", "x"},
			{"SUBSCRIBE", "c"},
			{"MONITOR"},
			{"CLIENT", "REPLY", "OFF"},
		} {
			try(client.Tx(), words...)
			try(s.Tx(), words...)
		}
		try(client.Tx(), "SELECT", "1")
		tx := s.Tx()
		redisx.Queue(tx, command.Untyped("SELECT", 1))
		tx.Set("here", "in database 1")
		return tx.Exec(ctx)
	})
	if err != nil {
		t.Error(err)
	}
	wantText(t, client, "n", "nothing")
	wantText(t, client, "here", "nothing")
}
