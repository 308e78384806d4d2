package queue_test

import (
	"context"
	"errors"
	"fmt"
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

const (
	jobsKey      = "{redisx:queue:email}:jobs"
	deadlinesKey = "{redisx:queue:email}:deadlines"
	tidiedKey    = "{redisx:queue:email}:tidied"
	wakeKey      = "{redisx:queue:email}:wake"
)

// countingCodec fails on payloads that begin with "bad", panics on "worse", and
// counts what it is asked to decode.
type countingCodec struct{ decoded atomic.Int64 }

func (c *countingCodec) Encode(v any) ([]byte, error) { return []byte(v.(string)), nil }

func (c *countingCodec) Decode(data []byte, v any) error {
	c.decoded.Add(1)
	switch {
	case strings.HasPrefix(string(data), "bad"):
		return errors.New("it is bad")
	case strings.HasPrefix(string(data), "worse"):
		panic("it is worse")
	}
	*v.(*string) = string(data)
	return nil
}

func TestAnUndecodablePayloadIsDeadAtOnceAndOthersGoOn(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	var told atomic.Int64
	q := queue.New[string](c, "email", queue.WithCodec(&countingCodec{}), queue.OnError(func(err error) {
		if strings.Contains(err.Error(), "undecodable") {
			told.Add(1)
		}
	}))
	if _, err := q.EnqueueMany(t.Context(), []string{"bad\x00\xff", "good", "worse", "fine"}); err != nil {
		t.Fatal(err)
	}
	// Someone else's entry, without a payload of ours.
	dstest.Cmd(t, c, "XADD", jobsKey, "*", "cause", "mine", "v", "bad")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	for job, err := range q.Consume(ctx) {
		if err != nil {
			break
		}
		got = append(got, job.Data)
		if err := job.Ack(ctx); err != nil {
			t.Fatal(err)
		}
		if len(got) == 2 {
			break
		}
	}
	if fmt.Sprint(got) != "[good fine]" {
		t.Errorf("got %q", got)
	}
	workUntilEmpty(t, q, func(context.Context, *queue.Job[string]) error { return nil })
	dead := deadLetters(t, q)
	if len(dead) != 3 {
		t.Fatalf("%d dead letters", len(dead))
	}
	for i, want := range []struct{ payload, cause string }{
		{"bad\x00\xff", "undecodable payload: it is bad"},
		{"worse", "undecodable payload: panic: it is worse"},
		{"bad", "undecodable payload: it is bad"},
	} {
		if string(dead[i].Payload) != want.payload || !strings.HasPrefix(dead[i].Cause, want.cause) || dead[i].Attempts != 1 {
			t.Errorf("%d: %+v", i, dead[i])
		}
	}
	if told.Load() != 3 {
		t.Errorf("OnError was told %d times", told.Load())
	}
}

func TestAJobThatTakesItsWorkersDownIsBuriedUnread(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	codec := &countingCodec{}
	q := queue.New[string](c, "email", queue.WithCodec(codec), queue.MaxAttempts(3), queue.Visibility(50*time.Millisecond))
	id, err := q.Enqueue(t.Context(), "poison")
	if err != nil {
		t.Fatal(err)
	}
	// Three workers that vanish: loops that end without a word.
	for attempt := 1; attempt <= 3; attempt++ {
		for job, err := range q.Consume(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if job.Attempt != attempt {
				t.Errorf("attempt %d, not %d", job.Attempt, attempt)
			}
			break
		}
	}
	if _, err := q.Enqueue(t.Context(), "next"); err != nil {
		t.Fatal(err)
	}
	// Also where there is no memory left: it is the poison that must go.
	dstest.Cmd(t, c, "CONFIG", "SET", "maxmemory", "1")
	before := codec.decoded.Load()
	workUntilEmpty(t, q, func(_ context.Context, job *queue.Job[string]) error {
		if job.Data != "next" {
			t.Errorf("job %q was delivered a fourth time", job.Data)
		}
		return nil
	}, queue.Visibility(20*time.Second)) // a delivery of "next" is not to lapse
	if n := codec.decoded.Load() - before; n != 1 {
		t.Errorf("%d payloads were decoded", n)
	}
	dead := deadLetters(t, q)
	if len(dead) != 1 || dead[0].ID != id || dead[0].Attempts != 3 || string(dead[0].Payload) != "poison" ||
		!strings.Contains(dead[0].Cause, "delivered 3 times") {
		t.Errorf("%+v", dead)
	}
}

// QU15: whatever becomes of the keys, nothing spins, and the queue goes on.
func TestTheQueueGoesOnWhenItsKeysDisappear(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	jobs, _ := consumer(t, q)
	for _, how := range [][]any{
		{"XGROUP", "DESTROY", jobsKey, "workers"},
		{"DEL", jobsKey},
		{"DEL", deadlinesKey},
		{"FLUSHALL"},
		{"SCRIPT", "FLUSH"},
	} {
		dstest.Eventually(t, 5*time.Second, "the consumer sleeps", func() bool {
			return strings.Contains(dstest.Cmd(t, c, "INFO", "clients").Text(), "blocked_clients:1")
		})
		dstest.Cmd(t, c, how[0].(string), how[1:]...)
		dstest.Cmd(t, c, "CONFIG", "RESETSTAT")
		sleep(t.Context(), time.Second)
		n := 0
		for line := range strings.Lines(dstest.Cmd(t, c, "INFO", "commandstats").Text()) {
			var calls int
			if _, rest, ok := strings.Cut(line, ":calls="); ok {
				if _, err := fmt.Sscanf(rest, "%d", &calls); err != nil {
					t.Fatal(err)
				}
			}
			n += calls
		}
		if n > 20 {
			t.Errorf("%v: %d commands in a second", how, n)
		}
		if _, err := q.Enqueue(t.Context(), email{To: fmt.Sprint(how)}); err != nil {
			t.Fatalf("%v: %v", how, err)
		}
		job := receive(t, jobs, 5*time.Second)
		if job.Data.To != fmt.Sprint(how) {
			t.Errorf("%v: got %v", how, job.Data)
		}
		if err := job.Ack(t.Context()); err != nil {
			t.Errorf("%v: %v", how, err)
		}
	}
}

func TestADestroyedGroupLosesNoJob(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(500*time.Millisecond))
	if _, err := q.EnqueueMany(t.Context(), mails(2)); err != nil {
		t.Fatal(err)
	}
	jobs, _ := consumer(t, q, queue.Concurrency(2))
	first := receive(t, jobs, 5*time.Second)
	dstest.Cmd(t, c, "XGROUP", "DESTROY", jobsKey, "workers")
	<-first.Context().Done()
	var stale *queue.StaleError
	if !errors.As(context.Cause(first.Context()), &stale) || stale.Reason == "clock" || stale.Explain() == "" {
		t.Errorf("cause %v", context.Cause(first.Context()))
	}
	if err := first.Ack(t.Context()); !errors.Is(err, queue.ErrStaleDelivery) {
		t.Errorf("ack: %v", err)
	}
	seen := map[string]bool{}
	deadline := time.Now().Add(10 * time.Second)
	for len(seen) < 2 && time.Now().Before(deadline) {
		job := receive(t, jobs, 5*time.Second)
		if err := job.Ack(t.Context()); err == nil {
			seen[job.ID] = true
		} else if !errors.Is(err, queue.ErrStaleDelivery) {
			t.Error(err)
		}
	}
	if !seen[first.ID] || len(seen) != 2 {
		t.Errorf("done: %v", seen)
	}
	if st := stats(t, q); st.Lost != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAJobDeletedByHandIsCountedAsLost(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(300*time.Millisecond))
	id, err := q.Enqueue(t.Context(), email{})
	if err != nil {
		t.Fatal(err)
	}
	jobs, _ := consumer(t, q)
	job := receive(t, jobs, 5*time.Second)
	dstest.Cmd(t, c, "XDEL", jobsKey, id)
	<-job.Context().Done()
	dstest.Eventually(t, 5*time.Second, "the loss is counted", func() bool { return stats(t, q).Lost == 1 })
	if err := job.Ack(t.Context()); !errors.Is(err, queue.ErrStaleDelivery) {
		t.Errorf("ack: %v", err)
	}
	if n := dstest.Int(t, c, "ZCARD", deadlinesKey); n != 0 {
		t.Errorf("%d deadlines are left", n)
	}
}

