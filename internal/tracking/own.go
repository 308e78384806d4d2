package tracking

import "github.com/redisx/redisx/command"

// Used reports whether anything can be cached: until then Wrote need not be
// called. It costs one atomic load.
func (h *Hub) Used() bool { return h.used.Load() }

// Wrote drops what r may write from the cache, fetches under way included. It
// is called when r is about to be sent, and again before its caller has the
// answer, whatever that is.
func (h *Hub) Wrote(r *command.Request) {
	switch effectOf(r) {
	case everything:
		h.Flush()
	case itsKeys:
		for k := range r.Keys() {
			h.forget(k)
		}
	}
}

func (h *Hub) forget(key string) {
	h.mu.RLock()
	_, cached := h.store.keys[key]
	h.mu.RUnlock()
	if cached {
		h.mu.Lock()
		h.store.drop(h.store.keys[key])
		h.mu.Unlock()
	}
}

// effect is what a command may write.
type effect uint8

const (
	nothing effect = iota
	itsKeys
	everything
)

func effectOf(r *command.Request) effect {
	s := r.Spec()
	switch {
	case s == nil || s.Has(command.ReadOnly):
		return nothing
	case s.Name == "EXEC": // whatever was queued
		return everything
	case s.Group == "" && !s.Has(command.Write): // the table lacks it
		return everything
	case !s.Has(command.Write):
		return nothing
	case s.Has(command.Movable) && s.Keys.NumKeys == 0 && s.Keys.Keyword == "":
		return everything // a key hides behind an option, as in SORT … STORE
	}
	if _, ok := r.FirstKey(); !ok {
		return everything // FLUSHALL, SWAPDB, a script without keys
	}
	return itsKeys
}
