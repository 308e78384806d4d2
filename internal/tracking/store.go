package tracking

import (
	"sync/atomic"

	"github.com/redisx/redisx/resp3"
)

const (
	// What an entry and a key take beside their bytes, with their places in the
	// maps: TestTheCacheStaysWithinItsBytes measures it.
	slotBytes = 240
	keyBytes  = 128

	// maxSteps bounds how far one eviction looks for an entry that nobody has
	// read, so that callers do not wait for it.
	maxSteps = 128
)

// store holds what is cached and what is being fetched, bounded by SIEVE (Zhang
// et al., NSDI 2024): a queue in order of arrival, in which a hand goes from
// the oldest to the newest and takes out the first entry that was not read
// since it last came by. A read only marks its entry, so reads share a lock.
//
// All of it is guarded by Hub.mu.
type store struct {
	max     int // bytes
	bytes   int
	entries int
	evicted uint64

	slots map[string]*slot
	keys  map[string]*key

	oldest, newest *slot
	hand           *slot // where the next eviction looks first; nil: at the oldest
}

// slot is the place of one command: a fetch, then its reply.
type slot struct {
	id      string // the command, encoded
	links   []link // to its keys
	flight  *flight
	view    resp3.View // owns its bytes
	size    int        // bytes, when stored
	began   int64      // when its fetch began, on the hub's clock
	end     int64      // when it must not be served any more
	visited atomic.Bool
	gone    bool // taken out

	older, newer *slot
}

// key is a key of slots.
type key struct {
	name  string
	first *link
}

// link is one key of one slot, in the list of its key.
type link struct {
	slot       *slot
	key        *key
	prev, next *link
}

// clear takes everything out.
func (st *store) clear() {
	for _, s := range st.slots {
		s.gone = true
	}
	st.slots, st.keys = map[string]*slot{}, map[string]*key{}
	st.oldest, st.newest, st.hand = nil, nil, nil
	st.bytes, st.entries = 0, 0
}

// add puts a fetch in its place.
func (st *store) add(s *slot, keys []string) {
	st.slots[s.id] = s
	s.links = make([]link, len(keys))
	for i, name := range keys {
		k := st.keys[name]
		if k == nil {
			k = &key{name: name}
			st.keys[name] = k
		}
		l := &s.links[i]
		l.slot, l.key, l.next = s, k, k.first
		if l.next != nil {
			l.next.prev = l
		}
		k.first = l
	}
}

// keep turns a fetch into an entry, for which others may have to go.
func (st *store) keep(s *slot, v resp3.View) {
	s.flight, s.view = nil, v
	s.size = sizeOf(s, v)
	st.bytes += s.size
	st.entries++
	s.older = st.newest
	if s.older != nil {
		s.older.newer = s
	} else {
		st.oldest = s
	}
	st.newest = s
	for st.bytes > st.max {
		st.evict()
	}
}

// sizeOf returns what a slot takes with v in it. A key is counted with each of
// its slots: most have one.
func sizeOf(s *slot, v resp3.View) int {
	n := slotBytes + len(s.id) + cap(v.Raw())
	for i := range s.links {
		n += keyBytes + len(s.links[i].key.name)
	}
	return n
}

func (st *store) evict() {
	s := st.hand
	for range maxSteps {
		if s == nil {
			s = st.oldest
		}
		if !s.visited.Load() {
			break
		}
		s.visited.Store(false)
		s = s.newer
	}
	if s == nil {
		s = st.oldest
	}
	st.hand = s // remove moves it on
	st.evicted++
	st.remove(s)
}

// drop takes out all that has to do with k, which may be nil.
func (st *store) drop(k *key) {
	for k != nil && k.first != nil {
		st.remove(k.first.slot)
	}
}

// remove takes s out, be it an entry or a fetch. It may be called twice.
func (st *store) remove(s *slot) {
	if s.gone {
		return
	}
	s.gone = true
	delete(st.slots, s.id)
	for i := range s.links {
		l := &s.links[i]
		if l.next != nil {
			l.next.prev = l.prev
		}
		if l.prev != nil {
			l.prev.next = l.next
		} else if l.key.first = l.next; l.next == nil {
			delete(st.keys, l.key.name)
		}
	}
	if s.flight != nil {
		return
	}
	st.bytes -= s.size
	st.entries--
	if st.hand == s {
		st.hand = s.newer
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		st.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		st.newest = s.older
	}
}
