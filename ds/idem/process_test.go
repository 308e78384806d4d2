package idem_test

import (
	"context"
	"encoding/json"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
)

// TestManyProcessesRunOnce is scenario ID1: 500 callers of one key in 20
// processes, fn takes 200 ms.
func TestManyProcessesRunOnce(t *testing.T) {
	const processes = 20
	c, s := setup(t)
	var children []*child
	for range processes {
		children = append(children, startChild(t, s.URL(), "callers", 2*time.Second))
	}
	for _, ch := range children {
		ch.line("ready")
	}
	begun := time.Now()
	for _, ch := range children {
		ch.proceed()
	}
	answers := map[string]int{}
	for _, ch := range children {
		for range callers {
			answers[ch.line("result ")]++
		}
	}
	took := time.Since(begun)
	if n := raw(t, c, "GET", effects); n != "1" {
		t.Errorf("fn ran %s times, want once", n)
	}
	for answer, n := range answers {
		if n != processes*callers {
			t.Errorf("%d of %d callers got %s", n, processes*callers, answer)
		}
	}
	t.Logf("%d callers in %d processes: fn ran once, %d different answer(s), all answered %v after the start", processes*callers, processes, len(answers), took)
}

const crashTTL = time.Second

// TestRunnerIsKilled is scenario ID2 for the policies Fail and Rerun. The
// second caller waits already when the runner dies.
func TestRunnerIsKilled(t *testing.T) {
	for _, policy := range []idem.Crash{idem.Fail, idem.Rerun} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			c, s := setup(t)
			runner := startChild(t, s.URL(), "runner", crashTTL)
			runner.line("running")
			ran := 0
			killed := make(chan time.Time, 1)
			time.AfterFunc(2*crashTTL, func() { // the lease was renewed until then
				killed <- time.Now()
				_ = runner.cmd.Process.Kill()
			})
			got, err := idem.Run(t.Context(), c, childKey, func(context.Context) (receipt, error) {
				ran++
				return receipt{ID: "second"}, nil
			}, idem.OnCrash(policy), idem.TTL(crashTTL))
			late := time.Since(<-killed)
			if late < 0 || late > crashTTL+time.Second {
				t.Errorf("the waiter was answered %v after the kill, want within the TTL and a second", late)
			}
			t.Logf("%s: answered %v after kill -9, TTL %v", policy, late, crashTTL)
			if policy == idem.Rerun {
				info, ierr := idem.Inspect(t.Context(), c, childKey)
				if err != nil || got.ID != "second" || ran != 1 || ierr != nil || info.State != "done" || info.Runs != 2 {
					t.Errorf("Run = %+v, %v, ran %d times, record %+v, %v", got, err, ran, info, ierr)
				}
				return
			}
			checkIndeterminate(t, c, err, ran)
		})
	}
}

// checkIndeterminate checks what must hold after a runner has died under Fail.
func checkIndeterminate(t *testing.T, c command.Doer, err error, ran int) {
	t.Helper()
	var unknown *idem.IndeterminateError
	if !errors.As(err, &unknown) || !errors.Is(err, idem.ErrIndeterminate) || ran != 0 || unknown.Runner == "" || unknown.Token == 0 {
		t.Fatalf("Run: %v, ran %d times, want an *IndeterminateError and no run", err, ran)
	}
	fn := func(context.Context) (receipt, error) { ran++; return receipt{ID: "later"}, nil }
	for range 3 {
		if _, err := idem.Run(t.Context(), c, childKey, fn); !errors.Is(err, idem.ErrIndeterminate) || ran != 0 {
			t.Errorf("a later caller: %v, ran %d times, want to be told as well", err, ran)
		}
	}
	info, err := idem.Inspect(t.Context(), c, childKey)
	if err != nil || info.State != "lost" || info.Expires < 23*time.Hour || info.Settled.IsZero() || info.Token != unknown.Token {
		t.Errorf("Inspect = %+v, %v, want it kept for the retention", info, err)
	}
	if err := idem.Forget(t.Context(), c, childKey); err != nil {
		t.Fatal(err)
	}
	if got, err := idem.Run(t.Context(), c, childKey, fn); err != nil || got.ID != "later" || ran != 1 {
		t.Errorf("after Forget: %+v, %v, ran %d times", got, err, ran)
	}
	if info, err := idem.Inspect(t.Context(), c, childKey); err != nil || info.Token <= unknown.Token {
		t.Errorf("the token %d after %d does not rise (%v)", info.Token, unknown.Token, err)
	}
}

// TestZombieIsFenced stops a runner past its lease, lets another caller be told
// (Fail) or run (Rerun), and wakes it.
func TestZombieIsFenced(t *testing.T) {
	for _, policy := range []idem.Crash{idem.Fail, idem.Rerun} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			c, s := setup(t)
			zombie := startChild(t, s.URL(), "runner", crashTTL)
			zombie.line("running")
			if err := zombie.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			got, err := idem.Run(t.Context(), c, childKey, func(context.Context) (receipt, error) {
				return receipt{ID: "second"}, nil
			}, idem.OnCrash(policy))
			if policy == idem.Fail && !errors.Is(err, idem.ErrIndeterminate) || policy == idem.Rerun && (err != nil || got.ID != "second") {
				t.Fatalf("the second caller: %+v, %v", got, err)
			}
			before := raw(t, c, "HGET", "{redisx:idem:"+childKey+"}:record", "state")
			if err := zombie.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			zombie.proceed()
			if how := zombie.line("context"); how != "true true" {
				t.Errorf("the zombie's context is ended, by the fence: %s, want true true", how)
			}
			if how := zombie.line("fenced"); how[:4] != "true" {
				t.Errorf("the zombie got a value with its error: %s", how)
			}
			if after := raw(t, c, "HGET", "{redisx:idem:"+childKey+"}:record", "state"); after != before {
				t.Errorf("the zombie changed the state from %s to %s", before, after)
			}
			got, err = idem.Run(t.Context(), c, childKey, func(context.Context) (receipt, error) {
				t.Error("ran again")
				return receipt{}, nil
			})
			if policy == idem.Fail && !errors.Is(err, idem.ErrIndeterminate) || policy == idem.Rerun && (err != nil || got.ID != "second") {
				t.Errorf("a caller after the zombie: %+v, %v", got, err)
			}
		})
	}
}

// TestLapseUnseenDoesNoHarm: as long as nobody was told, a runner that comes
// back may store what it has done; that is worth more than not knowing.
func TestLapseUnseenDoesNoHarm(t *testing.T) {
	t.Parallel()
	c, s := setup(t)
	runner := startChild(t, s.URL(), "runner", crashTTL)
	runner.line("running")
	if err := runner.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lease has lapsed", func() bool {
		i, err := idem.Inspect(t.Context(), c, childKey) // only looks
		return err == nil && i.State == "lost"
	})
	if err := runner.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	runner.proceed()
	if how := runner.line("context"); how != "true true" {
		t.Errorf("the runner's context is ended, by the fence: %s, want true true", how)
	}
	want := runner.line("result ")
	got, err := idem.Run(t.Context(), c, childKey, func(context.Context) (receipt, error) {
		t.Error("ran again")
		return receipt{}, nil
	})
	b, _ := json.Marshal(got)
	if err != nil || string(b) != want {
		t.Errorf("Run = %s, %v, want %s", b, err, want)
	}
}
