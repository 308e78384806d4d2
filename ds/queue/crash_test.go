package queue_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/internal/dstest"
)

// QU1: workers are killed and replaced all the time, and every job is done.
func TestEveryJobIsDoneWhateverDies(t *testing.T) {
	jobs, killEvery := 10_000, time.Second
	if dstest.Long {
		jobs, killEvery = 100_000, 2*time.Second
	}
	const visibility = 3 * time.Second
	s, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(visibility))
	ids, err := q.EnqueueMany(t.Context(), mails(jobs))
	if err != nil {
		t.Fatal(err)
	}
	env := workerEnv(visibility, 8, 20*time.Millisecond)
	workers := make([]*exec.Cmd, 8)
	for i := range workers {
		workers[i] = dstest.Process(t, "worker", s.URL(), env...)
	}
	start := time.Now()
	kills, inFlight := 0, int64(0)
	kill := time.NewTicker(killEvery)
	defer kill.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for st := stats(t, q); st.Waiting+st.Running+st.Delayed > 0; st = stats(t, q) {
		if time.Since(start) > 3*time.Minute {
			t.Fatalf("not empty after %v: %+v", time.Since(start), st)
		}
		select {
		case <-kill.C:
			i := rand.IntN(len(workers))
			if pending(t, c, workers[i], jobsKey, "workers") == 0 {
				continue // it has only just been started
			}
			dstest.Kill(workers[i])
			inFlight += pending(t, c, workers[i], jobsKey, "workers")
			kills++
			workers[i] = dstest.Process(t, "worker", s.URL(), env...)
		case <-look.C:
		}
	}
	took := time.Since(start)
	// What wakes idle workers goes when one of them has looked.
	dstest.Eventually(t, 30*time.Second, "all are idle", func() bool { return dstest.Int(t, c, "EXISTS", wakeKey) == 0 })
	for _, w := range workers {
		dstest.Kill(w)
	}

	done := map[string]int64{}
	f := dstest.Cmd(t, c, "HGETALL", "done").Elems()
	for i := 0; i+1 < len(f); i += 2 {
		done[f[i].Text()] = integer(t, f[i+1])
	}
	lost, duplicates := 0, int64(0)
	for _, id := range ids {
		if done[id] == 0 {
			lost++
		}
		duplicates += max(done[id]-1, 0)
	}
	// On a machine that stops a worker for a visibility, its deliveries lapse.
	v, err := c.Cmd(t.Context(), "GET", "stale")
	if err != nil {
		t.Fatal(err)
	}
	lapsed, _ := v.Int()
	t.Logf("%d jobs in %v, %d kills, %d in flight at them, %d done twice, %d lapsed", jobs, took.Round(time.Millisecond), kills, inFlight, duplicates, lapsed)
	if lost > 0 {
		t.Errorf("%d jobs were not done", lost)
	}
	if len(done) != jobs {
		t.Errorf("%d jobs were done, of %d", len(done), jobs)
	}
	if duplicates > inFlight+lapsed {
		t.Errorf("%d duplicates, and only %d were in flight when workers died", duplicates, inFlight)
	}
	if kills == 0 || inFlight == 0 {
		t.Errorf("%d kills hit %d deliveries: too quiet a run to show anything", kills, inFlight)
	}
	if st := stats(t, q); st.Dead != 0 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
	empty(t, c, "email")
}

