package queue_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/internal/dstest"
)

func TestJobsComeInOrderWithTheirPayloads(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email {a}%", queue.Namespace("shop:eu"))
	want := mails(1203) // more than two steps of 500
	before := time.Now()
	ids, err := q.EnqueueMany(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for job, err := range q.Consume(ctx) {
		if err != nil {
			if n < len(want) {
				t.Error(err)
			}
			break
		}
		if job.Data != want[n] || job.ID != ids[n] || job.Attempt != 1 {
			t.Fatalf("job %d: %+v", n, job)
		}
		if d := job.Enqueued().Sub(before); d < -time.Second || d > time.Minute {
			t.Fatalf("enqueued at %v", job.Enqueued())
		}
		if err := job.Ack(ctx); err != nil {
			t.Fatal(err)
		}
		if n++; n == len(want) {
			cancel()
		}
	}
	if n != len(want) {
		t.Errorf("%d jobs", n)
	}
	for _, k := range dstest.Cmd(t, c, "KEYS", "*").Elems() {
		if !strings.HasPrefix(k.Text(), "{shop%3Aeu:queue:email %7Ba%7D%25}:") {
			t.Errorf("key %q", k.Text())
		}
	}
	if err := q.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := dstest.Int(t, c, "DBSIZE"); n != 0 {
		t.Errorf("%d keys after Delete", n)
	}
}

func TestNothingToEnqueueIsNoError(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if ids, err := q.EnqueueMany(t.Context(), nil); err != nil || len(ids) != 0 {
		t.Errorf("%v, %v", ids, err)
	}
}

// asleep is a client on which BLPOP ends with its context only, and says that it
// has begun.
type asleep struct {
	*redisx.Client
	begun chan struct{}
}

func (a *asleep) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	if r.Name() != "BLPOP" {
		return a.Client.Do(ctx, r)
	}
	a.begun <- struct{}{}
	<-ctx.Done()
	return command.Reply{}, &command.Error{Command: r.Name(), Phase: "read", Outcome: command.Maybe, Err: ctx.Err()}
}

func TestAnIdleConsumerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	d := &asleep{Client: c, begun: make(chan struct{})}
	var told atomic.Int64
	q := queue.New[email](d, "email", queue.OnError(func(err error) { told.Add(1) }))
	why := errors.New("enough")
	for range 20 {
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			<-d.begun
			cancel(why)
		})
		var last error
		for _, err := range q.Consume(ctx) {
			last = err
		}
		wg.Wait()
		if !errors.Is(last, why) {
			t.Errorf("last error %v", last)
		}
	}
	// A goodbye that the machine was too slow for is told.
	if st := stats(t, q); st.Consumers > told.Load() {
		t.Errorf("%+v, and %d errors", st, told.Load())
	}
}

