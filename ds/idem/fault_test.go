package idem_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/resp3"
)

func script(t testing.TB, name string) *command.Script {
	t.Helper()
	s := idem.Scripts()[name]
	if s == nil {
		t.Fatalf("no script %q", name)
	}
	return s
}

// faulty is a client that loses answers, or requests, of one script.
type faulty struct {
	*redisx.Client
	digest string
	lose   atomic.Int64 // how many more
	before bool         // the request is lost, else the answer
	delay  time.Duration
	tried  atomic.Int64
}

var errCut = errors.New("cut")

func (f *faulty) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	if r.Len() == 0 || r.Arg(0).Text() != f.digest {
		return f.Client.Do(ctx, r)
	}
	f.tried.Add(1)
	if f.lose.Add(-1) < 0 {
		reply, err := f.Client.Do(ctx, r)
		time.Sleep(f.delay) // an answer that is long under way
		return reply, err
	}
	if !f.before {
		reply, err := f.Client.Do(ctx, r)
		if err != nil {
			return reply, err
		}
		reply.Release()
	}
	return command.Reply{}, &command.Error{Command: r.Name(), Node: "faulty", Phase: "read", Outcome: command.Maybe, Err: errCut}
}

// load makes the server know all scripts, so that none takes the way of EVAL.
func load(t testing.TB, d command.Doer) {
	t.Helper()
	for _, s := range idem.Scripts() {
		raw(t, d, "SCRIPT LOAD", s.Source())
	}
}

func newFaulty(t testing.TB, name string, lose int64, before bool) *faulty {
	t.Helper()
	c, _ := setup(t)
	load(t, c)
	f := &faulty{Client: c, digest: script(t, name).Digest(), before: before}
	f.lose.Store(lose)
	return f
}

// TestLostClaimIsGivenBack: a begin whose answer is lost may have claimed the
// key. fn did not run, so the key must not count as begun.
func TestLostClaimIsGivenBack(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, "begin", 1, false)
	var ran atomic.Int64
	if _, err := idem.Run(t.Context(), f, "k", counted(&ran, 1, nil)); !errors.Is(err, errCut) || ran.Load() != 0 {
		t.Errorf("Run: %v, ran %d times, want the cut and no run", err, ran.Load())
	}
	eventually(t, "the lost claim is given back", func() bool { return raw(t, f, "EXISTS", record) == "0" })
	if got, err := idem.Run(t.Context(), f, "k", counted(&ran, 1, nil), idem.Wait(0)); got != 1 || err != nil {
		t.Errorf("the next caller: %v, %v", got, err)
	}
}

// TestLateClaimIsNotUsed: when the answer comes, the lease may have lapsed.
func TestLateClaimIsNotUsed(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, "begin", 0, false)
	f.delay = 300 * time.Millisecond
	var ran atomic.Int64
	_, err := idem.Run(t.Context(), f, "k", counted(&ran, 1, nil), idem.TTL(100*time.Millisecond))
	if !errors.Is(err, idem.ErrFenced) || ran.Load() != 0 {
		t.Errorf("Run: %v, ran %d times, want ErrFenced and no run", err, ran.Load())
	}
	if n := raw(t, f, "EXISTS", record); n != "0" {
		t.Error("what did not run holds the key")
	}
	why := errors.New("why")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, why)
	defer cancel()
	if _, err := idem.Run(ctx, f, "k", counted(&ran, 1, nil)); !errors.Is(err, why) || ran.Load() != 0 {
		t.Errorf("Run: %v, ran %d times, want the cause and no run", err, ran.Load())
	}
	eventually(t, "what did not run frees the key", func() bool { return raw(t, f, "EXISTS", record) == "0" })
}

// TestLostFinishIsRepeated: what has run must be recorded, and the step may be
// asked for any number of times.
func TestLostFinishIsRepeated(t *testing.T) {
	for name, before := range map[string]bool{"the request is lost": true, "the answer is lost": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, "finish", 3, before)
			var ran atomic.Int64
			if got, err := idem.Run(t.Context(), f, "k", counted(&ran, 1, nil)); got != 1 || err != nil {
				t.Errorf("Run = %v, %v", got, err)
			}
			if got, err := idem.Run(t.Context(), f, "k", counted(&ran, 2, nil)); got != 1 || err != nil || ran.Load() != 1 {
				t.Errorf("a later caller: %v, %v, ran %d times", got, err, ran.Load())
			}
			if n := f.tried.Load(); n != 4 {
				t.Errorf("finish was asked for %d times, want 4", n)
			}
		})
	}
}