// QU2: a handler may take many times the visibility.
func TestHeartbeatsKeepALongJob(t *testing.T) {
	t.Parallel()
	takes := 5 * time.Second
	if dstest.Long {
		takes = 10 * time.Second
	}
	_, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(2*time.Second))
	id, err := q.Enqueue(t.Context(), email{To: "a"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var deliveries atomic.Int64
	var wg sync.WaitGroup
	for range 2 { // one works, the other waits for it to falter
		wg.Go(func() {
			err := q.Work(ctx, func(hctx context.Context, _ *queue.Job[email]) error {
				defer cancel()
				deliveries.Add(1)
				sleep(hctx, takes)
				p := dstest.Cmd(t, c, "XPENDING", jobsKey, "workers", id, id, 1).Elems()
				if len(p) != 1 {
					t.Errorf("%d deliveries pending", len(p))
				} else if n := integer(t, p[0].Elems()[3]); n != 1 {
					t.Errorf("delivery count %d", n)
				}
				return hctx.Err()
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := deliveries.Load(); n != 1 {
		t.Errorf("%d deliveries", n)
	}
	empty(t, c, "email")
}

// QU3: what a dead worker held is delivered again in visibility … visibility + 1 s.
func TestADeadWorkersJobComesBackInTime(t *testing.T) {
	t.Parallel()
	const visibility = 3 * time.Second
	s, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(visibility))
	id, err := q.Enqueue(t.Context(), email{To: "a"})
	if err != nil {
		t.Fatal(err)
	}
	p := dstest.Process(t, "paused", s.URL(), workerEnv(visibility, 1, 0)...)
	dstest.Eventually(t, 20*time.Second, "the child takes the job", func() bool {
		return dstest.Int(t, c, "EXISTS", "taken") == 1
	})
	jobs, _ := consumer(t, q) // idle before the death, as others are
	before := time.Now()
	dstest.Kill(p)
	// The last heartbeat counts.
	due, err := strconv.ParseInt(dstest.Cmd(t, c, "ZSCORE", deadlinesKey, id).Text(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	job := receive(t, jobs, visibility+5*time.Second)
	took, now := time.Since(before), dstest.Cmd(t, c, "TIME").Elems()
	t.Logf("delivered again %v after the death", took.Round(time.Millisecond))
	if job.Attempt != 2 {
		t.Errorf("attempt %d", job.Attempt)
	}
	if at := integer(t, now[0])*1000 + integer(t, now[1])/1000; at < due {
		t.Errorf("delivered again at %d ms, and the deadline was %d", at, due)
	}
	if took > visibility+time.Second {
		t.Errorf("delivered again after %v, visibility is %v", took, visibility)
	}
	if err := job.Ack(t.Context()); err != nil {
		t.Error(err)
	}
}

// QU5: a consumer that was paused past its visibility finds its delivery stale,
// and the job of the next one unharmed.
func TestAPausedConsumersAckIsRefused(t *testing.T) {
	t.Parallel()
	const visibility = 2 * time.Second
	s, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(visibility))
	if _, err := q.Enqueue(t.Context(), email{To: "a"}); err != nil {
		t.Fatal(err)
	}
	p := dstest.Process(t, "paused", s.URL(), workerEnv(visibility, 1, 0)...)
	dstest.Eventually(t, 20*time.Second, "the child takes the job", func() bool {
		return dstest.Int(t, c, "EXISTS", "taken") == 1
	})
	if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	jobs, _ := consumer(t, q)
	job := receive(t, jobs, visibility+2*time.Second)
	dstest.Cmd(t, c, "RPUSH", "go", "1")
	if err := p.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	report := dstest.Cmd(t, c, "LRANGE", "report", 0, -1).Elems()
	if len(report) != 3 {
		t.Fatalf("report %v", report)
	}
	t.Log(report[2].Text())
	if report[0].Text() != "true" {
		t.Error("the paused consumer's context had not ended with ErrStaleDelivery")
	}
	if report[1].Text() != "true" {
		t.Error("the paused consumer's Ack did not return ErrStaleDelivery")
	}
	if err := job.Context().Err(); err != nil {
		t.Errorf("the other consumer's delivery ended: %v", context.Cause(job.Context()))
	}
	if job.Attempt != 2 {
		t.Errorf("attempt %d", job.Attempt)
	}
	if err := job.Ack(t.Context()); err != nil {
		t.Errorf("the other consumer's Ack: %v", err)
	}
	if st := stats(t, q); st.Waiting+st.Running+st.Delayed != 0 {
		t.Errorf("%+v", st)
	}
}

// The same within one process, where the window can be watched: the context
// ends before anyone else may have the job.
func TestTheContextEndsBeforeTheServerGivesTheJobAway(t *testing.T) {
	t.Parallel()
	const visibility = time.Second
	s, c := setup(t)
	q := queue.New[email](c, "email", queue.Visibility(visibility))
	if _, err := q.Enqueue(t.Context(), email{To: "a"}); err != nil {
		t.Fatal(err)
	}
	jobs, _ := consumer(t, q)
	job := receive(t, jobs, 5*time.Second)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	dstest.EndsWithin(t, job.Context(), time.Now(), visibility) // after the last sign of the server
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	var stale *queue.StaleError
	if !errors.As(context.Cause(job.Context()), &stale) || stale.Reason != "expired" || stale.ID != job.ID {
		t.Errorf("cause %v", context.Cause(job.Context()))
	}
	dstest.Eventually(t, 5*time.Second, "the job is acknowledged late, or somebody else has it", func() bool {
		err := job.Ack(t.Context())
		return err == nil || errors.Is(err, queue.ErrStaleDelivery)
	})
}
