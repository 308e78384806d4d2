package queue

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Job is one delivery of a job. It may be used by many goroutines.
type Job[T any] struct {
	// Data is the payload.
	Data T
	// ID is the job's id, the same in every delivery.
	ID string
	// Attempt is the number of this delivery, from 1.
	Attempt int

	d *delivery
}

// Context returns the context to work under. It ends when the delivery does:
// with a *StaleError as its cause when the delivery is lost or can no longer be
// trusted to be ours, which is before the server gives the job to anyone else,
// and with context.Canceled when it is settled. It has the values of the
// context that Consume or Work was given, but does not end with it.
func (j *Job[T]) Context() context.Context { return j.d.ctx }

// Enqueued returns when the job was enqueued, by the server's clock, in whole
// milliseconds.
func (j *Job[T]) Enqueued() time.Time { return idTime(j.ID) }

// Ack says that the job is done; it leaves the queue. A *StaleError
// (errors.Is ErrStaleDelivery) means that the job is no longer ours and nothing
// was changed. After any other error Ack may be called again, also if the
// first may have run: where it can be told that it had, Ack returns nil.
func (j *Job[T]) Ack(ctx context.Context) error {
	return j.d.c.ack(ctx, []*delivery{j.d})[0]
}

// Retry gives the delivery up; the job is delivered again when delay has passed
// on the server's clock, counted in milliseconds and rounded up. The delivery
// that was the last of MaxAttempts makes it a dead letter instead. Errors are
// those of Ack.
func (j *Job[T]) Retry(ctx context.Context, delay time.Duration) error {
	return j.d.c.retry(ctx, j.d, delay, "given back to be retried in its last attempt")
}

// Dead makes the job a dead letter, with reason as the cause (at most 8 KiB are
// kept). Errors are those of Ack.
func (j *Job[T]) Dead(ctx context.Context, reason string) error {
	return j.d.c.bury(ctx, j.d, reason)
}

// decode makes the job of a delivery. A panic of the codec is an error.
func decode[T any](d *delivery) (j *Job[T], err error) {
	defer func() {
		if p := recover(); p != nil {
			j, err = nil, &undecodableError{fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	j = &Job[T]{ID: d.id, Attempt: int(d.attempt), d: d}
	if err := d.c.core.cfg.codec.Decode(d.payload, &j.Data); err != nil {
		return nil, &undecodableError{err}
	}
	d.payload = nil
	return j, nil
}

// reject makes a dead letter of a delivery whose payload cannot be decoded.
func (c *consumer) reject(d *delivery, err error) {
	c.cfg.onError(c.core.failed("job "+d.id, err))
	c.insist(d, func(ctx context.Context) error { return c.bury(ctx, d, err.Error()) })
}

// idTime returns the time that an id of a stream entry begins with.
func idTime(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// compareIDs orders ids of stream entries as the server does. Neither part has
// leading zeros, so of two numbers the longer is the greater.
func compareIDs(a, b string) int {
	am, as, _ := strings.Cut(a, "-")
	bm, bs, _ := strings.Cut(b, "-")
	return cmp.Or(cmp.Compare(len(am), len(bm)), cmp.Compare(am, bm), cmp.Compare(len(as), len(bs)), cmp.Compare(as, bs))
}