// TestAnErrorAfterTheLeaseWasLostLeavesDoubt: fn was cut off in the middle, so
// its error does not say that nothing has happened.
func TestAnErrorAfterTheLeaseWasLostLeavesDoubt(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(error) error{
		"an error": func(err error) error { return err },
		"a panic":  func(err error) error { panic(err) },
	} {
		f := newFaulty(t, "renew", 1<<40, true)
		func() {
			defer func() { _ = recover() }()
			_, err := idem.Run(t.Context(), f, "k", func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, end(context.Cause(ctx))
			}, idem.TTL(200*time.Millisecond))
			if !errors.Is(err, idem.ErrFenced) {
				t.Errorf("%s: Run: %v, want fn's error", name, err)
			}
		}()
		_, err := idem.Run(t.Context(), f, "k", func(context.Context) (int, error) { t.Errorf("%s: ran again", name); return 0, nil })
		if !errors.Is(err, idem.ErrIndeterminate) {
			t.Errorf("%s: a later caller: %v, want ErrIndeterminate", name, err)
		}
	}
}

// TestFinishThatNeverArrives: the runner learns that nobody knows, and has its
// value; the others learn that it may have run.
func TestFinishThatNeverArrives(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, "finish", 1<<40, true)
	var ran atomic.Int64
	got, err := idem.Run(t.Context(), f, "k", counted(&ran, 1, nil), idem.TTL(200*time.Millisecond))
	if got != 1 || !errors.Is(err, idem.ErrUnsettled) || !errors.Is(err, errCut) {
		t.Errorf("Run = %v, %v, want the value with ErrUnsettled", got, err)
	}
	if _, err := idem.Run(t.Context(), f, "k", counted(&ran, 2, nil)); !errors.Is(err, idem.ErrIndeterminate) || ran.Load() != 1 {
		t.Errorf("a later caller: %v, ran %d times, want ErrIndeterminate", err, ran.Load())
	}
}

// TestCallerLeavesWhileTheServerIsFrozen: Run returns in time, and the result
// is stored when the server is back.
func TestCallerLeavesWhileTheServerIsFrozen(t *testing.T) {
	t.Parallel()
	c, s := setup(t)
	run := startRun(t, c)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	run.finish <- nil
	time.AfterFunc(50*time.Millisecond, run.cancel)
	begun := time.Now()
	run.wg.Wait()
	late := time.Since(begun) - 50*time.Millisecond
	t.Logf("with a frozen server Run returned %v after its context", late)
	if run.got != 42 || !errors.Is(run.err, idem.ErrUnsettled) || !errors.Is(run.err, context.Canceled) {
		t.Errorf("Run = %v, %v, want the value with ErrUnsettled", run.got, run.err)
	}
	// It would go on asking for a TTL: 10 s.
	if late > 5*time.Second {
		t.Errorf("Run returned %v after the cancel, want about 10ms", late)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the result is stored", func() bool {
		i, err := idem.Inspect(t.Context(), c, "k")
		return err == nil && i.State == "done"
	})
}

// TestCloseWaitsForTheLastStep: the client's Close leaves neither goroutine nor
// an untold outcome behind.
func TestCloseWaitsForTheLastStep(t *testing.T) {
	t.Parallel()
	c, s := setup(t)
	own := dstest.Connect(t, s)
	run := startRun(t, own)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	run.cancel()
	run.finish <- nil
	run.wg.Wait()
	time.AfterFunc(100*time.Millisecond, func() {
		if err := s.Resume(); err != nil {
			t.Error(err)
		}
	})
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	if i, err := idem.Inspect(t.Context(), c, "k"); err != nil || i.State != "done" {
		t.Errorf("after Close: %+v, %v, want it done", i, err)
	}
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	_, s := setup(t)
	own := dstest.Connect(t, s)
	run := startRun(t, own)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	run.cancel()
	run.finish <- nil
	run.wg.Wait()
	begun := time.Now()
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("Close took %v with a frozen server, want a second", took)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
}

// left ends a run whose caller has left: Run returns what fn does, or, where
// the machine is so busy that the server's answer takes longer than the moment
// that Run waits for it, that it does not know yet.
func (s *started) left(fnErr error) {
	s.t.Helper()
	s.finish <- fnErr
	s.wg.Wait()
	switch {
	case errors.Is(s.err, idem.ErrUnsettled) && errors.Is(s.err, context.Canceled):
	case s.err != fnErr:
		s.t.Errorf("the runner got %v, want %v", s.err, fnErr)
	}
	if fnErr == nil && s.got != 42 {
		s.t.Errorf("the runner got %d, want 42", s.got)
	}
}

