package idem_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/internal/servers"
)

// step is a Checkpoint that saves v and counts.
func step[T any](ctx context.Context, n *atomic.Int64, name string, v T) (T, error) {
	return idem.Checkpoint(ctx, name, func(context.Context) (T, error) { n.Add(1); return v, nil })
}

// TestAnErrorKeepsTheCheckpoints: what a run has done before it failed is not
// done again by the next.
func TestAnErrorKeepsTheCheckpoints(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var charges, mails, runs atomic.Int64
	fn := func(ctx context.Context) (string, error) {
		run := runs.Add(1)
		id, err := step(ctx, &charges, "charge", map[string]int64{"run": run})
		if err != nil {
			return "", err
		}
		if run < 3 {
			return "", errPlain
		}
		_, err = step(ctx, &mails, "mail", true)
		return fmt.Sprint("charged by run ", id["run"]), err
	}
	for range 2 {
		if _, err := idem.Run(t.Context(), c, "k", fn); err != errPlain {
			t.Errorf("Run: %v, want fn's error", err)
		}
		info, err := idem.Inspect(t.Context(), c, "k")
		if err != nil || info.State != "open" || !slices.Equal(info.Checkpoints, []string{"charge"}) || info.Settled.IsZero() || info.Expires < 23*time.Hour {
			t.Errorf("Inspect = %+v, %v", info, err)
		}
		if !strings.Contains(info.Explain(), "has reached charge") {
			t.Errorf("it explains itself as %q", info.Explain())
		}
	}
	got, err := idem.Run(t.Context(), c, "k", fn)
	if got != "charged by run 1" || err != nil || charges.Load() != 1 || mails.Load() != 1 {
		t.Errorf("Run = %q, %v; charged %d times, mailed %d times", got, err, charges.Load(), mails.Load())
	}
	info, err := idem.Inspect(t.Context(), c, "k")
	if err != nil || info.State != "done" || len(info.Checkpoints) != 0 || info.Runs != 3 {
		t.Errorf("Inspect = %+v, %v, want it done and tidy", info, err)
	}
	if n := raw(t, c, "HLEN", record); n != "11" {
		t.Errorf("the record has %s fields, want 11: kind v state token runner since settled print runs crashes result without ends", n)
	}
	// One that starts anew uses none.
	runs.Store(0)
	if err := idem.Forget(t.Context(), c, "k"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err = idem.Run(t.Context(), c, "k", fn, idem.RerunOnCrash())
	}
	if got != "charged by run 3" || err != nil {
		t.Errorf("with RerunOnCrash: %q, %v", got, err)
	}
}

func TestACheckpointIsOfItsRunOnly(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var n atomic.Int64
	if _, err := step(t.Context(), &n, "s", 1); err == nil || n.Load() != 0 {
		t.Errorf("outside of a run: %v, the step ran %d times", err, n.Load())
	}
	var kept context.Context
	_, err := idem.Run(t.Context(), c, "k", func(ctx context.Context) (int, error) {
		kept = context.WithoutCancel(ctx)
		if _, err := step(ctx, &n, strings.Repeat("n", 257), 1); err == nil || n.Load() != 0 {
			t.Errorf("a long name: %v", err)
		}
		if _, err := idem.Checkpoint(ctx, "fails", func(context.Context) (int, error) { return 0, errPlain }); err != errPlain {
			t.Errorf("a step's error comes as %v", err)
		}
		if got, err := step(ctx, &n, "fails", 5); got != 5 || err != nil {
			t.Errorf("after an error the step gives %d, %v", got, err)
		}
		_, err := idem.Checkpoint(ctx, "twice", func(ctx context.Context) (int, error) {
			_, err := step(ctx, &n, "twice", 1)
			return 0, err
		})
		if err == nil {
			t.Error("a step inside itself: no error")
		}
		n.Store(0)
		for range 2 {
			if got, err := step(ctx, &n, "once", 7); got != 7 || err != nil || n.Load() != 1 {
				t.Errorf("one name twice: %d, %v, the step ran %d times", got, err, n.Load())
			}
		}
		if _, err := step(ctx, &n, "once", "text"); err != nil {
			// A number is no string.
			return 1, nil
		}
		t.Error("what was saved as a number is read as a string")
		return 1, nil
	})
	if err != nil {
		t.Error(err)
	}
	n.Store(0)
	if _, err := step(kept, &n, "late", 1); err == nil || n.Load() != 0 {
		t.Errorf("after the run: %v, the step ran %d times", err, n.Load())
	}
	if err := idem.Effect(kept, command.Incr("late")); err == nil {
		t.Error("an effect after the run: no error")
	}
}

