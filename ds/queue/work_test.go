package queue_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/internal/dstest"
)

func noDelay(int) time.Duration { return 0 }

func deadLetters[T any](t testing.TB, q *queue.Queue[T]) []queue.DeadJob {
	t.Helper()
	var out []queue.DeadJob
	for j, err := range q.Dead(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, j)
	}
	return out
}

// work runs handler until the queue has neither waiting nor running nor delayed
// jobs.
func workUntilEmpty[T any](t testing.TB, q *queue.Queue[T], handler queue.Handler[T], opts ...queue.Option) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := q.Work(ctx, handler, opts...); err != nil {
			t.Errorf("work: %v", err)
		}
	})
	defer wg.Wait()
	defer cancel()
	dstest.Eventually(t, 20*time.Second, "the queue is empty", func() bool {
		st := stats(t, q)
		return st.Waiting+st.Running+st.Delayed == 0
	})
}

func TestAFailedJobIsTriedAgainAndThenDead(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.MaxAttempts(3), queue.Backoff(noDelay))
	id, err := q.Enqueue(t.Context(), email{To: "a", Body: "b"})
	if err != nil {
		t.Fatal(err)
	}
	var attempts []int
	workUntilEmpty(t, q, func(_ context.Context, job *queue.Job[email]) error {
		if job.ID != id {
			t.Errorf("id %s became %s", id, job.ID)
		}
		attempts = append(attempts, job.Attempt)
		return errors.New("smtp says no")
	}, queue.Concurrency(1))
	if len(attempts) != 3 || attempts[0] != 1 || attempts[2] != 3 {
		t.Errorf("attempts %v", attempts)
	}
	dead := deadLetters(t, q)
	if len(dead) != 1 {
		t.Fatalf("%d dead letters", len(dead))
	}
	d := dead[0]
	if d.ID != id || d.Attempts != 3 || d.Cause != "smtp says no" || string(d.Payload) != `{"to":"a","body":"b"}` {
		t.Errorf("%+v %s", d, d.Payload)
	}
	if time.Since(d.Died).Abs() > time.Minute {
		t.Errorf("died %v", d.Died)
	}
	if n, err := q.Forget(t.Context(), dead...); n != 1 || err != nil {
		t.Errorf("forget: %d, %v", n, err)
	}
	if st := stats(t, q); st.Dead != 0 {
		t.Errorf("%+v", st)
	}
}

func TestARetryComesAtItsTimeByTheServersClock(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(20*time.Second))
	if _, err := q.Enqueue(t.Context(), email{To: "a"}); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time {
		v := dstest.Cmd(t, c, "TIME").Elems()
		return time.Unix(integer(t, v[0]), integer(t, v[1])*1000)
	}
	jobs, _ := consumer(t, q)
	job := receive(t, jobs, 5*time.Second)
	// A second consumer is idle and has computed how long it may sleep.
	others, _ := consumer(t, q)
	for _, delay := range []time.Duration{300 * time.Millisecond, 1500 * time.Millisecond, 0} {
		before := now()
		if err := job.Retry(t.Context(), delay); err != nil {
			t.Fatal(err)
		}
		after := now()
		attempt := job.Attempt
		select {
		case job = <-jobs:
		case job = <-others:
		case <-time.After(delay + 5*time.Second):
			t.Fatal("never")
		}
		came := now()
		if job.Attempt != attempt+1 {
			t.Errorf("attempt %d after %d", job.Attempt, attempt)
		}
		// The script's time lies between before and after, in ms rounded down.
		if came.Before(before.Truncate(time.Millisecond).Add(delay)) {
			t.Errorf("came %v after, delay %v", came.Sub(before), delay)
		}
		// Who was not told would look after five seconds.
		if late := came.Sub(after) - delay; late > 3*time.Second {
			t.Errorf("%v late", late)
		}
	}
	if err := job.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// takeOne starts a consumer that takes one job and then is busy until the end of
