package coord

import (
	"context"
	"fmt"
	"time"

	"github.com/redisx/redisx/ds/internal/owner"
)

const (
	defaultTTL = 10 * time.Second
	minTTL     = 50 * time.Millisecond
	maxTTL     = 24 * time.Hour

	// Bounds of what everybody who looks gets to read, in bytes.
	maxName = 256
	maxMeta = 1024

	maxWeight = 100
)

// Option changes how something of this package works. Each says where it
// counts; elsewhere it changes nothing.
type Option func(*options)

type options struct {
	ttl           time.Duration
	name          string
	meta          string
	weight        int
	namespace     string
	allowEviction bool
	mustExist     bool
	healthy       func(ctx context.Context) error
	again         bool
	replicated    bool // Replicas was called
	replicas      int
	within        time.Duration
}

// TTL sets for how long the server believes in a leader, a member or a waiting
// party that it hears nothing of: how long the others wait after one has died.
// The default is 10 s; from 50 ms to 24 h, in whole milliseconds. For a latch
// see NewLatch.
func TTL(d time.Duration) Option { return func(o *options) { o.ttl = d } }

// Name sets what the others are shown of a candidate, a member or a party, at
// most 256 bytes. The default is host, process id and random and running
// numbers. Members of a group and parties of a barrier are told apart by it.
func Name(name string) Option { return func(o *options) { o.name = name } }

// Meta sets what a member tells the others of itself, such as an address, at
// most 1024 bytes.
func Meta(meta string) Option { return func(o *options) { o.meta = meta } }

// Weight sets a member's share of the shards, or how much a candidate is to be
// preferred, from 1, the default, to 100.
func Weight(n int) Option { return func(o *options) { o.weight = n } }

// Namespace sets the first part of all keys. Things of different namespaces
// have nothing to do with each other. The default is "redisx".
func Namespace(ns string) Option { return func(o *options) { o.namespace = ns } }

// AllowEviction waives the check that the server's maxmemory-policy is
// noeviction. What is evicted is lost to its holder, who is told with the next
// renewal.
func AllowEviction() Option { return func(o *options) { o.allowEviction = true } }

// build checks what is called name and its options. kind is for the errors.
func build(kind, name string, opts []Option) (options, error) {
	o := options{ttl: defaultTTL, weight: 1}
	for _, opt := range opts {
		opt(&o)
	}
	if o.name == "" {
		o.name = owner.New()
	}
	switch {
	case name == "":
		return o, fmt.Errorf("coord: %s: the name is empty", kind)
	case o.ttl < minTTL || o.ttl > maxTTL:
		return o, fmt.Errorf("coord: %s %s: a TTL of %v is not within %v and %v", kind, name, o.ttl, minTTL, maxTTL)
	case o.ttl%time.Millisecond != 0:
		return o, fmt.Errorf("coord: %s %s: a TTL of %v is not in whole milliseconds", kind, name, o.ttl)
	case len(o.name) > maxName:
		return o, fmt.Errorf("coord: %s %s: a name of %d bytes is longer than %d", kind, name, len(o.name), maxName)
	case len(o.meta) > maxMeta:
		return o, fmt.Errorf("coord: %s %s: a meta of %d bytes is longer than %d", kind, name, len(o.meta), maxMeta)
	case o.replicated && (o.replicas < 1 || o.within < time.Millisecond || o.within > o.ttl/4 || o.within%time.Millisecond != 0):
		return o, fmt.Errorf("coord: %s %s: %d replicas within %v, with a TTL of %v: it takes at least 1, and whole milliseconds up to a quarter of the TTL",
			kind, name, o.replicas, o.within, o.ttl)
	case o.weight < 1 || o.weight > maxWeight:
		return o, fmt.Errorf("coord: %s %s: a weight of %d is not within 1 and %d", kind, name, o.weight, maxWeight)
	}
	return o, nil
}