// TestCancelledRunEndsWithFn: fn's context ends with the caller's; a value that
// fn returns all the same is an outcome and is stored.
func TestCancelledRunEndsWithFn(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run := startRun(t, c)
	run.cancel()
	<-run.ctx.Done()
	if !errors.Is(context.Cause(run.ctx), context.Canceled) {
		t.Errorf("the cause is %v", context.Cause(run.ctx))
	}
	run.left(nil)
	eventually(t, "the result is stored", func() bool {
		i, err := idem.Inspect(t.Context(), c, "k")
		return err == nil && i.State == "done"
	})
	if err := idem.Forget(t.Context(), c, "k"); err != nil {
		t.Fatal(err)
	}
	run = startRun(t, c)
	run.cancel()
	run.left(context.Canceled)
	eventually(t, "the key is free", func() bool { return raw(t, c, "EXISTS", record) == "0" })
}

// TestLeaseLastsAsLongAsFn: an fn that does not heed its context is still the
// only one.
func TestLeaseLastsAsLongAsFn(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run := startRun(t, c, idem.TTL(time.Second))
	run.cancel()
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); {
		_, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil }, idem.Wait(0), idem.RerunOnCrash())
		if !errors.Is(err, idem.ErrInProgress) {
			t.Fatalf("while fn runs: %v, want ErrInProgress", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	run.left(nil)
}

func TestCancelledBeforeItBegan(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := idem.Run(ctx, c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil }); !errors.Is(err, why) {
		t.Errorf("Run: %v, want the cause", err)
	}
	if n := raw(t, c, "EXISTS", record); n != "0" {
		t.Error("a call that never began left a record")
	}
}

// TestRandomCancels is scenario XX2 for Run: nothing is left that would count
// as begun, and nobody returns late.
func TestRandomCancels(t *testing.T) { everywhere(t, testRandomCancels) }