func TestCheckpointsAreBounded(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var n atomic.Int64
	_, err := idem.Run(t.Context(), c, "many", func(ctx context.Context) (int, error) {
		for i := range 100 {
			if _, err := step(ctx, &n, fmt.Sprint(i), i); err != nil {
				t.Errorf("checkpoint %d: %v", i, err)
			}
		}
		_, err := step(ctx, &n, "more", 1)
		if err == nil || n.Load() != 100 {
			t.Errorf("checkpoint 101: %v, its step ran", err)
		}
		return 1, nil
	})
	if err != nil {
		t.Error(err)
	}
	for name, v := range map[string]any{"large": strings.Repeat("x", 1000), "odd": math.NaN()} {
		// What a step has done is not done again by one who does not know.
		got, err := idem.Run(t.Context(), c, name, func(ctx context.Context) (any, error) {
			v, err := step(ctx, &n, "s", v)
			var e *idem.Error
			if !errors.As(err, &e) || e.State != "unstored" || errors.Is(err, idem.ErrResultTooLarge) != (name == "large") || v == nil {
				t.Errorf("%s: the checkpoint gives %v, %v", name, v, err)
			}
			return nil, err
		}, idem.MaxResult(1000))
		if err == nil {
			t.Errorf("%s: Run = %v", name, got)
		}
		_, err = idem.Run(t.Context(), c, name, func(ctx context.Context) (int, error) { t.Error("ran again"); return 0, nil })
		if !errors.Is(err, idem.ErrIndeterminate) {
			t.Errorf("%s: the next caller: %v, want ErrIndeterminate", name, err)
		}
	}
}

// TestALostCheckpointIsToldAgain: a step is done, and the server did not say
// that it knows.
func TestALostCheckpointIsToldAgain(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, "checkpoint", 2, true)
	var n atomic.Int64
	fn := func(ctx context.Context) (int, error) {
		v, err := step(ctx, &n, "s", 7)
		if v != 7 || err != nil {
			t.Errorf("Checkpoint = %d, %v", v, err)
		}
		return v, errPlain
	}
	idem.Run(t.Context(), f, "k", fn)
	idem.Run(t.Context(), f, "k", fn)
	if n.Load() != 1 {
		t.Errorf("after two lost requests the step ran %d times, want once", n.Load())
	}
	// Until the context ends; then the end of the run brings it along.
	f.lose.Store(1 << 40)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	_, err := idem.Run(ctx, f, "k2", func(ctx context.Context) (int, error) {
		time.AfterFunc(50*time.Millisecond, leave)
		v, err := step(ctx, &n, "s", 8)
		if v != 8 || !errors.Is(err, idem.ErrUnsettled) {
			t.Errorf("Checkpoint = %d, %v, want the value with ErrUnsettled", v, err)
		}
		return 0, err
	})
	if !errors.Is(err, idem.ErrUnsettled) {
		t.Errorf("Run: %v", err)
	}
	f.lose.Store(0)
	eventually(t, "the key is open", func() bool {
		i, err := idem.Inspect(t.Context(), f, "k2")
		return err == nil && i.State == "open" && slices.Equal(i.Checkpoints, []string{"s"})
	})
	if got, err := idem.Run(t.Context(), f, "k2", func(ctx context.Context) (int, error) { return step(ctx, &n, "s", 9) }); got != 8 || err != nil {
		t.Errorf("the next run has %d, %v, want what the step came to", got, err)
	}
}

// TestDoubtStaysAfterAnError: a runner died, the next one failed: what the first
// one did is as unknown as it was.
func TestDoubtStaysAfterAnError(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	die(t, c)
	if _, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { return 0, errPlain }, idem.RerunOnCrash()); err != errPlain {
		t.Errorf("Run: %v", err)
	}
	_, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
	if !errors.Is(err, idem.ErrIndeterminate) {
		t.Errorf("a caller that may not run twice: %v, want ErrIndeterminate", err)
	}
	if info, err := idem.Inspect(t.Context(), c, "k"); err != nil || info.Crashes != 1 || info.State != "lost" {
		t.Errorf("Inspect = %+v, %v", info, err)
	}
	if got, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { return 1, nil }, idem.ResumeOnCrash()); got != 1 || err != nil {
		t.Errorf("one that may: %d, %v", got, err)
	}
}

// die leaves a run of "k" behind that was begun and never ended.
func die(t *testing.T, d command.Doer) {
	t.Helper()
	_, err := command.RunScript(t.Context(), d, script(t, "begin"), texts, []string{record},
		command.Str("dead"), command.Int(1), command.Int(3_600_000), command.Str(""), command.Str("fail"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its lease has lapsed", func() bool {
		i, err := idem.Inspect(t.Context(), d, "k")
		return err == nil && i.State == "lost" && i.Crashes == 1
	})
}