func TestConsumeReturnsSoonAlsoWhenTheServerIsAway(t *testing.T) {
	t.Parallel()
	s, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.EnqueueMany(t.Context(), mails(2)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var at time.Time
	var last error
	for job, err := range q.Consume(ctx, queue.Concurrency(2)) {
		if last = err; err != nil {
			break
		}
		if err := job.Ack(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		at = time.Now()
		cancel() // one more has been fetched, and cannot be handed back
	}
	// The server's answer would be awaited for as long as the client's Timeout.
	if d := time.Since(at); d > 4*time.Second {
		t.Errorf("returned %v after", d)
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("last error %v", last)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
}

func TestConsumeHandsBackWhatItDidNotYield(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.EnqueueMany(t.Context(), mails(10)); err != nil {
		t.Fatal(err)
	}
	for job, err := range q.Consume(t.Context(), queue.Concurrency(10)) {
		if err != nil {
			t.Fatal(err)
		}
		if err := job.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
		break
	}
	if st := stats(t, q); st.Delayed != 9 || st.Running != 0 || st.Consumers != 0 {
		t.Errorf("%+v", st)
	}
	jobs, _ := consumer(t, q)
	for range 9 {
		job := receive(t, jobs, time.Second)
		if job.Attempt != 1 {
			t.Errorf("attempt %d", job.Attempt)
		}
		if err := job.Ack(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestAJobThatTheLoopLeavesUnsettledComesBack(t *testing.T) {
	t.Parallel()
	const visibility = 300 * time.Millisecond
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(visibility))
	if _, err := q.EnqueueMany(t.Context(), mails(2)); err != nil {
		t.Fatal(err)
	}
	var kept []*queue.Job[email]
	for job, err := range q.Consume(t.Context(), queue.Concurrency(2)) {
		if err != nil {
			t.Fatal(err)
		}
		if kept = append(kept, job); len(kept) == 2 {
			break
		}
	}
	if err := kept[0].Ack(t.Context()); err != nil {
		t.Errorf("within the visibility it can still be settled: %v", err)
	}
	jobs, _ := consumer(t, q)
	job := receive(t, jobs, visibility+time.Second)
	if job.ID != kept[1].ID || job.Attempt != 2 {
		t.Errorf("%+v", job)
	}
	if cause := context.Cause(kept[1].Context()); !errors.Is(cause, queue.ErrStaleDelivery) {
		t.Errorf("the old delivery's context: %v", cause)
	}
	if err := kept[1].Ack(t.Context()); !errors.Is(err, queue.ErrStaleDelivery) {
		t.Errorf("the old delivery's Ack: %v", err)
	}
	if err := job.Ack(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConsumeHoldsNoMoreThanConcurrency(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.EnqueueMany(t.Context(), mails(100)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	var out, most, n atomic.Int64
	for job, err := range q.Consume(ctx, queue.Concurrency(7)) {
		if err != nil {
			if n.Load() < 100 {
				t.Error(err)
			}
			break
		}
		most.Store(max(most.Load(), out.Add(1)))
		wg.Go(func() {
			sleep(ctx, time.Millisecond)
			out.Add(-1)
			if err := job.Ack(context.Background()); err != nil {
				t.Error(err)
			}
			if n.Add(1) == 100 {
				cancel()
			}
		})
	}
	if most.Load() > 7 || most.Load() < 2 {
		t.Errorf("%d jobs were out at once", most.Load())
	}
}

func TestSettlingTwice(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.Enqueue(t.Context(), email{}); err != nil {
		t.Fatal(err)
	}
	jobs, _ := consumer(t, q)
	job := receive(t, jobs, 5*time.Second)
	for range 3 {
		if err := job.Ack(t.Context()); err != nil {
			t.Errorf("ack after ack: %v", err)
		}
	}
	if !errors.Is(context.Cause(job.Context()), context.Canceled) {
		t.Errorf("the context of a settled job: %v", context.Cause(job.Context()))
	}
	if err := job.Retry(t.Context(), 0); err == nil || errors.Is(err, queue.ErrStaleDelivery) {
		t.Errorf("retry after ack: %v", err)
	}
	if err := job.Dead(t.Context(), "x"); err == nil {
		t.Error("dead after ack did nothing, without a word")
	}
	empty(t, c, "email")
}

// losing returns a client that loses the answers of one script, as many as the
// counter says.
func losing(c *redisx.Client, script *command.Script) (*dstest.Lossy, *atomic.Int64) {
	var left atomic.Int64
	return &dstest.Lossy{Client: c, Lose: func(r command.Request) bool {
		return dstest.Runs(r, script) && left.Add(-1) >= 0
	}}, &left
}

func TestAnAckWhoseAnswerWasLostCanBeRepeated(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	d, lose := losing(c, queue.AckScript)
	q := queue.New[email](d, "email")
	if _, err := q.Enqueue(t.Context(), email{}); err != nil {
		t.Fatal(err)
	}
	jobs, _ := consumer(t, q)
	job := receive(t, jobs, 5*time.Second)
	lose.Store(1)
	err := job.Ack(t.Context())
	if err == nil || command.SafeToRetry(err) || errors.Is(err, queue.ErrStaleDelivery) {
		t.Errorf("an ack without an answer: %v", err)
	}
	if err := job.Ack(t.Context()); err != nil {
		t.Errorf("the second ack: %v", err)
	}
	empty(t, c, "email")
}

func TestAHeartbeatDoesNotTakeALostAckForALostDelivery(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	d, lose := losing(c, queue.AckScript)
	var told atomic.Value
	q := queue.New[email](d, "email", queue.Visibility(3*time.Second), queue.OnError(func(err error) { told.Store(err) }))
	if _, err := q.Enqueue(t.Context(), email{}); err != nil {
		t.Fatal(err)
	}
	jobs, _ := consumer(t, q)
	job := receive(t, jobs, 5*time.Second)
	lose.Store(1)
	if err := job.Ack(t.Context()); err == nil {
		t.Fatal("an ack without an answer was taken for one with")
	}
	<-job.Context().Done() // the next heartbeat finds the job gone
	if cause := context.Cause(job.Context()); errors.Is(cause, queue.ErrStaleDelivery) {
		t.Errorf("cause %v", cause)
	}
	if err := job.Ack(t.Context()); err != nil {
		t.Errorf("the second ack: %v", err)
	}
	if err := told.Load(); err != nil {
		t.Error(err)
	}
}

func TestAnEnqueueWhoseAnswerWasLostIsNotRepeated(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	d, lose := losing(c, queue.EnqueueScript)
	q := queue.New[email](d, "email")
	lose.Store(1)
	_, err := q.Enqueue(t.Context(), email{})
	var e *command.Error
	if !errors.As(err, &e) || e.Outcome != command.Maybe || command.SafeToRetry(err) {
		t.Errorf("error %v", err)
	}
	if st := stats(t, q); st.Waiting != 1 {
		t.Errorf("%+v", st)
	}
}

func TestAClaimWhoseAnswerWasLostComesBackWhenTheConsumerEnds(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	d, lose := losing(c, queue.ClaimScript)
	q := queue.New[email](d, "email")
	if _, err := q.Enqueue(t.Context(), email{}); err != nil {
		t.Fatal(err)
	}
	lose.Store(1)
	for job, err := range q.Consume(t.Context()) {
		if err == nil {
			t.Fatalf("job %s was yielded", job.ID)
		}
		if st := stats(t, q); st.Running != 1 {
			t.Errorf("the claim took nothing: %+v", st)
		}
		break
	}
	jobs, _ := consumer(t, q) // long before the visibility of 30 s
	job := receive(t, jobs, 5*time.Second)
	if job.Attempt != 1 {
		t.Errorf("attempt %d: nobody has seen the one before", job.Attempt)
	}
	if err := job.Ack(t.Context()); err != nil {
		t.Error(err)
	}
}

// late is a client whose second claim has run, and is not answered yet, when the
// loop's context ends.
type late struct {
	*redisx.Client
	claims int
	cancel context.CancelFunc
}

func (l *late) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	reply, err := l.Client.Do(ctx, r)
	if err != nil || !dstest.Runs(r, queue.ClaimScript) {
		return reply, err
	}
	if l.claims++; l.claims == 2 {
		l.cancel()
		if ctx.Err() != nil {
			reply.Release()
			return command.Reply{}, &command.Error{Command: r.Name(), Phase: "read", Outcome: command.Maybe, Err: ctx.Err()}
		}
	}
	return reply, nil
}

func TestAClaimOnItsWayAtTheEndIsHandedBack(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	if _, err := queue.New[email](c, "email").EnqueueMany(t.Context(), mails(3)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	q := queue.New[email](&late{Client: c, cancel: cancel}, "email")
	var kept []*queue.Job[email]
	for job, err := range q.Consume(ctx, queue.Concurrency(4)) {
		if err != nil {
			break
		}
		kept = append(kept, job)
		if len(kept) == 3 {
			// One comes while the loop is out.
			if _, err := queue.New[email](c, "email").Enqueue(t.Context(), email{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if st := stats(t, q); len(kept) != 3 || st.Running != 3 || st.Delayed != 1 {
		t.Errorf("%d jobs are held; %+v", len(kept), st)
	}
	for _, job := range kept {
		if err := job.Ack(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestAServerThatEvictsIsRefused(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	q := queue.New[email](c, "email")
	_, err := q.Enqueue(t.Context(), email{})
	if err == nil || !strings.Contains(err.Error(), "allkeys-lru") {
		t.Errorf("enqueue: %v", err)
	}
	var explains interface{ Explain() string }
	if !errors.As(err, &explains) || explains.Explain() == "" {
		t.Errorf("%T explains nothing", err)
	}
	err = q.Work(t.Context(), func(context.Context, *queue.Job[email]) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "allkeys-lru") {
		t.Errorf("work: %v", err)
	}
	waived := queue.New[email](c, "email", queue.AllowEviction())
	if _, err := waived.Enqueue(t.Context(), email{}); err != nil {
		t.Errorf("waived: %v", err)
	}
}

func TestASecondGroupIsRefused(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.Enqueue(t.Context(), email{}); err != nil {
		t.Fatal(err)
	}
	jobs, _ := consumer(t, q, queue.Group("mailer"))
	if err := receive(t, jobs, 5*time.Second).Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mismatch *queue.MismatchError
	err := q.Work(t.Context(), func(context.Context, *queue.Job[email]) error { return nil }, queue.Group("audit"))
	if !errors.As(err, &mismatch) || mismatch.Field != "group" || mismatch.Got != "mailer" || mismatch.Explain() == "" {
		t.Errorf("%v", err)
	}
}

func TestAnotherSchemaIsRefused(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	dstest.Cmd(t, c, "HSET", "{redisx:queue:email}:meta", "kind", "queue", "schema", "2")
	q := queue.New[email](c, "email")
	var mismatch *queue.MismatchError
	if _, err := q.Enqueue(t.Context(), email{}); !errors.As(err, &mismatch) || mismatch.Got != "2" {
		t.Errorf("enqueue: %v", err)
	}
	mismatch = nil
	err := q.Work(t.Context(), func(context.Context, *queue.Job[email]) error { return nil })
	if !errors.As(err, &mismatch) || mismatch.Field != "schema" {
		t.Errorf("work: %v", err)
	}
	if n := dstest.Int(t, c, "EXISTS", "{redisx:queue:email}:jobs"); n != 0 {
		t.Error("something was written")
	}
}

func TestWrongOptionsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]queue.Option{
		"short visibility": queue.Visibility(time.Millisecond),
		"no attempts":      queue.MaxAttempts(0),
		"concurrency":      queue.Concurrency(-1),
		"no group":         queue.Group(""),
		"reserved group":   queue.Group("(delayed)"),
		"no codec":         queue.WithCodec(nil),
		"no backoff":       queue.Backoff(nil),
		"nobody to tell":   queue.OnError(nil),
	} {
		// A nil Doer: whatever is sent panics.
		q := queue.New[email](nil, "email", o)
		if _, err := q.Enqueue(t.Context(), email{}); err == nil {
			t.Errorf("%s: enqueue took it", name)
		}
		if err := q.Work(t.Context(), func(context.Context, *queue.Job[email]) error { return nil }); err == nil {
			t.Errorf("%s: work took it", name)
		}
	}
}

func TestAFullServerCanBeEmptied(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.MaxAttempts(2), queue.Backoff(noDelay))
	if _, err := q.EnqueueMany(t.Context(), mails(20)); err != nil {
		t.Fatal(err)
	}
	dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory", "1")
	if _, err := q.Enqueue(t.Context(), email{}); !command.IsCode(err, "OOM") {
		t.Errorf("enqueue: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var failed sync.Map
	errs := make(chan error, 1000)
	wg.Go(func() {
		err := q.Work(ctx, func(_ context.Context, job *queue.Job[email]) error {
			if job.Data.To == "user3@example.com" {
				return errors.New("never")
			}
			if _, again := failed.LoadOrStore(job.ID, true); !again {
				return errors.New("once")
			}
			return nil
		}, queue.OnError(func(err error) { errs <- err }), queue.Concurrency(2), queue.Visibility(time.Second), queue.MaxAttempts(3))
		if err != nil {
			t.Errorf("work: %v", err)
		}
	})
	defer wg.Wait()
	defer cancel()
	dstest.Eventually(t, 20*time.Second, "the queue is empty", func() bool {
		return dstest.Int(t, c, "XLEN", "{redisx:queue:email}:jobs") == 0
	})
	cancel()
	wg.Wait()
	close(errs)
	for err := range errs {
		if command.IsCode(err, "OOM") {
			t.Fatal(err)
		}
	}
}

func TestPickupIsByPushAndIdlingCostsNothing(t *testing.T) {
	t.Parallel()
	s, c := setup(t)
	producer := dstest.Connect(t, s)
	q := queue.New[email](c, "email")
	p := queue.New[email](producer, "email")
	jobs, _ := consumer(t, q)
	dstest.Eventually(t, 5*time.Second, "the consumer sleeps", func() bool {
		return strings.Contains(dstest.Cmd(t, producer, "INFO", "clients").Text(), "blocked_clients:1")
	})

	const idle = 6 * time.Second
	processed := func() int {
		for line := range strings.Lines(dstest.Cmd(t, producer, "INFO", "stats").Text()) {
			if v, ok := strings.CutPrefix(line, "total_commands_processed:"); ok {
				n, err := strconv.Atoi(strings.TrimSpace(v))
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		t.Fatal("no such statistic")
		return 0
	}
	before := processed()
	sleep(t.Context(), idle)
	if rate := float64(processed()-before-1) / idle.Seconds(); rate >= 5 {
		t.Errorf("an idle consumer costs %.1f commands/s", rate)
	} else {
		t.Logf("an idle consumer costs %.1f commands/s", rate)
	}

	const n = 300
	took := make([]time.Duration, 0, n)
	for range n {
		if _, err := p.Enqueue(t.Context(), email{}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		job := receive(t, jobs, 5*time.Second)
		took = append(took, time.Since(start))
		if err := job.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(took)
	p50, p99 := took[n/2], took[n*99/100]
	t.Logf("from enqueued to started: p50 %v, p99 %v", p50, p99)
	// The goal (2 ms and 20 ms) is for a machine of one's own. A wake-up that is
	// lost costs five seconds, on any.
	if slowest := took[n-1]; slowest > 4*time.Second {
		t.Errorf("the slowest took %v", slowest)
	}
}
