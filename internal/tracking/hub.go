package tracking

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// ErrNoPush is returned where the server does not speak RESP3 or does not let
// the user track keys. Poll instead.
var ErrNoPush = errors.New("tracking: the server cannot push")

// Config tunes the cache of a Hub. Zero fields take the defaults.
type Config struct {
	// MaxBytes bounds the entries and what they cost beside their replies.
	// Default 64 MiB; negative: no cache.
	MaxBytes int
	// MaxEntryBytes bounds one reply; larger ones are fetched and not stored.
	// Default 1 MiB.
	MaxEntryBytes int
	// Prefixes asks the server to tell of all changes of keys that begin so
	// (BCAST) and to remember no keys. Other keys are not cached then, and
	// Watch must not be used.
	Prefixes []string
}

// Hub is the tracking connection of one node and those who live on it. It may
// be used by many goroutines at once.
type Hub struct {
	node *pool.Node
	conn session.Config
	cfg  Config
	born time.Time

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the dialler and the fetches

	used  atomic.Bool // something may be cached, or under way
	count counters

	mu      sync.RWMutex
	closed  bool
	noPush  bool          // found out in the generation asked
	asked   int64         // the node's generation of the last attempt
	line    *line         // the live connection, or nil
	spent   *session.Conn // the last one, to be closed
	dialing *attempt      // under way, or nil
	began   time.Time     // when the first attempt began
	met     bool          // an attempt has succeeded
	next    time.Time     // when the next attempt may begin
	spoilt  int           // lines in a row that were opened and never of use
	store   store         // of the cache
	watches map[string]map[*watch]struct{}
	n       int // watches
}

// New returns a hub of node. It connects on first use.
func New(node *pool.Node, conn session.Config, cfg Config) *Hub {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.MaxEntryBytes <= 0 {
		cfg.MaxEntryBytes = 1 << 20
	}
	h := &Hub{node: node, conn: conn, cfg: cfg, born: time.Now(), watches: map[string]map[*watch]struct{}{}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.store.max = max(cfg.MaxBytes, 0)
	h.store.clear()
	return h
}

// Close ends what runs for the hub and waits for it; the connection itself is
// closed by the node. It may be called more than once.
func (h *Hub) Close() error {
	h.cancel()
	h.mu.Lock()
	h.closed = true
	h.line = nil
	h.changedAll()
	h.mu.Unlock()
	h.wg.Wait()
	return nil
}

// push takes "invalidate" messages: a list of keys, or null for all.
func (h *Hub) push(v resp3.View) {
	c := v.Cursor()
	kind, ok := c.Next()
	if !ok || string(kind.Bytes()) != "invalidate" {
		return
	}
	keys, ok := c.Next()
	if !ok || !keys.Kind().IsAggregate() { // null, or nothing that can be understood
		h.mu.Lock()
		h.changedAll()
		h.mu.Unlock()
		return
	}
	h.count.invalidations.Add(uint64(keys.Len()))
	list := keys.Cursor()
	for k, ok := list.Next(); ok; k, ok = list.Next() {
		h.mu.Lock() // for each key: a message may name very many
		h.store.drop(h.store.keys[string(k.Bytes())])
		for w := range h.watches[string(k.Bytes())] {
			h.tell(w)
		}
		h.mu.Unlock()
	}
}

// changedAll drops the cache and tells every watch. It is called with mu held.
func (h *Hub) changedAll() {
	h.store.clear()
	h.count.flushes.Add(1)
	for _, set := range h.watches {
		for w := range set {
			h.tell(w)
		}
	}
}

// Flush drops everything from the cache, fetches under way included, as when
// the connection's user changes.
func (h *Hub) Flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store.clear()
	h.count.flushes.Add(1)
}
