package demo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redisx/redisx/ds/queue"
)

const (
	mails      = 60
	bounced    = 7  // fails once, then goes through
	poison     = 13 // fails every time
	attempts   = 5
	visibility = time.Second
	perWorker  = 2 // jobs at once
)

// email is a job.
type email struct {
	N  int    `json:"n"`
	To string `json:"to"`
}

func (s *stage) queue() *queue.Queue[email] {
	return queue.New[email](s.client, "email", queue.Namespace(s.namespace), queue.Visibility(visibility),
		queue.MaxAttempts(attempts), queue.Backoff(func(int) time.Duration { return 300 * time.Millisecond }))
}

// playQueue lets three workers send mails and kills one that has a job.
func playQueue(ctx context.Context, s *stage) ([]Verdict, error) {
	q := s.queue()
	jobs := make([]email, mails)
	for i := range jobs {
		jobs[i] = email{N: i + 1, To: fmt.Sprintf("user-%d@example.org", i+1)}
	}
	if _, err := q.EnqueueMany(ctx, jobs); err != nil {
		return nil, err
	}
	s.say.say("%d mails are queued; one will bounce once, one always", mails)
	var workers []*process
	for _, name := range []string{"mailer-1", "mailer-2", "mailer-3"} {
		p, err := s.start(ctx, "mailer", name)
		if err != nil {
			return nil, err
		}
		defer p.end()
		workers = append(workers, p)
	}
	victim := workers[1]
	for range 3 {
		if _, err := victim.expect(ctx, "sending", 5*time.Second); err != nil {
			return nil, err
		}
	}
	victim.kill()
	s.say.say("mailer-2 is killed (kill -9) in the middle of a job; others get it %v later", visibility)
	if err := s.untilSettled(ctx, q); err != nil {
		return nil, err
	}
	return judgeQueue(ctx, s, q)
}

// untilSettled waits until nothing is waiting, running or delayed.
func (s *stage) untilSettled(ctx context.Context, q *queue.Queue[email]) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		st, err := q.Stats(ctx)
		if err != nil {
			return err
		}
		if st.Waiting == 0 && st.Running == 0 && st.Delayed == 0 {
			s.say.say("the queue is empty; %d dead letter", st.Dead)
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// judgeQueue counts, for every mail, how often it was sent: the workers count
// in a hash, field by field.
func judgeQueue(ctx context.Context, s *stage, q *queue.Queue[email]) ([]Verdict, error) {
	counts, err := s.client.HGetAll(ctx, s.key("sent"))
	if err != nil {
		return nil, err
	}
	sent, twice := map[int]int{}, 0
	for mail, count := range counts {
		n, err1 := strconv.Atoi(mail)
		times, err2 := strconv.Atoi(count)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		sent[n] = times
		twice += times - 1
	}
	tries, err := s.number(ctx, s.key("bounced"))
	if err != nil {
		return nil, err
	}
	st, err := q.Stats(ctx)
	if err != nil {
		return nil, err
	}
	return []Verdict{
		{"queue", "no job is lost", fmt.Sprintf("%d of %d mails sent", len(sent), mails-1), len(sent) == mails-1 && sent[poison] == 0},
		{"queue", "only jobs of the killed worker may run twice", fmt.Sprintf("%d sent twice, it had at most %d", twice, perWorker), twice <= perWorker},
		{"queue", "the failed job was retried", fmt.Sprintf("mail %d: %d bounce, then sent", bounced, tries), tries == 1 && sent[bounced] >= 1},
		{"queue", "the poison job is a dead letter", fmt.Sprintf("%d dead, %d pending", st.Dead, st.Running), st.Dead == 1 && st.Running == 0 && st.Waiting == 0},
	}, nil
}

// mail is the role of a worker: it sends mails until it is told to end.
func (w *Worker) mail(ctx context.Context) error {
	s := w.stage()
	err := s.queue().Work(ctx, func(ctx context.Context, job *queue.Job[email]) error {
		n := strconv.Itoa(job.Data.N)
		w.say(line{Event: "sending", Job: n, Attempt: job.Attempt})
		switch {
		case job.Data.N == poison:
			return errors.New("no such mailbox")
		case job.Data.N == bounced:
			// The first to try, whatever the attempt: one may have been killed.
			first, err := s.client.SetNX(ctx, s.key("bounced"), "1")
			if err != nil {
				return err
			}
			if first {
				return errors.New("mailbox is full")
			}
		}
		select {
		case <-time.After(60 * time.Millisecond): // the mail server's time
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		_, err := s.client.HIncrBy(ctx, s.key("sent"), n, 1)
		return err
	}, queue.Concurrency(perWorker))
	if ctx.Err() != nil {
		return nil
	}
	return err
}
