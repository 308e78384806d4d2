package redisx

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/tracking"
	"github.com/redisx/redisx/resp3"
)

// ErrNotCacheable is the cause of the error of Cached for a command whose reply
// depends on more than its keys: writes, TTL, RANDOMKEY, SCAN and their like,
// and commands that the table lacks.
var ErrNotCacheable = errors.New("the command is not cacheable: its reply does not depend on its keys alone")

// CacheConfig tunes what Cached keeps. The zero value is ready for production.
type CacheConfig struct {
	// MaxBytes bounds the cache in bytes: replies, keys and what they cost
	// beside. Beyond it goes what was not read for long. Default 64 MiB;
	// negative: no cache, Cached fetches.
	MaxBytes int
	// MaxEntryBytes bounds one reply; a larger one is fetched and not kept.
	// Default 1 MiB.
	MaxEntryBytes int
	// Prefixes makes the server tell of every change of keys that begin so,
	// instead of remembering who read what (CLIENT TRACKING BCAST): it saves the
	// server's memory and costs messages about keys that nobody has read. Other
	// keys are fetched and not kept. No prefix may begin with another; "" alone
	// means all keys. Default: the server remembers.
	Prefixes []string
}

func (c CacheConfig) check() error {
	if c.MaxEntryBytes < 0 {
		return errors.New("redisx: a bound cannot be negative")
	}
	for i, p := range c.Prefixes {
		for j, q := range c.Prefixes {
			if i != j && strings.HasPrefix(q, p) {
				return errors.New("redisx: a prefix of the cache begins with another one")
			}
		}
	}
	return nil
}

// Cacher is a command.Doer with a cache. A wrapper of a Client has one if it
// passes DoCached on.
type Cacher interface {
	// DoCached answers r from the cache if that holds a reply that is no older
	// than maxAge, else it fetches one. The caller releases the reply.
	DoCached(ctx context.Context, r command.Request, maxAge time.Duration) (command.Reply, error)
}

// Cached runs a read on d, or answers it from memory: the reply is at most
// maxAge old, and never older than what the server has told of its keys, what
// this client has written to them, or the end of their lives. A maxAge of zero
// or less is Do. Every caller decodes a result of its own; an absent key is an
// answer too (Nil), an error reply is never kept.
//
// The server tells of changes by push on a connection of its own (CLIENT
// TRACKING), so another client's write is seen as soon as the network lets it.
// While that connection is lost, over RESP2, for users who may not track keys,
// and on a Doer that is no Cacher, Cached is Do: CacheStats says so. A broken
// network that no end has noticed can hide a change for up to 12 s, or maxAge if
// that is less.
//
// Callers of one command at one time share one fetch; a caller whose context
// ends leaves the others alone. A command that is not cacheable is refused with
// ErrNotCacheable, before anything is sent.
func Cached[T any](ctx context.Context, d command.Doer, c command.Cmd[T], maxAge time.Duration) (T, error) {
	var zero T
	r := c.Request()
	if err := cacheable(&r); err != nil {
		return zero, err
	}
	cacher, ok := d.(Cacher)
	if !ok {
		return command.Do(ctx, d, c)
	}
	reply, err := cacher.DoCached(ctx, r, maxAge)
	if err != nil {
		return zero, err
	}
	v, err := c.Decode(reply.View())
	reply.Release()
	if err != nil {
		return zero, command.DecodeError(r.Spec(), err)
	}
	return v, nil
}

func cacheable(r *command.Request) error {
	err := r.Err()
	if err == nil && !r.Spec().Has(command.Cacheable) {
		err = ErrNotCacheable
	}
	if err != nil {
		return command.BuildError(r, err)
	}
	return nil
}

// DoCached makes the Client a Cacher. Most users want the function Cached.
func (c *Client) DoCached(ctx context.Context, r command.Request, maxAge time.Duration) (command.Reply, error) {
	if err := cacheable(&r); err != nil {
		return command.Reply{}, err
	}
	reply, err := c.cache.Do(ctx, &r, maxAge)
	if err == tracking.ErrUncached {
		return c.Do(ctx, r)
	}
	return reply, err
}

// openTracking makes what stands on the server's pushes. With prefixes a
// connection tells of those keys alone, so that Watch needs another one.
func (c *Client) openTracking(node *pool.Node, conn session.Config, cfg CacheConfig) {
	c.cache = tracking.New(node, conn, tracking.Config{MaxBytes: cfg.MaxBytes, MaxEntryBytes: cfg.MaxEntryBytes, Prefixes: cfg.Prefixes})
	c.hub = c.cache
	if len(cfg.Prefixes) > 0 {
		c.hub = tracking.New(node, conn, tracking.Config{MaxBytes: -1})
	}
}

func (c *Client) closeTracking() {
	c.cache.Close()
	c.hub.Close()
}

// touch tells the cache what r may write: it is called before r is sent, and
// again before the caller has the answer.
func (c *Client) touch(r *command.Request) {
	if c.cache.Used() {
		c.cache.Wrote(r)
	}
}

type (
	gotten  = func(int, resp3.View, error)
	doBatch = func(context.Context, []command.Request, gotten) error
)

// touchBatch runs a batch and tells the cache, as touch does.
func (c *Client) touchBatch(ctx context.Context, rs []command.Request, got gotten, run doBatch) error {
	if c.cache.Used() {
		c.wrote(rs)
		give := got
		got = func(i int, v resp3.View, err error) {
			if i == 0 { // all answers are in
				c.wrote(rs)
			}
			give(i, v, err)
		}
	}
	err := run(ctx, rs, got)
	if c.cache.Used() { // it may not have been, before
		c.wrote(rs)
	}
	return err
}

// nodeBatch runs a batch that was checked, as a transaction is.
func (c *Client) nodeBatch(ctx context.Context, rs []command.Request, got gotten) error {
	return c.touchBatch(ctx, rs, got, c.node.DoBatch)
}

func (c *Client) wrote(rs []command.Request) {
	if n := len(rs); n > 1 && rs[0].Name() == "MULTI" && rs[n-1].Name() == "EXEC" {
		rs = rs[1 : n-1] // what EXEC runs is known
	}
	for i := range rs {
		c.cache.Wrote(&rs[i])
	}
}

// CacheStats are figures of a client's cache, since Connect.
type CacheStats struct {
	// State is "unused" before the first call of Cached, "live" while a tracking
	// connection is up, "down" while there is none, "no push" where the server
	// cannot push, and "off" without a cache. Only while it is live are replies
	// kept and served.
	State         string
	Hits          uint64 // answers from memory
	Misses        uint64 // fetches
	Shared        uint64 // callers who waited for the fetch of another
	Uncached      uint64 // calls that the cache could not serve, and that ran as with Do
	Invalidations uint64 // keys that the server said have changed
	Flushes       uint64 // times that everything was dropped
	Evictions     uint64 // entries that went for want of room
	Entries       int    // replies kept now
	Bytes         int    // what they take, overhead included
}

// CacheStats returns the figures of the cache at this moment.
func (c *Client) CacheStats() CacheStats {
	s := c.cache.Stats()
	return CacheStats{
		State: string(s.State), Hits: s.Hits, Misses: s.Misses, Shared: s.Shared, Uncached: s.Uncached,
		Invalidations: s.Invalidations, Flushes: s.Flushes, Evictions: s.Evictions, Entries: s.Entries, Bytes: s.Bytes,
	}
}
