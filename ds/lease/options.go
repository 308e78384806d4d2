package lease

import (
	"fmt"
	"time"

	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/owner"
)

const (
	defaultTTL = 10 * time.Second
	minTTL     = 50 * time.Millisecond
	maxTTL     = 24 * time.Hour

	// fenceTTL is how long the last token outlives the last grant. Only a
	// server clock that is set back by more than the time since that grant
	// could repeat a token afterwards.
	fenceTTL = 7 * 24 * time.Hour

	// maxOwner bounds what every waiter gets to read, in bytes.
	maxOwner = 256
)

// Option changes how a lease is acquired.
type Option func(*options)

type options struct {
	ttl           time.Duration
	owner         string
	namespace     string
	allowEviction bool
}

// TTL sets for how long the server keeps the lease after each renewal: how long
// others wait after the holder has died. The default is 10 s; from 50 ms to
// 24 h, in whole milliseconds.
func TTL(d time.Duration) Option { return func(o *options) { o.ttl = d } }

// Owner sets the name that others are shown, at most 256 bytes. The default is
// host, process id and a random number. It is for people: the holder is told
// apart by an id that each acquisition makes for itself.
func Owner(name string) Option { return func(o *options) { o.owner = name } }

// Namespace sets the first part of the lease's keys. Leases of different
// namespaces have nothing to do with each other. The default is "redisx".
func Namespace(ns string) Option { return func(o *options) { o.namespace = ns } }

// AllowEviction waives the check that the server's maxmemory-policy is
// noeviction. An evicted lease is lost to its holder, who is told with its
// next renewal, and that can be after somebody else got it.
func AllowEviction() Option { return func(o *options) { o.allowEviction = true } }

func build(name string, opts []Option) (options, error) {
	o := options{ttl: defaultTTL, owner: owner.Process()}
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case name == "":
		return o, fmt.Errorf("lease: the name is empty")
	case o.ttl < minTTL || o.ttl > maxTTL:
		return o, fmt.Errorf("lease: %s: a TTL of %v is not within %v and %v", name, o.ttl, minTTL, maxTTL)
	case o.ttl%time.Millisecond != 0:
		return o, fmt.Errorf("lease: %s: a TTL of %v is not in whole milliseconds", name, o.ttl)
	case len(o.owner) > maxOwner:
		return o, fmt.Errorf("lease: %s: an owner of %d bytes is longer than %d", name, len(o.owner), maxOwner)
	}
	return o, nil
}

// names are the keys of one lease.
type names struct{ lease, fence string }

func namesOf(namespace, name string) names {
	p := keys.Prefix(namespace, "lease", name)
	return names{lease: p + "lease", fence: p + "fence"}
}