func testRandomCancels(t *testing.T, f servers.Flavor) {
	c, _ := setup(t, servers.Options{Flavor: f})
	const workers = 16
	dstest.Cancelled(t, workers, dstest.Rounds(200, 100_000/workers), func(ctx context.Context, _ int) {
		_, _ = idem.Run(ctx, c, "k", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
	})
	var ran atomic.Int64
	if got, err := idem.Run(t.Context(), c, "k", counted(&ran, 1, nil)); got != 1 || err != nil {
		t.Errorf("after the cancelled calls: %v, %v", got, err)
	}
}

// TestLostRecordFencesTheRun: a server that forgets all, or an operator who
// deletes, ends the run's context, and its result is not taken for the key's.
func TestLostRecordFencesTheRun(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run := startRun(t, c, idem.TTL(3*time.Second))
	raw(t, c, "FLUSHALL")
	select {
	case <-run.ctx.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the context did not end in 5 s")
	}
	var f *idem.Error
	if !errors.As(context.Cause(run.ctx), &f) || f.Reason != "gone" {
		t.Errorf("the cause is %v, want ErrFenced: gone", context.Cause(run.ctx))
	}
	run.finish <- nil
	run.wg.Wait()
	if run.got != 0 || !errors.Is(run.err, idem.ErrFenced) {
		t.Errorf("Run = %v, %v, want ErrFenced and no value", run.got, run.err)
	}
	if n := raw(t, c, "EXISTS", record); n != "0" {
		t.Error("the fenced run brought the record back")
	}
}

// TestFullServer: a run that has begun can end on a server without memory, and
// outcomes can be read.
func TestFullServer(t *testing.T) { everywhere(t, testFullServer) }

func testFullServer(t *testing.T, f servers.Flavor) {
	c, _ := setup(t, servers.Options{Flavor: f, Args: []string{"--maxmemory-policy", "noeviction"}})
	load(t, c)
	run := startRun(t, c, idem.TTL(time.Second))
	raw(t, c, "CONFIG", "SET", "maxmemory", "1")
	eventually(t, "a renewal on the full server", func() bool {
		i, err := idem.Inspect(t.Context(), c, "k")
		return err == nil && time.Since(i.Since) > 2500*time.Millisecond && i.State == "running"
	})
	run.end()
	var ran atomic.Int64
	if got, err := idem.Run(t.Context(), c, "k", counted(&ran, 1, nil)); got != 42 || err != nil || ran.Load() != 0 {
		t.Errorf("a later caller: %v, %v, ran %d times", got, err, ran.Load())
	}
	if _, err := idem.Run(t.Context(), c, "new", counted(&ran, 1, nil)); !command.IsCode(err, "OOM") || ran.Load() != 0 {
		t.Errorf("a new key: %v, ran %d times, want OOM", err, ran.Load())
	}
	if err := idem.Forget(t.Context(), c, "k"); err != nil {
		t.Errorf("Forget: %v", err)
	}
}

func TestScriptsAreFlushed(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for range 20 {
		raw(t, c, "SCRIPT FLUSH")
		run := startRun(t, c)
		raw(t, c, "SCRIPT FLUSH")
		run.end()
		if err := idem.Forget(t.Context(), c, "k"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignRecordIsRefused(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	fn := func(context.Context) (int, error) { t.Error("ran"); return 0, nil }
	raw(t, c, "HSET", record, "kind", "idem", "v", "2", "state", "done")
	if _, err := idem.Run(t.Context(), c, "k", fn); !command.IsCode(err, "WRONGSTATE") {
		t.Errorf("a record of another version: %v, want WRONGSTATE", err)
	}
	raw(t, c, "DEL", record)
	raw(t, c, "SET", record, "x")
	if _, err := idem.Run(t.Context(), c, "k", fn); !command.IsCode(err, "WRONGTYPE") {
		t.Errorf("a string: %v, want WRONGTYPE", err)
	}
}

// bare is a Doer and nothing more: no pushes, nothing attached.
type bare struct{ d command.Doer }

func (b bare) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return b.d.Do(ctx, r)
}

func TestBareDoer(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	d := bare{c}
	run := startRun(t, d)
	var wg sync.WaitGroup
	wg.Go(func() {
		if got, err := idem.Run(t.Context(), d, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil }); got != 42 || err != nil {
			t.Errorf("a waiter that polls got %v, %v", got, err)
		}
	})
	run.cancel()
	run.end()
	wg.Wait()
}

// closedDoer attaches nothing, as a client that was closed.
type closedDoer struct{ bare }

func (closedDoer) Attach(any, func() io.Closer) (io.Closer, error) {
	return nil, errors.New("closed")
}

func TestClientClosedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	f := newFaulty(t, "finish", 1<<40, true)
	_, err := idem.Run(t.Context(), closedDoer{bare{f}}, "k", func(context.Context) (int, error) { return 1, nil }, idem.AllowEviction())
	if !errors.Is(err, idem.ErrUnsettled) {
		t.Errorf("Run: %v, want ErrUnsettled", err)
	}
	if n := f.tried.Load(); n != 2 {
		t.Errorf("finish was asked for %d times on a closed client, want once more than while it was open", n)
	}
}

// texts reads an array of strings and integers as text.
func texts(v resp3.View) ([]string, error) {
	var all []string
	for e := range v.Elems() {
		all = append(all, e.Text())
	}
	return all, nil
}

// takeOver begins as A with a short lease and, once that has lapsed, as B with a
// long one. It returns both tokens and a function that runs a step's script.
func takeOver(t *testing.T) (a, b string, step func(s *command.Script, args ...command.Arg) []string) {
	t.Helper()
	c, _ := setup(t)
	step = func(s *command.Script, args ...command.Arg) []string {
		t.Helper()
		got, err := command.RunScript(t.Context(), c, s, texts, []string{record}, args...)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	begin := func(runner string, lease int64) (token string, ok bool) {
		got := step(script(t, "begin"), command.Str(runner), command.Int(lease), command.Int(60_000), command.Str(""), command.Str("rerun"))
		return got[1], got[0] == "claimed"
	}
	a, _ = begin("A", 20)
	eventually(t, "B gets the key", func() bool {
		var ok bool
		b, ok = begin("B", 60_000)
		return ok
	})
	if len(b) < len(a) || b <= a {
		t.Errorf("token %s after %s does not rise", b, a)
	}
	return a, b, step
}

// lateFinish lets A finish before B and returns the result that is stored.
func lateFinish(t *testing.T, finish *command.Script) string {
	t.Helper()
	a, b, step := takeOver(t)
	step(finish, command.Str(a), command.Str("done"), command.Str("of A"), command.Int(60_000))
	step(finish, command.Str(b), command.Str("done"), command.Str("of B"), command.Int(60_000))
	return step(script(t, "begin"), command.Str("C"), command.Int(20), command.Int(60_000), command.Str(""), command.Str("fail"))[5]
}

func TestLateFinishIsFenced(t *testing.T) {
	t.Parallel()
	if got := lateFinish(t, script(t, "finish")); got != "of B" {
		t.Errorf("stored %q, want that of the run that was let in", got)
	}
}

// TestCheckSeesAFinishWithoutFence breaks finish and expects the test above to
// notice.
func TestCheckSeesAFinishWithoutFence(t *testing.T) {
	t.Parallel()
	src := script(t, "finish").Source()
	broken := strings.Replace(src, "r[2] ~= ARGV[1]", "false", 1)
	if broken == src {
		t.Fatal("finish.lua has no token check to remove")
	}
	if got := lateFinish(t, command.NewScript(broken)); got != "of A" {
		t.Errorf("without its token check finish stored %q: the check above proves nothing", got)
	}
}

// TestLateStepsAreFenced: a runner that was replaced can neither renew nor free
// the key of its successor.
func TestLateStepsAreFenced(t *testing.T) {
	t.Parallel()
	a, b, step := takeOver(t)
	if got := step(script(t, "renew"), command.Str(a), command.Int(90_000), command.Int(60_000)); got[1] != "not owner" {
		t.Errorf("renewal by the replaced runner: %q, want it refused", got)
	}
	if got := step(script(t, "abandon"), command.Str("A"), command.Int(60_000), command.Str("0")); got[0] != "0" {
		t.Errorf("abandon by the replaced runner: %q, want it refused", got)
	}
	if got := step(script(t, "checkpoint"), command.Str(a), command.Str("step"), command.Str("of A")); got[0] != "0" {
		t.Errorf("checkpoint by the replaced runner: %q, want it refused", got)
	}
	if got := step(script(t, "commit"), command.Str(a), command.Str("done"), command.Str("of A"), command.Int(60_000), command.Str("2"), command.Str("INCR"), command.Str("effect")); got[0] != "0" {
		t.Errorf("commit by the replaced runner: %q, want it refused", got)
	}
	info := step(script(t, "inspect"))
	if info[0] != "running" || info[1] != b || info[2] != "B" || len(info[4]) != 5 || info[4] > "60000" {
		t.Errorf("the record is %q, want B running with its own lease", info)
	}
	if got := step(script(t, "abandon"), command.Str("B"), command.Int(60_000), command.Str("0")); got[0] != "1" {
		t.Errorf("abandon by the runner: %q", got)
	}
}

// together counts how often fn runs when many call at once.
func together(t *testing.T, run func(fn func())) int64 {
	t.Helper()
	var ran atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 100 {
		wg.Go(func() {
			<-start
			run(func() { ran.Add(1) })
		})
	}
	close(start)
	wg.Wait()
	return ran.Load()
}

func TestCallersTogetherRunOnce(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	n := together(t, func(fn func()) {
		if _, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { fn(); return 1, nil }); err != nil {
			t.Error(err)
		}
	})
	if n != 1 {
		t.Errorf("fn ran %d times, want once", n)
	}
}

// TestCheckSeesAClaimInTwoSteps claims by GET, then SET, and expects the test
// above to notice.
func TestCheckSeesAClaimInTwoSteps(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	n := together(t, func(fn func()) {
		if raw(t, c, "GET", "k") == "" {
			time.Sleep(time.Millisecond) // what a second round trip takes elsewhere
			raw(t, c, "SET", "k", "claimed")
			fn()
		}
	})
	if n < 2 {
		t.Errorf("a claim in two steps ran %d times: the check above proves nothing", n)
	}
}

// TestTheCauseOfAContextIsNotTheRunsOwnError: a run within the fn of another,
// which has lost its lease, ends with that one's error as its cause.
func TestTheCauseOfAContextIsNotTheRunsOwnError(t *testing.T) {
	t.Parallel()
	c, s := setup(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	got, err := idem.Run(ctx, c, "k", func(context.Context) (int, error) {
		cancel(&idem.Error{Key: "outer", State: "fenced", Token: 1, Reason: "expired"})
		return 42, s.Pause()
	})
	var e *idem.Error
	if got != 42 || !errors.As(err, &e) || e.Key != "k" || e.State != "unsettled" {
		t.Errorf("Run = %d, %v, want the value and that nobody knows whether it was recorded", got, err)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the result is stored", func() bool {
		i, err := idem.Inspect(t.Context(), c, "k")
		return err == nil && i.State == "done"
	})
}
