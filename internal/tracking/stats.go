package tracking

import "sync/atomic"

// counters are of the cache, since the hub was made.
type counters struct {
	hits, misses, shared, uncached, invalidations, flushes atomic.Uint64
}

// State says whether the cache can answer.
type State string

// The states.
const (
	Unused State = "unused"  // nobody has asked yet
	Live   State = "live"    // a tracking connection is up
	Down   State = "down"    // there is none for the moment: everything is fetched
	NoPush State = "no push" // the server cannot push: everything is fetched
	Off    State = "off"     // by configuration, or closed
)

// Stats are figures of the cache.
type Stats struct {
	State         State
	Hits          uint64 // answers from memory
	Misses        uint64 // fetches
	Shared        uint64 // callers who waited for the fetch of another
	Uncached      uint64 // calls that the cache could not serve
	Invalidations uint64 // keys that the server pushed
	Flushes       uint64 // times that everything was dropped
	Evictions     uint64 // entries that went for want of room
	Entries       int
	Bytes         int // with the overhead of the entries
}

// Stats returns the figures of this moment.
func (h *Hub) Stats() Stats {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return Stats{
		State:         h.state(),
		Hits:          h.count.hits.Load(),
		Misses:        h.count.misses.Load(),
		Shared:        h.count.shared.Load(),
		Uncached:      h.count.uncached.Load(),
		Invalidations: h.count.invalidations.Load(),
		Flushes:       h.count.flushes.Load(),
		Evictions:     h.store.evicted,
		Entries:       h.store.entries,
		Bytes:         h.store.bytes,
	}
}

// NoPush reports whether the server is known not to push.
func (h *Hub) NoPush() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.noPush
}

func (h *Hub) state() State {
	switch {
	case h.closed || h.cfg.MaxBytes < 0:
		return Off
	case h.noPush:
		return NoPush
	case h.line != nil:
		return Live
	case h.began.IsZero():
		return Unused
	}
	return Down
}
