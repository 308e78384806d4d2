package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/internal/servers"
)

// Settings of a child process.
const (
	urlEnv         = "REDISX_QUEUE_URL"
	visibilityEnv  = "REDISX_QUEUE_VISIBILITY"
	concurrencyEnv = "REDISX_QUEUE_CONCURRENCY"
	workEnv        = "REDISX_QUEUE_WORK"
)

// process is a worker in a process of its own.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// spawn starts this test binary in a role. It is killed when the test ends.
func spawn(t testing.TB, s *servers.Server, role string, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], "-test.run=^$"), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), append(env, roleEnv+"="+role, urlEnv+"="+s.URL())...)
	p.cmd.Stderr = os.Stderr
	// The child ends when this pipe does, so also when the test is killed.
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		defer stdin.Close()
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

// kill is kill -9, and the wait for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// pending returns how many deliveries the group holds for the process.
func (p *process) pending(t testing.TB, c *redisx.Client, jobs, group string) int64 {
	t.Helper()
	mark := fmt.Sprintf("-%d-", p.cmd.Process.Pid)
	n := int64(0)
	for _, con := range cmd(t, c, "XINFO", "CONSUMERS", jobs, group).Elems() {
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

// child is main of such a process.
func child(role string) int {
	ctx := context.Background()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(2)
	}()
	c, err := redisx.Connect(ctx, os.Getenv(urlEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	defer c.Close()
	visibility, err1 := time.ParseDuration(os.Getenv(visibilityEnv))
	concurrency, err2 := strconv.Atoi(os.Getenv(concurrencyEnv))
	work, err3 := time.ParseDuration(os.Getenv(workEnv))
	if err := errors.Join(err1, err2, err3); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	q := queue.New[email](c, "email", queue.Visibility(visibility), queue.Concurrency(concurrency), queue.MaxAttempts(1000))
	switch role {
	case "worker":
		err = q.Work(ctx, func(ctx context.Context, job *queue.Job[email]) error {
			sleep(ctx, work)
			return mark(ctx, c, "done", job)
		})
	case "paused":
		err = takeOneAndWait(ctx, c, q)
	default:
		err = errors.New("no such role: " + role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
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
