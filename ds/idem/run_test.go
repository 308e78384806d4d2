package idem_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/internal/servers"
)

const record = "{redisx:idem:k}:record"

// counted returns an fn that returns v, err and counts its runs.
func counted[T any](n *atomic.Int64, v T, err error) func(context.Context) (T, error) {
	return func(context.Context) (T, error) { n.Add(1); return v, err }
}

var errPlain = errors.New("try me again")

func TestResultIsStoredAndAnswered(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	type hidden struct {
		Name   string
		secret int
		Extra  map[string]int
	}
	var answers []string
	for range 5 {
		got, err := idem.Run(t.Context(), c, "k", counted(&ran, hidden{"a", 7, map[string]int{"z": 1, "b": 2}}, nil))
		if err != nil {
			t.Fatal(err)
		}
		if got.secret != 0 {
			t.Error("the runner sees what the others cannot")
		}
		b, _ := json.Marshal(got)
		answers = append(answers, string(b))
	}
	for _, a := range answers {
		if a != answers[0] || a != raw(t, c, "HGET", record, "result") {
			t.Errorf("answers differ: %q", answers)
		}
	}
	if ran.Load() != 1 {
		t.Errorf("fn ran %d times, want once", ran.Load())
	}
	info, err := idem.Inspect(t.Context(), c, "k")
	if err != nil || info.State != "done" || info.Runs != 1 || info.Size != int64(len(answers[0])) ||
		info.Expires > 24*time.Hour || info.Expires < 24*time.Hour-time.Minute || info.Settled.Before(info.Since) {
		t.Errorf("Inspect = %+v, %v", info, err)
	}
	for field, want := range map[string]string{"kind": "idem", "v": "1", "state": "done"} {
		if got := raw(t, c, "HGET", record, field); got != want {
			t.Errorf("the record's %s is %q, want %q", field, got, want)
		}
	}
}

func TestPlainErrorFreesTheKey(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	for range 3 {
		if _, err := idem.Run(t.Context(), c, "k", counted(&ran, 0, errPlain)); err != errPlain {
			t.Errorf("Run: %v, want fn's error as it is", err)
		}
		if n := raw(t, c, "EXISTS", record); n != "0" {
			t.Error("a failed run left a record")
		}
	}
	if got, err := idem.Run(t.Context(), c, "k", counted(&ran, 9, nil)); err != nil || got != 9 || ran.Load() != 4 {
		t.Errorf("Run = %v, %v after %d runs", got, err, ran.Load())
	}
}

func TestFinalErrorIsAnOutcome(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	declined := fmt.Errorf("card declined: %w", errPlain)
	_, err := idem.Run(t.Context(), c, "k", counted(&ran, 0, fmt.Errorf("charge: %w", idem.Final(declined))))
	if !errors.Is(err, errPlain) || !errors.Is(err, idem.ErrFailed) {
		t.Errorf("the runner got %v, want its own error", err)
	}
	_, err = idem.Run(t.Context(), c, "k", counted(&ran, 1, nil))
	var stored *idem.Error
	if !errors.As(err, &stored) || !errors.Is(err, idem.ErrFailed) || stored.Reason != "charge: card declined: try me again" || stored.Runner == "" || stored.Since.IsZero() {
		t.Errorf("a later caller got %v, want ErrFailed with the text", err)
	}
	if ran.Load() != 1 {
		t.Errorf("fn ran %d times, want once", ran.Load())
	}
	if idem.Final(nil) != nil {
		t.Error("Final(nil) is not nil")
	}
	long := strings.Repeat("x", 100_000)
	if _, err := idem.Run(t.Context(), c, "long", counted(&ran, 0, idem.Final(errors.New(long)))); err == nil || len(err.Error()) < 100_000 {
		t.Errorf("the runner's own error was cut: %d bytes", len(err.Error()))
	}
	if _, err := idem.Run(t.Context(), c, "long", counted(&ran, 0, nil)); !errors.As(err, &stored) || len(stored.Reason) > 5000 {
		t.Errorf("a long error is stored with %d bytes", len(stored.Reason))
	}
}

func TestPanicFreesTheKeyAndGoesOn(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v, want fn's panic", r)
			}
		}()
		idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { panic("boom") })
	}()
	var wg sync.WaitGroup
	wg.Go(func() {
		idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
	})
	wg.Wait()
	if got, err := idem.Run(t.Context(), c, "k", counted(&ran, 1, nil), idem.Wait(0)); err != nil || got != 1 || ran.Load() != 1 {
		t.Errorf("after a panic and a Goexit: %v, %v", got, err)
	}
}