// TestEffectAndRecordAreOne: with the result, or not at all.
func TestEffectAndRecordAreOne(t *testing.T) { everywhere(t, testEffectAndRecordAreOne) }

func testEffectAndRecordAreOne(t *testing.T, f servers.Flavor) {
	c, _ := setup(t, servers.Options{Flavor: f})
	incr := command.Incr("balance")
	balance := func(want string) {
		t.Helper()
		if got := raw(t, c, "GET", "balance"); got != want {
			t.Errorf("the balance is %q, want %q", got, want)
		}
	}
	with := func(v int, err error, cmds ...command.Sendable) func(ctx context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			for _, c := range cmds {
				if err := idem.Effect(ctx, c); err != nil {
					return 0, err
				}
			}
			return v, err
		}
	}
	for range 3 {
		if got, err := idem.Run(t.Context(), c, "done", with(7, nil, incr, incr)); got != 7 || err != nil {
			t.Errorf("Run = %d, %v", got, err)
		}
		balance("2")
	}
	idem.Run(t.Context(), c, "failed", with(7, errPlain, incr))
	idem.Run(t.Context(), c, "final", with(7, idem.Final(errPlain), incr))
	func() {
		defer func() { _ = recover() }()
		idem.Run(t.Context(), c, "panic", func(ctx context.Context) (int, error) {
			idem.Effect(ctx, incr)
			panic("boom")
		})
	}()
	balance("2")
	if _, err := idem.Run(t.Context(), c, "large", with(7, nil, incr), idem.MaxResult(1), idem.Codec(
		func(any) ([]byte, error) { return []byte("long"), nil }, func([]byte, any) error { return nil })); !errors.Is(err, idem.ErrResultTooLarge) {
		t.Errorf("a large result: %v", err)
	}
	balance("3")

	raw(t, c, "SET", "text", "x")
	bad := command.Incr("text")
	// None took place: the key is free.
	got, err := idem.Run(t.Context(), c, "first", with(7, nil, bad, incr))
	if got != 0 || err == nil || !strings.Contains(err.Error(), "no effect took place") || !strings.Contains(err.Error(), "not an integer") {
		t.Errorf("the first effect fails: %d, %v", got, err)
	}
	if i, err := idem.Inspect(t.Context(), c, "first"); err != nil || i.State != "none" {
		t.Errorf("Inspect = %+v, %v, want it free", i, err)
	}
	balance("3")
	// One took place: that is how it stays.
	for range 2 {
		got, err = idem.Run(t.Context(), c, "second", with(7, nil, incr, bad))
		if got != 0 || !errors.Is(err, idem.ErrFailed) || !strings.Contains(err.Error(), "only the first 1 of its effects took place") {
			t.Errorf("the second effect fails: %d, %v", got, err)
		}
		balance("4")
	}
}

func TestEffectsThatCannotBe(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	if err := idem.Effect(t.Context(), command.Incr("n")); err == nil {
		t.Error("outside of a run: no error")
	}
	_, err := idem.Run(t.Context(), c, "k", func(ctx context.Context) (int, error) {
		for name, cmd := range map[string]command.Sendable{
			"one that blocks": command.Untyped("BLPOP", "q", 0), "a script": command.Untyped("EVAL", "return 1", 0),
		} {
			if err := idem.Effect(ctx, cmd); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		idem.Checkpoint(ctx, "s", func(ctx context.Context) (int, error) {
			if err := idem.Effect(ctx, command.Incr("n")); err == nil {
				t.Error("in a checkpoint: no error")
			}
			return 0, nil
		})
		many := make([]command.Sendable, 1001)
		for i := range many {
			many[i] = command.Incr("n")
		}
		if err := idem.Effect(ctx, many...); err == nil {
			t.Error("1001 effects: no error")
		}
		return 1, idem.Effect(ctx, many[:1000]...)
	})
	if n := raw(t, c, "GET", "n"); n != "1000" || err != nil {
		t.Errorf("1000 effects: %s, %v", n, err)
	}
}

// TestEffectsInACluster: their keys are in the slot of the record, or the key is
// free and the error says so.
func TestEffectsInACluster(t *testing.T) { everywhere(t, testEffectsInACluster) }

func testEffectsInACluster(t *testing.T, f servers.Flavor) {
	c, _ := setup(t, servers.Options{Flavor: f, Args: []string{"--cluster-enabled", "yes"}})
	raw(t, c, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	eventually(t, "the cluster is up", func() bool { return strings.Contains(raw(t, c, "CLUSTER", "INFO"), "cluster_state:ok") })
	run := func(key string) error {
		_, err := idem.Run(t.Context(), c, "k", func(ctx context.Context) (int, error) { return 1, idem.Effect(ctx, command.Incr(key)) })
		return err
	}
	if err := run("elsewhere"); !command.IsCode(err, "CROSSSLOT") || !strings.Contains(err.Error(), "no effect took place") {
		t.Errorf("another slot: %v, want CROSSSLOT", err)
	}
	if err := run("{redisx:idem:k}:balance"); err != nil {
		t.Errorf("the same slot: %v", err)
	}
}

// TestALostCommitIsRepeated: the effect takes place once, however often it is
// asked for.
func TestALostCommitIsRepeated(t *testing.T) {
	for name, before := range map[string]bool{"the request is lost": true, "the answer is lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, "commit", 3, before)
			got, err := idem.Run(t.Context(), f, "k", func(ctx context.Context) (int, error) { return 7, idem.Effect(ctx, command.Incr("n")) })
			if n := raw(t, f, "GET", "n"); got != 7 || err != nil || n != "1" {
				t.Errorf("Run = %d, %v, the effect took place %s times", got, err, n)
			}
		})
	}
}

