package queue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/internal/dstest"
)

// Settings of a child process.
const (
	visibilityEnv  = "REDISX_TEST_QUEUE_VISIBILITY"
	concurrencyEnv = "REDISX_TEST_QUEUE_CONCURRENCY"
	workEnv        = "REDISX_TEST_QUEUE_WORK"
)

var roles = dstest.Roles{
	"worker": child(func(ctx context.Context, c *redisx.Client, q *queue.Queue[email]) error {
		work, err := time.ParseDuration(os.Getenv(workEnv))
		if err != nil {
			return err
		}
		return q.Work(ctx, func(ctx context.Context, job *queue.Job[email]) error {
			sleep(ctx, work)
			return mark(ctx, c, "done", job)
		}, queue.OnError(func(err error) {
			if errors.Is(err, queue.ErrStaleDelivery) {
				_, _ = c.Cmd(ctx, "INCR", "stale")
			}
		}))
	}),
	"paused": child(takeOneAndWait),
}

// child is main of such a process.
func child(do func(ctx context.Context, c *redisx.Client, q *queue.Queue[email]) error) func(url string) int {
	return func(url string) int {
		ctx := context.Background()
		c, err := redisx.Connect(ctx, url)
		if err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			return 1
		}
		defer c.Close()
		visibility, err1 := time.ParseDuration(os.Getenv(visibilityEnv))
		concurrency, err2 := strconv.Atoi(os.Getenv(concurrencyEnv))
		if err = errors.Join(err1, err2); err == nil {
			err = do(ctx, c, queue.New[email](c, "email", queue.Visibility(visibility), queue.Concurrency(concurrency), queue.MaxAttempts(1000)))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			return 1
		}
		return 0
	}
}

// pending returns how many deliveries the group holds for a process.
func pending(t testing.TB, c *redisx.Client, p *exec.Cmd, jobs, group string) int64 {
	t.Helper()
	mark := fmt.Sprintf("-%d-", p.Process.Pid)
	n := int64(0)
	for _, con := range dstest.Cmd(t, c, "XINFO", "CONSUMERS", jobs, group).Elems() {
		f := con.Elems()
		for i := 0; i+1 < len(f); i += 2 {
			if f[i].Text() == "name" && !strings.Contains(f[i+1].Text(), mark) {
				break
			}
			if f[i].Text() == "pending" {
				n += integer(t, f[i+1])
			}
		}
	}
	return n
}

// mark is a job's effect: the ledger counts how often each was done.
func mark(ctx context.Context, c *redisx.Client, ledger string, job *queue.Job[email]) error {
	_, err := c.Cmd(ctx, "HINCRBY", ledger, job.ID, 1)
	return err
}

// takeOneAndWait takes a job, waits until the list "go" has an element, and
// reports what has become of the delivery: whether its context had ended at the
// first look, with which cause, and what Ack says.
func takeOneAndWait(ctx context.Context, c *redisx.Client, q *queue.Queue[email]) error {
	for job, err := range q.Consume(ctx) {
		if err != nil {
			return err
		}
		if _, err := c.Cmd(ctx, "SET", "taken", job.Attempt); err != nil {
			return err
		}
		// Busy, without looking at the context, and so also over the pause.
		for ended := false; !ended; {
			v, err := c.Cmd(ctx, "LLEN", "go")
			if err != nil {
				return err
			}
			n, _ := v.Int()
			ended = n > 0
		}
		cause := context.Cause(job.Context())
		ack := job.Ack(ctx)
		_, err := c.Cmd(ctx, "RPUSH", "report", fmt.Sprint(errors.Is(cause, queue.ErrStaleDelivery)),
			fmt.Sprint(errors.Is(ack, queue.ErrStaleDelivery)), fmt.Sprint(cause, "; ", ack))
		return err
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func workerEnv(visibility time.Duration, concurrency int, work time.Duration) []string {
	return []string{
		visibilityEnv + "=" + visibility.String(),
		concurrencyEnv + "=" + strconv.Itoa(concurrency),
		workEnv + "=" + work.String(),
	}
}