func TestResultThatCannotBeStored(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	large := strings.Repeat("x", 2000)
	got, err := idem.Run(t.Context(), c, "large", counted(&ran, large, nil), idem.MaxResult(1000))
	if got != large || !errors.Is(err, idem.ErrResultTooLarge) {
		t.Errorf("the runner got %d bytes, %v, want its value with ErrResultTooLarge", len(got), err)
	}
	got, err = idem.Run(t.Context(), c, "large", counted(&ran, "again", nil))
	var none *idem.Error
	if got != "" || !errors.As(err, &none) || none.Size != 2002 || none.Limit != 1000 || !errors.Is(err, idem.ErrResultTooLarge) {
		t.Errorf("a later caller got %q, %v", got, err)
	}
	if _, err := idem.Run(t.Context(), c, "fits", counted(&ran, strings.Repeat("x", 998), nil), idem.MaxResult(1000)); err != nil {
		t.Errorf("a result of exactly the limit: %v", err)
	}

	nan, err := idem.Run(t.Context(), c, "codec", counted(&ran, math.NaN(), nil))
	if !math.IsNaN(nan) || !errors.As(err, &none) || none.State != "unstored" || errors.Is(err, idem.ErrResultTooLarge) {
		t.Errorf("the runner of a result that JSON cannot hold got %v, %v", nan, err)
	}
	if _, err = idem.Run(t.Context(), c, "codec", counted(&ran, 1.0, nil)); !errors.As(err, &none) || none.State != "unstored" || none.Size != 0 || errors.Is(err, idem.ErrResultTooLarge) {
		t.Errorf("a later caller got %v, want it unstored", err)
	}
	if ran.Load() != 3 {
		t.Errorf("fn ran %d times, want once for each of three keys", ran.Load())
	}
}

// plainBytes stores []byte as it is.
var plainBytes = idem.Codec(
	func(v any) ([]byte, error) { return v.([]byte), nil },
	func(b []byte, v any) error {
		*v.(*[]byte) = bytes.Clone(b)
		return nil
	})

func TestCodec(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	for range 2 {
		if got, err := idem.Run(t.Context(), c, "k", counted(&ran, []byte{0, 255, '\n'}, nil), plainBytes); err != nil || !reflect.DeepEqual(got, []byte{0, 255, '\n'}) {
			t.Errorf("Run = %v, %v", got, err)
		}
	}
	if got := raw(t, c, "HGET", record, "result"); got != "\x00\xff\n" {
		t.Errorf("stored %q", got)
	}
	if _, err := idem.Run(t.Context(), c, "k", counted(&ran, 1, nil)); err == nil || ran.Load() != 1 {
		t.Errorf("a result of another type: %v, ran %d times, want an error and no run", err, ran.Load())
	}
}

// TestOtherFingerprint is scenario ID4.
func TestOtherFingerprint(t *testing.T) { everywhere(t, testOtherFingerprint) }

func testOtherFingerprint(t *testing.T, f servers.Flavor) {
	c, _ := setup(t, servers.Options{Flavor: f})
	var ran atomic.Int64
	type order struct {
		Item string `json:"item"`
		N    int    `json:"n"`
	}
	fn := counted(&ran, 5, nil)
	for _, same := range []any{order{"a", 2}, map[string]any{"n": 2, "item": "a"}, json.RawMessage(` {"n":2, "item":"a"}`)} {
		if got, err := idem.Run(t.Context(), c, "k", fn, idem.Fingerprint(same)); err != nil || got != 5 {
			t.Errorf("the same arguments as %T: %v, %v", same, got, err)
		}
	}
	for _, other := range []any{order{"a", 3}, order{"b", 2}, nil, "", []any{}, uint64(1 << 60), uint64(1<<60 + 1)} {
		_, err := idem.Run(t.Context(), c, "k", fn, idem.Fingerprint(other))
		var mm *idem.Error
		if !errors.Is(err, idem.ErrKeyMismatch) || !errors.As(err, &mm) || mm.Key != "k" || mm.Since.IsZero() {
			t.Errorf("other arguments %v: %v, want ErrKeyMismatch", other, err)
		}
	}
	if got, err := idem.Run(t.Context(), c, "k", fn); err != nil || got != 5 {
		t.Errorf("without a fingerprint: %v, %v", got, err)
	}
	if ran.Load() != 1 {
		t.Errorf("fn ran %d times, want once", ran.Load())
	}
	if _, err := idem.Run(t.Context(), c, "other", fn, idem.Fingerprint(func() {})); err == nil || ran.Load() != 1 {
		t.Errorf("a fingerprint that is no JSON: %v", err)
	}
	// Large integers that are one float64 are two fingerprints.
	if _, err := idem.Run(t.Context(), c, "big", fn, idem.Fingerprint(int64(1<<60))); err != nil {
		t.Fatal(err)
	}
	if _, err := idem.Run(t.Context(), c, "big", fn, idem.Fingerprint(int64(1<<60+1))); !errors.Is(err, idem.ErrKeyMismatch) {
		t.Errorf("2^60 and 2^60+1: %v, want a mismatch", err)
	}
}

