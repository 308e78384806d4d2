package semaphore

import (
	"fmt"
	"time"

	"github.com/redisx/redisx/ds/lease"
)

const (
	maxLimit = 1 << 40 // as lease.Share has it

	// limitTTL is how long a limit that the server keeps outlives the last
	// permit that was granted under it.
	limitTTL = 7 * 24 * time.Hour

	defaultWindow = 500 * time.Millisecond
	minWindow     = 10 * time.Millisecond
	maxWindow     = time.Minute
)

// Option changes how a semaphore works.
type Option func(*options)

type options struct {
	namespace string
	lease     []lease.Option
	adaptive  bool
	min, max  int
	window    time.Duration
}

// TTL sets for how long the server keeps a permit after each renewal: how long
// others wait after its holder has died. The default is 10 s; from 50 ms to
// 24 h, in whole milliseconds.
func TTL(d time.Duration) Option { return of(lease.TTL(d)) }

// Owner sets the name that others are shown of who holds a permit or waits, at
// most 256 bytes. The default is host, process id and a random number. It is for
// people: permits are told apart by ids of their own.
func Owner(name string) Option { return of(lease.Owner(name)) }

// AllowEviction waives the check that the server's maxmemory-policy is
// noeviction. Where permits are evicted, more are granted than the limit says.
func AllowEviction() Option { return of(lease.AllowEviction()) }

// Replicas makes a permit count only when n replicas have it, within that time;
// see lease.Replicas.
func Replicas(n int, within time.Duration) Option { return of(lease.Replicas(n, within)) }

// Namespace sets the first part of the semaphore's keys. The default is
// "redisx".
func Namespace(ns string) Option {
	return func(o *options) {
		o.namespace = ns
		o.lease = append(o.lease, lease.Namespace(ns))
	}
}

func of(opt lease.Option) Option { return func(o *options) { o.lease = append(o.lease, opt) } }

// Adaptive lets the limit go up and down between min and max, both from 1 to
// 2^40, by what the permits of all processes report: see the manual. The limit
// that New was given is the first. No permit may weigh more than min, because
// the limit may fall to it.
//
// All processes should give the same: of different ones the last to report
// counts.
func Adaptive(min, max int) Option {
	return func(o *options) { o.adaptive, o.min, o.max = true, min, max }
}

// Window sets how long reports are gathered before Adaptive moves the limit: from
// 10 ms to 1 min, in whole milliseconds. The default is 500 ms. It is at least
// ten reports, and twice as long as calls take in the mean.
func Window(d time.Duration) Option { return func(o *options) { o.window = d } }

// build applies opts to the defaults and checks what comes of it.
func (o *options) build(name string, limit int, opts []Option) error {
	o.window = defaultWindow
	for _, opt := range opts {
		opt(o)
	}
	switch {
	case name == "":
		return fmt.Errorf("semaphore: the name is empty")
	case limit < 1 || limit > maxLimit:
		return fmt.Errorf("semaphore: %s: a limit of %d is not from 1 to 2^40", name, limit)
	case o.adaptive && (o.min < 1 || o.min > limit || limit > o.max || o.max > maxLimit):
		return fmt.Errorf("semaphore: %s: the limits %d, %d and %d are not 1 ≤ least ≤ first ≤ greatest ≤ 2^40", name, o.min, limit, o.max)
	case o.window < minWindow || o.window > maxWindow || o.window%time.Millisecond != 0:
		return fmt.Errorf("semaphore: %s: a window of %v is not within %v and %v in whole milliseconds", name, o.window, minWindow, maxWindow)
	}
	return nil
}
