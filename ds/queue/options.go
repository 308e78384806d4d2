package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redisx/redisx/ds/internal/codec"
)

const (
	defaultVisibility  = 30 * time.Second
	minVisibility      = 50 * time.Millisecond
	defaultAttempts    = 10
	defaultGroup       = "workers"
	defaultConcurrency = 10
	// longestWait is how long an idle consumer sleeps before it looks again
	// although nobody woke it: that bounds what a lost wake-up costs.
	longestWait = 5 * time.Second
	// maxAhead is how many jobs Work claims beyond its handlers at most.
	maxAhead = 256
)

// Option tunes a queue, or one call of Consume or Work.
type Option func(*config)

type config struct {
	namespace     string
	group         string
	visibility    time.Duration
	attempts      int
	concurrency   int
	backoff       func(attempt int) time.Duration
	codec         Codec
	onError       func(error)
	allowEviction bool
}

func defaults() config {
	return config{
		group:      defaultGroup,
		visibility: defaultVisibility,
		attempts:   defaultAttempts,
		backoff:    exponential,
		codec:      codec.JSON{},
		onError:    func(error) {},
	}
}

func (c config) with(opts []Option) config {
	for _, o := range opts {
		o(&c)
	}
	return c
}

func (c config) check() error {
	switch {
	case c.visibility < minVisibility:
		return fmt.Errorf("queue: a visibility of %v is shorter than %v", c.visibility, minVisibility)
	case c.attempts < 1:
		return errors.New("queue: MaxAttempts is less than 1")
	case c.concurrency < 0:
		return errors.New("queue: Concurrency is negative")
	case c.group == "" || c.group == delayedConsumer:
		return fmt.Errorf("queue: group %q is not allowed", c.group)
	case c.codec == nil || c.backoff == nil || c.onError == nil:
		return errors.New("queue: an option was given nil")
	}
	return nil
}

// wait is how long an idle consumer sleeps at most.
func (c config) wait() time.Duration { return min(c.visibility, longestWait) }

// Visibility is how long a delivery lasts without a heartbeat: a worker's jobs
// are given to others that long after it died. While the worker lives its
// deliveries are renewed every third of it, however long handlers take. Default
// 30 s, at least 50 ms, in whole milliseconds. All consumers of a queue should
// use the same.
func Visibility(d time.Duration) Option {
	return func(c *config) { c.visibility = d.Truncate(time.Millisecond) }
}

// MaxAttempts is how many deliveries a job may have: one that fails, or takes
// its worker down, in the last of them becomes a dead letter. Default 10.
func MaxAttempts(n int) Option { return func(c *config) { c.attempts = n } }

// Backoff is how long a job waits after attempt n (from 1) has failed. It is
// called by many goroutines. Default 1 s, 2 s, 4 s … 1 h, each spread by ±10 %.
func Backoff(f func(attempt int) time.Duration) Option { return func(c *config) { c.backoff = f } }

// Namespace is what the queue's keys begin with, so that applications share a
// server. Default "redisx". It counts in New only.
func Namespace(s string) Option { return func(c *config) { c.namespace = s } }

// Group is the name of the queue's consumer group. Default "workers". A queue
// has one: the first Consume or Work sets it, and another name is refused with
// a *MismatchError.
func Group(name string) Option { return func(c *config) { c.group = name } }

// Concurrency is how many handlers Work runs at once (default 10), or how many
// jobs Consume lets you hold unsettled (default 1).
func Concurrency(n int) Option { return func(c *config) { c.concurrency = n } }

// WithCodec replaces JSON as the form of payloads. It counts in New only.
func WithCodec(codec Codec) Option { return func(c *config) { c.codec = codec } }

// OnError is told of every error that a consumer survives: fetching failed and
// is repeated, a handler failed, a job could not be settled, a delivery became
// stale, a payload could not be decoded. It is called by many goroutines and
// must not block. Default: nobody is told.
func OnError(f func(error)) Option { return func(c *config) { c.onError = f } }

// AllowEviction waives the check that the server's maxmemory-policy is
// noeviction. A server that evicts may drop jobs without a word. It counts in
// New only.
func AllowEviction() Option { return func(c *config) { c.allowEviction = true } }

// exponential is the default backoff.
func exponential(attempt int) time.Duration {
	d := time.Hour
	if attempt < 13 { // 2¹¹ s is the last below an hour
		d = time.Second << max(attempt-1, 0)
	}
	return d - d/10 + rand.N(d/5+1)
}
