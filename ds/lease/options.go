package lease

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/replicas"
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
	maxMeta  = 1024
)

// Option changes how a lease is acquired.
type Option func(*options)

type options struct {
	ttl           time.Duration
	owner         string
	namespace     string
	meta          string
	confirm       replicas.Need
	replicated    bool // Replicas was called
	allowEviction bool
	fair          bool
	shared        bool
	strict        bool
	limited       bool  // Share was called
	weight, limit int64 // of the share; limit 0: none
}

// TTL sets for how long the server keeps the lease after each renewal: how long
// others wait after the holder has died. The default is 10 s; from 50 ms to
// 24 h, in whole milliseconds.
func TTL(d time.Duration) Option { return func(o *options) { o.ttl = d } }

// Owner sets the name that others are shown, at most 256 bytes. The default is
// host, process id and a random number. It is for people: the holder is told
// apart by an id that each acquisition makes for itself.
func Owner(name string) Option { return func(o *options) { o.owner = name } }

// Meta sets what others are shown of the holder besides its name, such as a
// pod, a version or a job in whatever form, at most 1024 bytes. The default is
// nothing. HeldError and Inspect have it.
func Meta(text string) Option { return func(o *options) { o.meta = text } }

// Namespace sets the first part of the lease's keys. Leases of different
// namespaces have nothing to do with each other. The default is "redisx".
func Namespace(ns string) Option { return func(o *options) { o.namespace = ns } }

// AllowEviction waives the check that the server's maxmemory-policy is
// noeviction. An evicted lease is lost to its holder, who is told with its
// next renewal, and that can be after somebody else got it.
func AllowEviction() Option { return func(o *options) { o.allowEviction = true } }

// build applies opts to the defaults and checks what comes of it. o lies in
// something bigger: an option makes it escape.
func (o *options) build(name string, opts []Option) error {
	*o = options{ttl: defaultTTL, owner: owner.Process(), weight: 1}
	for _, opt := range opts {
		opt(o)
	}
	switch {
	case name == "":
		return fmt.Errorf("lease: the name is empty")
	case o.ttl < minTTL || o.ttl > maxTTL:
		return fmt.Errorf("lease: %s: a TTL of %v is not within %v and %v", name, o.ttl, minTTL, maxTTL)
	case o.ttl%time.Millisecond != 0:
		return fmt.Errorf("lease: %s: a TTL of %v is not in whole milliseconds", name, o.ttl)
	case len(o.owner) > maxOwner:
		return fmt.Errorf("lease: %s: an owner of %d bytes is longer than %d", name, len(o.owner), maxOwner)
	case len(o.meta) > maxMeta:
		return fmt.Errorf("lease: %s: metadata of %d bytes is longer than %d", name, len(o.meta), maxMeta)
	}
	if err := o.checkShare(name); err != nil {
		return err
	}
	return o.checkReplicas(name)
}

// names are the keys of one lease.
type names struct{ lease, fence, queue, order, readers string }

func namesOf(namespace, name string) names {
	parts := [...]string{"lease", "fence", "queue", "order", "readers"}
	var b strings.Builder // all in one allocation
	b.Grow(len(parts) * (len(namespace) + len(name) + len("{redisx:lease:}:readers")))
	keys.Write(&b, namespace, "lease", name)
	prefix := b.String()
	var all [len(parts)]string
	for i, part := range parts {
		if i > 0 {
			b.WriteString(prefix)
		}
		b.WriteString(part)
		all[i] = b.String()[b.Len()-len(prefix)-len(part):]
	}
	return names{lease: all[0], fence: all[1], queue: all[2], order: all[3], readers: all[4]}
}

// limit is the key of a limit that the server keeps for all.
func (n names) limit() string { return strings.TrimSuffix(n.lease, "lease") + "limit" }

// turns is how many keys all turns of a lease share, as tickets.lua has it.
const turns = 256

// turn is the key whose change tells id that its turn may have come: the number
// at the end of the id decides which.
func (n names) turn(id string) string {
	digits := id[len(strings.TrimRight(id, "0123456789")):]
	number, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		number = 0
	}
	return n.queue + ":" + strconv.FormatUint(number%turns, 10)
}