func TestAHeartbeatNeverSteals(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(3*time.Second))
	id, err := q.Enqueue(t.Context(), email{})
	if err != nil {
		t.Fatal(err)
	}
	jobs, _ := consumer(t, q)
	job := receive(t, jobs, 5*time.Second)
	dstest.Cmd(t, c, "XCLAIM", jobsKey, "workers", "somebody", 0, id)
	<-job.Context().Done() // the next heartbeat notices
	var stale *queue.StaleError
	if !errors.As(context.Cause(job.Context()), &stale) || stale.Reason != "taken" {
		t.Errorf("cause %v", context.Cause(job.Context()))
	}
	p := dstest.Cmd(t, c, "XPENDING", jobsKey, "workers", id, id, 1).Elems()[0].Elems()
	if p[1].Text() != "somebody" || integer(t, p[3]) != 2 {
		t.Errorf("the delivery is of %s, count %s", p[1].Text(), p[3].Text())
	}
	for what, err := range map[string]error{
		"ack":   job.Ack(t.Context()),
		"retry": job.Retry(t.Context(), 0),
		"dead":  job.Dead(t.Context(), "x"),
	} {
		if !errors.Is(err, queue.ErrStaleDelivery) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The same consumer, a later attempt: the owner alone is not enough.
func TestTheAttemptIsPartOfTheFence(t *testing.T) {
	t.Parallel()
	for _, settle := range []struct {
		name string
		do   func(context.Context, *queue.Job[email]) error
	}{
		{"ack", func(ctx context.Context, j *queue.Job[email]) error { return j.Ack(ctx) }},
		{"retry", func(ctx context.Context, j *queue.Job[email]) error { return j.Retry(ctx, 0) }},
		{"dead", func(ctx context.Context, j *queue.Job[email]) error { return j.Dead(ctx, "x") }},
	} {
		t.Run(settle.name, func(t *testing.T) {
			t.Parallel()
			_, c := setup(t)
			q := queue.New[email](c, "email", queue.Visibility(20*time.Second))
			id, err := q.Enqueue(t.Context(), email{})
			if err != nil {
				t.Fatal(err)
			}
			jobs, _ := consumer(t, q)
			job := receive(t, jobs, 5*time.Second)
			owner := dstest.Cmd(t, c, "XPENDING", jobsKey, "workers", id, id, 1).Elems()[0].Elems()[1].Text()
			dstest.Cmd(t, c, "XCLAIM", jobsKey, "workers", owner, 0, id) // attempt 2
			if err := settle.do(t.Context(), job); !errors.Is(err, queue.ErrStaleDelivery) {
				t.Errorf("%v", err)
			}
			if n := dstest.Int(t, c, "XLEN", jobsKey); n != 1 {
				t.Errorf("%d jobs are left", n)
			}
			if st := stats(t, q); st.Running != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// tidy runs the script as if a round were due and consumers were gone after a
// moment of silence. It returns what was forgotten and found.
func tidy(t testing.TB, c *redisx.Client) (forgotten, found int64) {
	t.Helper()
	dstest.Cmd(t, c, "DEL", tidiedKey)
	n, err := command.RunScript(t.Context(), c, queue.TidyScript, command.AsSlice(command.AsInt),
		[]string{jobsKey, deadlinesKey, "{redisx:queue:email}:meta", tidiedKey},
		command.Str("workers"), command.Int(50), command.Int(10_000), command.Int(50))
	if err != nil {
		t.Fatal(err)
	}
	return n[0], n[1]
}

func TestTidyingForgetsConsumersButNoDeliveries(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.EnqueueMany(t.Context(), mails(3)); err != nil {
		t.Fatal(err)
	}
	dstest.Cmd(t, c, "XGROUP", "CREATE", jobsKey, "workers", 0)
	dstest.Cmd(t, c, "XREADGROUP", "GROUP", "workers", "holder", "COUNT", 2, "STREAMS", jobsKey, ">")
	dstest.Cmd(t, c, "XGROUP", "CREATECONSUMER", jobsKey, "workers", "nobody")
	sleep(t.Context(), 100*time.Millisecond)
	if forgotten, _ := tidy(t, c); forgotten != 1 {
		t.Errorf("%d consumers were forgotten", forgotten)
	}
	if st := stats(t, q); st.Running != 2 || st.Consumers != 1 {
		t.Errorf("%+v", st)
	}
}

func TestTidyingFindsWhatLiesBehindBusyDeliveries(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	q := queue.New[email](c, "email")
	if _, err := q.EnqueueMany(t.Context(), mails(250)); err != nil {
		t.Fatal(err)
	}
	dstest.Cmd(t, c, "XGROUP", "CREATE", jobsKey, "workers", 0)
	dstest.Cmd(t, c, "XREADGROUP", "GROUP", "workers", "stranger", "COUNT", 250, "STREAMS", jobsKey, ">")
	sleep(t.Context(), 100*time.Millisecond)
	for round, want := range []int64{100, 100, 50, 0} {
		if _, found := tidy(t, c); found != want {
			t.Errorf("round %d found %d deliveries without a deadline, not %d", round, found, want)
		}
	}
}

func TestWorkersFindDeliveriesWithoutADeadline(t *testing.T) {
	t.Parallel()
	_, c := setup(t)
	const visibility = 100 * time.Millisecond
	q := queue.New[email](c, "email", queue.Visibility(visibility))
	if _, err := q.EnqueueMany(t.Context(), mails(150)); err != nil {
		t.Fatal(err)
	}
	dstest.Cmd(t, c, "XGROUP", "CREATE", jobsKey, "workers", 0)
	// Another client's doing: 150 deliveries without a deadline.
	dstest.Cmd(t, c, "XREADGROUP", "GROUP", "workers", "stranger", "COUNT", 150, "STREAMS", jobsKey, ">")
	sleep(t.Context(), 2*visibility)
	var seen sync.Map
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := q.Work(ctx, func(_ context.Context, job *queue.Job[email]) error {
			seen.Store(job.ID, true)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	count := func() int {
		n := 0
		seen.Range(func(any, any) bool { n++; return true })
		return n
	}
	dstest.Eventually(t, 5*time.Second, "the first hundred are found", func() bool { return count() >= 100 })
	cancel()
	wg.Wait()
	dstest.Cmd(t, c, "DEL", tidiedKey) // as if the time had passed
	workUntilEmpty(t, q, func(_ context.Context, job *queue.Job[email]) error {
		seen.Store(job.ID, true)
		return nil
	})
	if n := count(); n != 150 {
		t.Errorf("%d jobs were done", n)
	}
}
