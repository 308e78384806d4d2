package aside

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
)

const (
	// maxEntries bounds what a client keeps in memory: each costs one of the
	// 100 000 watches of its tracking connection, or some more with tags.
	maxEntries = 65536
	// maxWatches bounds the watches of all entries together.
	maxWatches = 80_000
	// entryBytes is what an entry is taken to cost beside its text.
	entryBytes = 512
	// maxSteps bounds how far one eviction looks for an entry that nobody has
	// read.
	maxSteps = 128
)

// memory is the values that a client keeps, bounded by SIEVE (Zhang et al.,
// NSDI 2024) as internal/tracking is: a queue in order of arrival, in which a
// hand goes from the oldest to the newest and takes out the first entry that was
// not read since it last came by.
//
// An entry is good while none of its watches has told of a change, and until a
// moment that was reckoned from before it was read. So nobody has to wait for
// pushes here: who reads looks.
type memory struct {
	mu      sync.RWMutex
	closed  bool
	max     int // bytes
	bytes   int
	watches int
	entries map[string]*entry
	claimed map[string]*interest // by key: of who is about to keep its value

	oldest, newest, hand *entry
}

// entry is one value.
type entry struct {
	key     string
	value   any // a *box
	until   int64
	size    int
	watches []command.Watch
	tags    []string // their keys
	tally   *tally
	visited atomic.Bool

	older, newer *entry
}

// box holds a value of any type, interfaces that are nil included.
type box[T any] struct{ v T }

// remembered returns the value of key that the client keeps.
func remembered[T any](ctx context.Context, s *shared, key string) (T, bool) {
	var zero T
	m := &s.memory
	m.mu.RLock()
	e := m.entries[key]
	m.mu.RUnlock()
	if e == nil || ctx.Err() != nil {
		return zero, false
	}
	b, ok := e.value.(*box[T])
	if !ok || clock() >= e.until {
		return zero, false
	}
	for _, w := range e.watches {
		if changed(w) {
			return zero, false
		}
	}
	if !e.visited.Load() {
		e.visited.Store(true)
	}
	s.total.memory.Add(1)
	if e.tally != nil {
		e.tally.memory.Add(1)
	}
	return b.v, true
}

// allow notes that somebody asks for that many bytes.
func (m *memory) allow(bytes int) {
	if bytes <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.max = max(m.max, bytes)
}

// claim reports whether the caller is to watch and keep its key: one at a time.
func (m *memory) claim(i *interest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.claimed[i.c.key]; ok || m.closed {
		return false
	}
	if m.claimed == nil {
		m.claimed, m.entries = map[string]*interest{}, map[string]*entry{}
	}
	m.claimed[i.c.key] = i
	return true
}

func (m *memory) unclaim(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.claimed, key)
}

// watch notes the interest in what a value stands on, for a caller who may keep
// it. It returns nil for others, and where the server cannot push.
func (c *call) watch(ctx context.Context) *interest {
	watcher, ok := c.d.(command.Watcher)
	i := &interest{c: c}
	if !ok || c.memory == 0 || c.own || !c.s.memory.claim(i) {
		return nil
	}
	for _, key := range append([]string{c.key}, c.tagKeys...) {
		w, err := watchAnew(ctx, watcher, key)
		if err != nil {
			i.stop()
			return nil
		}
		i.watches = append(i.watches, w)
	}
	return i
}

// watchAnew returns a watch that has told of nothing yet. The first may have: of
// the change that made its caller ask, which the server tells because of an
// older interest in the key, and which comes just before the word that it has
// noted the new one. What is read now is newer than that.
func watchAnew(ctx context.Context, d command.Watcher, key string) (command.Watch, error) {
	w, err := d.Watch(ctx, key)
	if err != nil || !changed(w) {
		return w, err
	}
	w.Stop()
	return d.Watch(ctx, key)
}

func changed(w command.Watch) bool {
	select {
	case <-w.Changed():
		return true
	default:
		return false
	}
}

// interest is what a caller holds who may keep a value.
type interest struct {
	c       *call
	watches []command.Watch
	dropped bool // by this process, since the claim; guarded by memory.mu
}

// stop gives up.
func (i *interest) stop() {
	if i == nil {
		return
	}
	for _, w := range i.watches {
		w.Stop()
	}
	i.c.s.memory.unclaim(i.c.key)
}

// keep keeps a value that was read as s says.
func (i *interest) keep(value any, size int, s sight) {
	if i == nil {
		return
	}
	c, m := i.c, &i.c.s.memory
	left := s.fresh
	if s.state == stateValue {
		// From then on the server's clock says who refreshes it.
		left -= c.window(s.took)
	}
	left -= time.Since(s.sent)
	e := &entry{
		key: c.key, value: value, until: clock() + int64(left), size: size + len(c.key) + entryBytes*len(i.watches),
		watches: i.watches, tags: c.tagKeys, tally: c.tally,
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.claimed, c.key)
	if left <= 0 || m.closed || e.size > m.max || i.dropped {
		e.stop()
		return
	}
	m.remove(m.entries[c.key])
	m.entries[c.key] = e
	m.bytes += e.size
	m.watches += len(e.watches)
	if e.older = m.newest; e.older != nil {
		e.older.newer = e
	} else {
		m.oldest = e
	}
	m.newest = e
	for m.bytes > m.max || len(m.entries) > maxEntries || m.watches > maxWatches {
		m.evict()
	}
}

func (e *entry) stop() {
	for _, w := range e.watches {
		w.Stop()
	}
}

// evict takes one entry out. The caller holds mu.
func (m *memory) evict() {
	e := m.hand
	for range maxSteps {
		if e == nil {
			e = m.oldest
		}
		if !e.visited.Load() {
			break
		}
		e.visited.Store(false)
		e = e.newer
	}
	if e == nil {
		e = m.oldest
	}
	m.hand = e // remove moves it on
	m.remove(e)
}

// remove takes e out, which may be nil. The caller holds mu.
func (m *memory) remove(e *entry) {
	if e == nil {
		return
	}
	delete(m.entries, e.key)
	m.bytes -= e.size
	m.watches -= len(e.watches)
	if m.hand == e {
		m.hand = e.newer
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		m.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		m.newest = e.older
	}
	e.stop()
}

// drop forgets the value of key, and what is being read now.
func (m *memory) drop(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.claimed[key]; i != nil {
		i.dropped = true
	}
	m.remove(m.entries[key])
}

// dropTag forgets the values with that tag, and those that are being read now.
func (m *memory) dropTag(namespace, tag string) {
	key := tagKey(namespace, tag)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range m.claimed {
		i.dropped = i.dropped || slices.Contains(i.c.tagKeys, key)
	}
	for _, e := range m.entries {
		if slices.Contains(e.tags, key) {
			m.remove(e)
		}
	}
}

// close forgets everything.
func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, e := range m.entries {
		m.remove(e)
	}
}
