package keyspace

import (
	"context"
	"strings"

	"github.com/redisx/redisx/command"
)

// watch is one interest in one key.
type watch struct {
	hub     *Hub
	key     string
	changed chan struct{}
	over    bool // guarded by hub.mu: stopped
}

// Changed implements command.Watch.
func (w *watch) Changed() <-chan struct{} { return w.changed }

// Watch notes an interest in changes of key of the classes; see
// command.EventWatcher.
func (h *Hub) Watch(ctx context.Context, key, classes string) (command.Watch, error) {
	if err := h.published(ctx, classes); err != nil {
		return nil, err
	}
	w, err := h.enter(key)
	if err != nil {
		return nil, err
	}
	if err := h.subscribe(ctx, w.key); err != nil {
		w.Stop()
		return nil, err
	}
	h.mu.Lock()
	h.unstay()
	h.mu.Unlock()
	return w, nil
}

// Watches returns how many interests are noted.
func (h *Hub) Watches() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

func (h *Hub) enter(key string) (*watch, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.keys[key]
	switch {
	case h.closed:
		return nil, errClosed
	case h.n >= maxWatches, k == nil && h.bytes+len(key) > maxBytes:
		return nil, ErrOverloaded
	case k == nil:
		key = strings.Clone(key)
		k = &watched{quiet: map[*watch]struct{}{}}
		h.keys[key] = k
		h.bytes += len(key)
	}
	w := &watch{hub: h, key: key, changed: make(chan struct{})}
	k.quiet[w] = struct{}{}
	k.n++
	h.n++
	return w, nil
}

// Stop implements command.Watch.
func (w *watch) Stop() {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.over {
		return
	}
	w.over = true
	h.n--
	k := h.keys[w.key]
	delete(k.quiet, w)
	if k.n--; k.n > 0 {
		return
	}
	delete(h.keys, w.key)
	h.bytes -= len(w.key)
	if len(h.keys) == 0 && h.staying == nil && !h.closed {
		h.stay(w.key)
	} else if w.key != h.last || h.staying == nil {
		h.leave(w.key)
	}
}