// the test: it asks for no other, even after that one has been settled.
func takeOne[T any](t testing.TB, q *queue.Queue[T]) *queue.Job[T] {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, done := make(chan *queue.Job[T], 1), make(chan struct{})
	go func() {
		defer close(done)
		for job, err := range q.Consume(ctx) {
			if err == nil {
				out <- job
				<-ctx.Done()
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return receive(t, out, 5*time.Second)
}

func TestARetryWakesAnIdleConsumerThatSleepsLonger(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(20*time.Second))
	if _, err := q.Enqueue(t.Context(), email{}); err != nil {
		t.Fatal(err)
	}
	job := takeOne(t, q)
	jobs, _ := consumer(t, q)
	dstest.Eventually(t, 5*time.Second, "the other sleeps, for five seconds", func() bool {
		return strings.Contains(dstest.Cmd(t, c, "INFO", "clients").Text(), "blocked_clients:1")
	})
	const delay = 700 * time.Millisecond
	start := time.Now()
	if err := job.Retry(t.Context(), delay); err != nil {
		t.Fatal(err)
	}
	again := receive(t, jobs, 10*time.Second)
	if took := time.Since(start); took < delay || took > 4*time.Second {
		t.Errorf("it came after %v, the delay is %v, and who was not told sleeps for 5s", took, delay)
	}
	if err := again.Ack(t.Context()); err != nil {
		t.Error(err)
	}
}

// gate is a Doer that holds BLPOP back until it is opened.
type gate struct {
	command.Doer
	reached, open chan struct{}
	once          sync.Once
}

func (g *gate) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	if r.Name() == "BLPOP" {
		g.once.Do(func() { close(g.reached) })
		<-g.open
	}
	return g.Doer.Do(ctx, r)
}

// A consumer found nothing and is about to sleep. In that moment a job comes, a
// retry becomes due soon, and a third consumer takes the job: with it, it must
// not take the word of the retry.
func TestWhoTakesAJobPassesTheWatchOn(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(20*time.Second))
	if _, err := q.Enqueue(t.Context(), email{}); err != nil {
		t.Fatal(err)
	}
	job := takeOne(t, q)
	g := &gate{Doer: c, reached: make(chan struct{}), open: make(chan struct{})}
	jobs, _ := consumer(t, queue.New[email](g, "email", queue.Visibility(20*time.Second), queue.AllowEviction()))
	<-g.reached
	if _, err := q.Enqueue(t.Context(), email{}); err != nil {
		t.Fatal(err)
	}
	const delay = 700 * time.Millisecond
	start := time.Now()
	if err := job.Retry(t.Context(), delay); err != nil {
		t.Fatal(err)
	}
	other := takeOne(t, q)
	close(g.open)
	again := receive(t, jobs, 10*time.Second)
	if took := time.Since(start); took < delay || took > 4*time.Second {
		t.Errorf("it came after %v, the delay is %v, and who was not told sleeps for 5s", took, delay)
	}
	for _, j := range []*queue.Job[email]{again, other} {
		if err := j.Ack(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestAPanicIsAFailedAttemptWithItsStack(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.MaxAttempts(1))
	if _, err := q.EnqueueMany(t.Context(), mails(3)); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	workUntilEmpty(t, q, func(context.Context, *queue.Job[email]) error {
		switch calls.Add(1) {
		case 1:
			panic("bad template")
		case 2:
			runtime.Goexit()
		}
		return nil
	}, queue.Concurrency(1))
	dead := deadLetters(t, q)
	if len(dead) != 2 {
		t.Fatalf("%d dead letters", len(dead))
	}
	if !strings.Contains(dead[0].Cause, "bad template") || !strings.Contains(dead[0].Cause, "work_test.go") {
		t.Errorf("cause %q", dead[0].Cause)
	}
	if !strings.Contains(dead[1].Cause, "ended its goroutine") {
		t.Errorf("cause %q", dead[1].Cause)
	}
	if calls.Load() != 3 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestAHandlerMaySettleItsJobItself(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.EnqueueMany(t.Context(), mails(3)); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	var errs atomic.Value
	workUntilEmpty(t, q, func(ctx context.Context, job *queue.Job[email]) error {
		switch calls.Add(1) {
		case 1:
			return job.Ack(ctx)
		case 2:
			return job.Dead(ctx, "no such user")
		case 3:
			return job.Retry(ctx, 0)
		}
		return nil
	}, queue.Concurrency(1), queue.OnError(func(err error) { errs.Store(err) }))
	if err := errs.Load(); err != nil {
		t.Error(err)
	}
	if n := calls.Load(); n != 4 {
		t.Errorf("%d calls", n)
	}
	if dead := deadLetters(t, q); len(dead) != 1 || dead[0].Cause != "no such user" {
		t.Errorf("%+v", dead)
	}
}

func TestWorkEndsGracefully(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.EnqueueMany(t.Context(), mails(50)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	running, release := make(chan struct{}, 50), make(chan struct{})
	var wg sync.WaitGroup
	var errs atomic.Value
	wg.Go(func() {
		err := q.Work(ctx, func(hctx context.Context, _ *queue.Job[email]) error {
			running <- struct{}{}
			<-release
			return hctx.Err() // the handler's context does not end with Work's
		}, queue.Concurrency(5), queue.OnError(func(err error) { errs.Store(err) }))
		if err != nil {
			t.Error(err)
		}
	})
	for range 5 {
		<-running
	}
	cancel()
	dstest.Eventually(t, 5*time.Second, "only what handlers run is still held", func() bool {
		st := stats(t, q)
		return st.Running == 5 && st.Waiting+st.Delayed == 45
	})
	close(release)
	wg.Wait()
	if err := errs.Load(); err != nil {
		t.Error(err)
	}
	if n := len(running); n != 0 {
		t.Errorf("%d handlers began after the end", n)
	}
	st := stats(t, q)
	if st.Waiting+st.Delayed != 45 || st.Running != 0 || st.Consumers != 0 {
		t.Errorf("%+v", st)
	}
}

func TestWorkHandsBackWhatItClaimedAhead(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.EnqueueMany(t.Context(), mails(5000)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var calls, most, limit atomic.Int64
	limit.Store(2000)
	wg.Go(func() {
		err := q.Work(ctx, func(_ context.Context, job *queue.Job[email]) error {
			most.Store(max(most.Load(), int64(job.Attempt)))
			for n := calls.Add(1); n > limit.Load(); sleep(t.Context(), time.Millisecond) {
			}
			return nil
		}, queue.Concurrency(5))
		if err != nil {
			t.Error(err)
		}
	})
	dstest.Eventually(t, 10*time.Second, "fast handlers have made it claim ahead", func() bool {
		if calls.Load() < limit.Load()+5 {
			return false
		}
		if stats(t, q).Running > 5 {
			return true
		}
		limit.Add(5) // it had just claimed for the handlers alone
		return false
	})
	cancel()
	dstest.Eventually(t, 5*time.Second, "only what handlers run is still held", func() bool { return stats(t, q).Running == 5 })
	done := limit.Load() + 5
	limit.Store(5000)
	wg.Wait()
	if st := stats(t, q); st.Waiting+st.Delayed != 5000-done || st.Running != 0 {
		t.Errorf("%+v", st)
	}
	workUntilEmpty(t, q, func(_ context.Context, job *queue.Job[email]) error {
		most.Store(max(most.Load(), int64(job.Attempt)))
		return nil
	})
	if n := most.Load(); n != 1 {
		t.Errorf("a job was charged %d attempts", n)
	}
}

func TestWorkSurvivesAServerThatIsAway(t *testing.T) {
	t.Parallel()
	s, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(time.Second))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	done := make(chan string, 10)
	var survived atomic.Int64
	wg.Go(func() {
		err := q.Work(ctx, func(_ context.Context, job *queue.Job[email]) error {
			done <- job.Data.To
			return nil
		}, queue.OnError(func(error) { survived.Add(1) }))
		if err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	if _, err := q.Enqueue(t.Context(), email{To: "before"}); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != "before" {
		t.Fatal(got)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	dstest.Eventually(t, 10*time.Second, "enqueue works again", func() bool {
		_, err := q.Enqueue(t.Context(), email{To: "after"})
		return err == nil
	})
	select {
	case got := <-done:
		if got != "after" {
			t.Error(got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the job after the restart was not worked on")
	}
	if n := survived.Load(); n > 50 {
		t.Errorf("OnError was told %d times", n)
	}
}
