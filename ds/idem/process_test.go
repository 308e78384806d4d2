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
	"github.com/redisx/redisx/internal/servers"
)

// TestManyProcessesRunOnce is scenario ID1: 500 callers of one key in 20
// processes, fn takes 200 ms.
func TestManyProcessesRunOnce(t *testing.T) { everywhere(t, testManyProcessesRunOnce) }

func testManyProcessesRunOnce(t *testing.T, f servers.Flavor) {
	const processes = 20
	c, s := setup(t, servers.Options{Flavor: f})
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

const crashTTL = 2 * time.Second

// policies are what a caller may do after a crash.
var policies = map[string]idem.Option{"fail": idem.TTL(crashTTL), "rerun": idem.RerunOnCrash()}

// TestRunnerIsKilled is scenario ID2 for the policies Fail and Rerun. The
// second caller waits already when the runner dies.
func TestRunnerIsKilled(t *testing.T) { everywhere(t, testRunnerIsKilled) }

func testRunnerIsKilled(t *testing.T, f servers.Flavor) {
	for policy, option := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			c, s := setup(t, servers.Options{Flavor: f})
			runner := startChild(t, s.URL(), "runner", crashTTL)
			runner.line("running")
			ran := 0
			killed := make(chan time.Time, 1)
			time.AfterFunc(crashTTL+crashTTL/2, func() { // the lease was renewed until then
				killed <- time.Now()
				_ = runner.cmd.Process.Kill()
			})
			got, err := idem.Run(t.Context(), c, childKey, func(context.Context) (receipt, error) {
				ran++
				return receipt{ID: "second"}, nil
			}, option, idem.TTL(crashTTL))
			late := time.Since(<-killed)
			if late < 0 || late > crashTTL+time.Second {
				t.Errorf("the waiter was answered %v after the kill, want within the TTL and a second", late)
			}
			t.Logf("%s: answered %v after kill -9, TTL %v", policy, late, crashTTL)
			if policy == "rerun" {
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
	var unknown *idem.Error
	if !errors.As(err, &unknown) || !errors.Is(err, idem.ErrIndeterminate) || ran != 0 || unknown.Runner == "" || unknown.Token == 0 {
		t.Fatalf("Run: %v, ran %d times, want ErrIndeterminate and no run", err, ran)
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

// TestAResumedRunSkipsWhatWasDone is scenario ID2 for ResumeOnCrash: three
// runners are killed behind the checkpoint, one after the other.
func TestAResumedRunSkipsWhatWasDone(t *testing.T) { everywhere(t, testAResumedRunSkipsWhatWasDone) }

func testAResumedRunSkipsWhatWasDone(t *testing.T, f servers.Flavor) {
	c, s := setup(t, servers.Options{Flavor: f})
	first := ""
	for i := range 3 {
		runner := startChild(t, s.URL(), "steps", time.Second)
		if id := runner.line("charged"); i == 0 {
			first = id
		} else if id != first {
			t.Errorf("run %d was charged as %s, the first as %s", i+1, id, first)
		}
		_ = runner.cmd.Process.Kill()
	}
	last := startChild(t, s.URL(), "steps", time.Second)
	last.line("charged")
	last.proceed()
	var got receipt
	if err := json.Unmarshal([]byte(last.line("result ")), &got); err != nil || got.ID != first {
		t.Errorf("the last run has %+v, %v, want the charge %s", got, err, first)
	}
	if n := raw(t, c, "GET", effects); n != "1" {
		t.Errorf("charged %s times, want once", n)
	}
	if i, err := idem.Inspect(t.Context(), c, childKey); err != nil || i.State != "done" || i.Runs != 4 || i.Crashes != 3 {
		t.Errorf("Inspect = %+v, %v, want 4 runs, 3 of which died", i, err)
	}
}

// TestZombieIsFenced stops a runner past its lease, lets another caller be told
// (Fail) or run (Rerun), and wakes it.
func TestZombieIsFenced(t *testing.T) { everywhere(t, testZombieIsFenced) }

func testZombieIsFenced(t *testing.T, f servers.Flavor) {
	for policy, option := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			c, s := setup(t, servers.Options{Flavor: f})
			zombie := startChild(t, s.URL(), "runner", crashTTL)
			zombie.line("running")
			if err := zombie.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			got, err := idem.Run(t.Context(), c, childKey, func(context.Context) (receipt, error) {
				return receipt{ID: "second"}, nil
			}, option)
			if policy == "fail" && !errors.Is(err, idem.ErrIndeterminate) || policy == "rerun" && (err != nil || got.ID != "second") {
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
			if policy == "fail" && !errors.Is(err, idem.ErrIndeterminate) || policy == "rerun" && (err != nil || got.ID != "second") {
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