func TestMismatchWhileItRuns(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run := startRun(t, c, idem.Fingerprint(1))
	_, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil }, idem.Fingerprint(2))
	if !errors.Is(err, idem.ErrKeyMismatch) {
		t.Errorf("Run: %v, want ErrKeyMismatch at once", err)
	}
	run.end()
}

// started is a Run of key k that waits in its fn.
type started struct {
	t      *testing.T
	ctx    context.Context // fn's
	cancel context.CancelFunc
	finish chan error // what fn returns
	wg     sync.WaitGroup
	got    int
	err    error
}

// startRun returns when fn has begun. fn heeds no context.
func startRun(t *testing.T, d command.Doer, opts ...idem.Option) *started {
	t.Helper()
	s := &started{t: t, finish: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	begun := make(chan struct{})
	s.wg.Go(func() {
		s.got, s.err = idem.Run(ctx, d, "k", func(ctx context.Context) (int, error) {
			s.ctx = ctx
			close(begun)
			return 42, <-s.finish
		}, opts...)
	})
	t.Cleanup(func() {
		select {
		case s.finish <- nil:
		default:
		}
		s.wg.Wait()
		cancel()
	})
	select {
	case <-begun:
	case <-time.After(10 * time.Second):
		t.Fatal("fn has not begun in 10 s")
	}
	return s
}

// end lets fn return 42 and checks that this is what Run returns.
func (s *started) end() {
	s.t.Helper()
	s.finish <- nil
	s.wg.Wait()
	if s.got != 42 || s.err != nil {
		s.t.Errorf("the runner got %v, %v, want 42", s.got, s.err)
	}
}

func TestNoWait(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run := startRun(t, c)
	_, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil }, idem.Wait(0))
	var busy *idem.Error
	if !errors.Is(err, idem.ErrInProgress) || !errors.As(err, &busy) || busy.Runner == "" || busy.Lease <= 0 || busy.Lease > 10*time.Second {
		t.Errorf("Run: %v, want ErrInProgress", err)
	}
	run.end()
}

