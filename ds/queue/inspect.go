package queue

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// Stats counts the jobs of a queue by state, at one moment of the server.
type Stats struct {
	Waiting   int64 // enqueued, never delivered
	Running   int64 // delivered, or past their deadline and not yet taken over
	Delayed   int64 // due again later, or handed back
	Dead      int64 // dead letters
	Lost      int64 // jobs whose stream entry somebody deleted under a delivery, ever
	Consumers int64 // consumers that have had a delivery, dead ones for a minute or two included
}

// Stats counts the queue's jobs.
func (q *Queue[T]) Stats(ctx context.Context) (Stats, error) {
	k := q.core.keys
	n, err := command.RunScript(ctx, q.core.d, statsScript, command.AsSlice(command.AsInt),
		[]string{k.jobs, k.dead, k.meta}, command.Str(q.core.cfg.group))
	if err == nil && len(n) != 6 {
		err = errShape
	}
	if err != nil {
		return Stats{}, q.core.failed("stats", err)
	}
	return Stats{Waiting: n[0], Running: n[1], Delayed: n[2], Dead: n[3], Lost: n[4], Consumers: n[5]}, nil
}

// DeadJob is a dead letter.
type DeadJob struct {
	ID       string    // the job's id
	Attempts int       // how often it was delivered
	Cause    string    // why it is dead: the last error, a panic with its stack, or what the queue found
	Died     time.Time // when, by the server's clock
	Payload  []byte    // as it was enqueued, encoded

	entry string // in the stream of dead letters
}

// deadPage is how many dead letters are read at a time.
const deadPage = 100

// Dead yields the dead letters, oldest first. Those that come while the loop
// runs are among them. An error is the last that is yielded.
func (q *Queue[T]) Dead(ctx context.Context) iter.Seq2[DeadJob, error] {
	return func(yield func(DeadJob, error) bool) {
		from := "-"
		for {
			page, err := q.core.deadAfter(ctx, from)
			if err != nil {
				yield(DeadJob{}, q.core.failed("dead", err))
				return
			}
			for _, j := range page {
				if !yield(j, nil) {
					return
				}
			}
			if len(page) < deadPage {
				return
			}
			from = "(" + page[len(page)-1].entry
		}
	}
}

func (c *core) deadAfter(ctx context.Context, from string) ([]DeadJob, error) {
	r := command.NewRequest(xrangeSpec, command.Str(c.keys.dead), command.Str(from), command.Str("+"),
		command.Str("COUNT"), command.Int(deadPage))
	return command.Do(ctx, c.d, command.New(r, command.AsSlice(asDead)))
}

func asDead(v resp3.View) (DeadJob, error) {
	c := v.Cursor()
	id, ok1 := c.Next()
	fields, ok2 := c.Next()
	if !ok1 || !ok2 {
		return DeadJob{}, errShape
	}
	entry, err := id.Str()
	if err != nil {
		return DeadJob{}, err
	}
	j := DeadJob{entry: entry, Died: idTime(entry)}
	seen := map[string]bool{}
	for f := fields.Cursor(); ; {
		name, ok1 := f.Next()
		value, ok2 := f.Next()
		if !ok1 || !ok2 {
			return j, nil
		}
		// The queue's own fields come first; the entry's may have any name.
		key := name.Text()
		if seen[key] {
			continue
		}
		seen[key] = true
		switch key {
		case "job":
			j.ID = value.Text()
		case "attempts":
			if j.Attempts, err = strconv.Atoi(value.Text()); err != nil {
				return j, fmt.Errorf("attempts of %s: %w", entry, err)
			}
		case "cause":
			j.Cause = value.Text()
		case "v":
			j.Payload = append([]byte{}, value.Bytes()...)
		}
	}
}

// Forget removes dead letters for good. It returns how many there were.
func (q *Queue[T]) Forget(ctx context.Context, jobs ...DeadJob) (int, error) {
	if len(jobs) == 0 {
		return 0, nil
	}
	r := command.NewRequest(xdelSpec, command.Str(q.core.keys.dead))
	for _, j := range jobs {
		r.Add(command.Str(j.entry))
	}
	n, err := command.Do(ctx, q.core.d, command.New(r, command.AsInt))
	if err != nil {
		return 0, q.core.failed("forget", err)
	}
	return int(n), nil
}

// Delete removes the queue with everything in it: jobs, dead letters, group. A
// job that is being worked on then ends as stale ("gone"). A consumer that is
// still there makes the queue anew.
func (q *Queue[T]) Delete(ctx context.Context) error {
	k := q.core.keys
	r := command.NewRequest(unlinkSpec, command.Str(k.jobs), command.Str(k.deadlines), command.Str(k.wake),
		command.Str(k.dead), command.Str(k.meta), command.Str(k.tidied))
	if _, err := command.Do(ctx, q.core.d, command.New(r, command.AsInt)); err != nil {
		return q.core.failed("delete", err)
	}
	return nil
}