// TestSettlingOnAFullServer: what has been done is noted without memory; new
// effects are refused, and nothing is lost by that.
func TestSettlingOnAFullServer(t *testing.T) { everywhere(t, testSettlingOnAFullServer) }

func testSettlingOnAFullServer(t *testing.T, f servers.Flavor) {
	c, _ := setup(t, servers.Options{Flavor: f, Args: []string{"--maxmemory-policy", "noeviction"}})
	load(t, c)
	var n atomic.Int64
	full := func(ctx context.Context) (int, error) {
		raw(t, c, "CONFIG", "SET", "maxmemory", "1")
		if v, err := step(ctx, &n, "s", 1); v != 1 || err != nil {
			t.Errorf("a checkpoint: %d, %v", v, err)
		}
		return 1, idem.Effect(ctx, command.Incr("effect"))
	}
	if _, err := idem.Run(t.Context(), c, "k", full); !command.IsCode(err, "OOM") {
		t.Errorf("Run: %v, want OOM", err)
	}
	if i, err := idem.Inspect(t.Context(), c, "k"); err != nil || i.State != "open" || len(i.Checkpoints) != 1 {
		t.Errorf("Inspect = %+v, %v, want it open with its checkpoint", i, err)
	}
	raw(t, c, "CONFIG", "SET", "maxmemory", "0")
	if got, err := idem.Run(t.Context(), c, "k", func(ctx context.Context) (int, error) {
		v, err := step(ctx, &n, "s", 2)
		return v, errors.Join(err, idem.Effect(ctx, command.Incr("effect")))
	}); got != 1 || err != nil || n.Load() != 1 || raw(t, c, "GET", "effect") != "1" {
		t.Errorf("with memory: %d, %v, the step ran %d times", got, err, n.Load())
	}
}

func TestARunInsideItselfIsRefused(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	_, err := idem.Run(t.Context(), c, "k", func(ctx context.Context) (int, error) {
		return idem.Run(ctx, c, "other", func(ctx context.Context) (int, error) {
			begun := time.Now()
			_, err := idem.Run(ctx, c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
			if !errors.Is(err, idem.ErrInProgress) || time.Since(begun) > 5*time.Second {
				t.Errorf("Run inside Run: %v after %v", err, time.Since(begun))
			}
			return 1, nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTheWaitHasABudget(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run := startRun(t, c)
	begun := time.Now()
	_, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil }, idem.Wait(100*time.Millisecond))
	var e *idem.Error
	if took := time.Since(begun); !errors.Is(err, idem.ErrInProgress) || !errors.As(err, &e) || e.Err != nil || took < 100*time.Millisecond {
		t.Errorf("Run: %v after %v, want ErrInProgress after 100ms", err, took)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if got, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil }, idem.Wait(time.Minute)); got != 42 || err != nil {
			t.Errorf("one whose budget lasts: %d, %v", got, err)
		}
	})
	run.end()
	wg.Wait()
}

// TestALostCommitThatFailedIsToldTheSame: also when the answer that some effects
// took place and one failed has to be asked for again.
func TestALostCommitThatFailedIsToldTheSame(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, "commit", 1, false)
	raw(t, f, "SET", "text", "x")
	for range 2 {
		got, err := idem.Run(t.Context(), f, "k", func(ctx context.Context) (int, error) {
			return 7, idem.Effect(ctx, command.Incr("n"), command.Incr("text"))
		})
		if got != 0 || !errors.Is(err, idem.ErrFailed) || errors.Is(err, idem.ErrFenced) ||
			!strings.Contains(err.Error(), "only the first 1 of its effects took place") || !strings.Contains(err.Error(), "not an integer") {
			t.Errorf("Run = %d, %v", got, err)
		}
	}
	if n := raw(t, f, "GET", "n"); n != "1" {
		t.Errorf("the effect took place %s times", n)
	}
}