func TestWaiterGetsTheResult(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run := startRun(t, c, idem.TTL(time.Second))
	var wg sync.WaitGroup
	var answered atomic.Int64
	for range 20 {
		wg.Go(func() {
			got, err := idem.Run(t.Context(), c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
			if got != 42 || err != nil {
				t.Errorf("a waiter got %v, %v, want 42", got, err)
			}
			answered.Add(1)
		})
	}
	// More than two TTLs: the renewals keep both the key and the waiters.
	timer := time.NewTimer(2500 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	if n := answered.Load(); n != 0 || run.ctx.Err() != nil {
		t.Errorf("%d waiters were answered while fn ran, its context is %v", n, run.ctx.Err())
	}
	run.end()
	wg.Wait()
}

func TestWaiterTakesOverAfterAnError(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run := startRun(t, c)
	var wg sync.WaitGroup
	var ran atomic.Int64
	for range 5 {
		wg.Go(func() {
			if got, err := idem.Run(t.Context(), c, "k", counted(&ran, 7, nil)); got != 7 || err != nil {
				t.Errorf("a waiter got %v, %v, want 7", got, err)
			}
		})
	}
	run.finish <- errPlain
	wg.Wait()
	run.wg.Wait()
	if ran.Load() != 1 || run.err != errPlain {
		t.Errorf("%d waiters ran, want one; the runner got %v", ran.Load(), run.err)
	}
}

func TestWaiterLeavesWithItsContext(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	run := startRun(t, c)
	bored := errors.New("bored")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, bored)
	defer cancel()
	_, err := idem.Run(ctx, c, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
	if !errors.Is(err, idem.ErrInProgress) || !errors.Is(err, bored) {
		t.Errorf("Run: %v, want ErrInProgress with the context's cause", err)
	}
	if run.ctx.Err() != nil {
		t.Error("the runner's context ended with the waiter")
	}
	run.end()
}

func TestForget(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	if err := idem.Forget(t.Context(), c, "k"); err != nil {
		t.Errorf("Forget of nothing: %v", err)
	}
	run := startRun(t, c)
	if err := idem.Forget(t.Context(), c, "k"); !errors.Is(err, idem.ErrInProgress) {
		t.Errorf("Forget of what runs: %v, want ErrInProgress", err)
	}
	run.end()
	if err := idem.Forget(t.Context(), c, "k"); err != nil {
		t.Errorf("Forget of what is done: %v", err)
	}
	var ran atomic.Int64
	if got, err := idem.Run(t.Context(), c, "k", counted(&ran, 1, nil)); got != 1 || err != nil {
		t.Errorf("after Forget: %v, %v", got, err)
	}
	if info, err := idem.Inspect(t.Context(), c, "nothing"); err != nil || !reflect.DeepEqual(info, idem.Info{State: "none"}) {
		t.Errorf("Inspect of nothing = %+v, %v", info, err)
	}
}

func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for i, ns := range []string{"a", "b", "a:b"} {
		var ran atomic.Int64
		if got, err := idem.Run(t.Context(), c, "k", counted(&ran, i, nil), idem.Namespace(ns)); got != i || err != nil {
			t.Errorf("namespace %s: %v, %v", ns, got, err)
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	for range 2 {
		if _, err := idem.Run(t.Context(), c, "k", counted(&ran, 1, nil), idem.Retention(50*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the record is gone", func() bool { return raw(t, c, "EXISTS", record) == "0" })
	}
	if ran.Load() != 2 {
		t.Errorf("fn ran %d times, want again after the retention", ran.Load())
	}
}

func TestBadOptionsAreErrors(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]idem.Option{
		"TTL": idem.TTL(time.Millisecond), "Retention": idem.Retention(0), "MaxResult": idem.MaxResult(0),
		"Wait": idem.Wait(-1), "Codec": idem.Codec(nil, json.Unmarshal), "Fingerprint": idem.Fingerprint(make(chan int)),
	} {
		// A nil Doer: nothing may be sent.
		if _, err := idem.Run(t.Context(), nil, "k", func(context.Context) (int, error) { t.Error("ran"); return 0, nil }, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestUnsafeServer is scenario XX1.
func TestUnsafeServer(t *testing.T) { everywhere(t, testUnsafeServer) }

func testUnsafeServer(t *testing.T, f servers.Flavor) {
	c, _ := setup(t, servers.Options{Flavor: f, Args: []string{"--maxmemory-policy", "allkeys-lru"}})
	var ran atomic.Int64
	_, err := idem.Run(t.Context(), c, "k", counted(&ran, 1, nil))
	var unsafe *idem.UnsafeServerError
	if !errors.As(err, &unsafe) || unsafe.Policy != "allkeys-lru" || ran.Load() != 0 {
		t.Errorf("Run: %v, ran %d times, want an *UnsafeServerError", err, ran.Load())
	}
	if got, err := idem.Run(t.Context(), c, "k", counted(&ran, 1, nil), idem.AllowEviction()); got != 1 || err != nil {
		t.Errorf("waived: %v, %v", got, err)
	}
}

// TestErrorsExplainThemselves: each error says what to do, and names the key.
func TestErrorsExplainThemselves(t *testing.T) {
	t.Parallel()
	for _, err := range []*idem.Error{
		{State: "running", Runner: "me", Err: errPlain},
		{State: "running", Runner: "me"},
		{State: "mismatch"},
		{State: "lost"},
		{State: "final", Reason: "no"},
		{State: "fenced", Reason: "expired", Err: errPlain},
		{State: "unsettled", Err: errPlain},
		{State: "unstored", Size: 3, Limit: 2},
		{State: "unstored", Err: errPlain},
		{State: "newer"},
	} {
		err.Key = "k1"
		if !strings.HasPrefix(err.Error(), "idem: k1") {
			t.Errorf("%s says %q", err.State, err)
		}
		if !strings.Contains(err.Explain(), "k1") || !strings.HasSuffix(err.Explain(), ".") {
			t.Errorf("%s explains %q", err.State, err.Explain())
		}
		if err.Err != nil && !errors.Is(err, errPlain) {
			t.Errorf("%s loses what it wraps", err.State)
		}
		of := 0
		for _, s := range []error{idem.ErrInProgress, idem.ErrKeyMismatch, idem.ErrIndeterminate, idem.ErrFailed, idem.ErrFenced, idem.ErrUnsettled, idem.ErrResultTooLarge} {
			if errors.Is(err, s) {
				of++
			}
		}
		if want := 1; of != want && err.State != "newer" && (err.State != "unstored" || err.Size > 0) {
			t.Errorf("%s is %d of the known errors, want %d", err.State, of, want)
		}
	}
}
