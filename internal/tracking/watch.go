package tracking

import (
	"context"
	"errors"
	"strings"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// MaxWatches bounds the interests of one hub.
const MaxWatches = 100_000

// ErrOverloaded is returned beyond MaxWatches.
var ErrOverloaded = errors.New("tracking: too many watches")

// ErrNotTrackable is the cause of a BuildError of Track.
var ErrNotTrackable = errors.New("tracking: not a read with one key")

type watch struct {
	hub     *Hub
	key     string
	changed chan struct{}
	over    bool // guarded by hub.mu: told, or stopped
}

// Changed implements command.Watch.
func (w *watch) Changed() <-chan struct{} { return w.changed }

// Stop implements command.Watch.
func (w *watch) Stop() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.remove(w)
}

// Watch notes an interest in key; see command.Watcher.
func (h *Hub) Watch(ctx context.Context, key string) (command.Watch, error) {
	w := &watch{hub: h, key: key, changed: make(chan struct{})}
	l, err := h.add(ctx, w)
	if err != nil {
		return nil, err
	}
	r := command.Exists(key).Request()
	reply, err := l.conn.Do(ctx, &r)
	if err != nil {
		w.Stop()
		return nil, err
	}
	reply.Release()
	return w, nil
}

// Track runs a read and notes an interest in its key; see command.Tracker.
func (h *Hub) Track(ctx context.Context, r *command.Request) (command.Reply, command.Watch, error) {
	key, err := trackable(r)
	if err != nil {
		return command.Reply{}, nil, command.BuildError(r, err)
	}
	w := &watch{hub: h, key: key, changed: make(chan struct{})}
	l, err := h.add(ctx, w)
	if err != nil {
		return command.Reply{}, nil, err
	}
	reply, err := l.conn.Do(ctx, r)
	var said resp3.ServerError
	if err != nil && !errors.As(err, &said) {
		w.Stop()
		return command.Reply{}, nil, err
	}
	return reply, w, err
}

// trackable returns the key of a read that has one.
func trackable(r *command.Request) (string, error) {
	if err := r.Err(); err != nil {
		return "", err
	}
	if !r.Spec().Has(command.ReadOnly) || r.Block() != 0 {
		return "", ErrNotTrackable
	}
	key, n := "", 0
	for k := range r.Keys() {
		key = k
		n++
	}
	if n != 1 {
		return "", ErrNotTrackable
	}
	return strings.Clone(key), nil
}

// add notes w, and returns the line whose end tells it.
func (h *Hub) add(ctx context.Context, w *watch) (*line, error) {
	for {
		l, err := h.connect(ctx)
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		if l.dead { // its end has been told, without w
			h.mu.Unlock()
			continue
		}
		defer h.mu.Unlock()
		if h.n >= MaxWatches {
			return nil, ErrOverloaded
		}
		set := h.watches[w.key]
		if set == nil {
			set = map[*watch]struct{}{}
			h.watches[w.key] = set
		}
		set[w] = struct{}{}
		h.n++
		return l, nil
	}
}

// Watches returns how many interests are noted.
func (h *Hub) Watches() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.n
}

// tell wakes w. It is called with mu held.
func (h *Hub) tell(w *watch) {
	if !w.over {
		close(w.changed)
	}
	h.remove(w)
}

// remove forgets w. It is called with mu held.
func (h *Hub) remove(w *watch) {
	if w.over {
		return
	}
	w.over = true
	h.n--
	set := h.watches[w.key]
	delete(set, w)
	if len(set) == 0 {
		delete(h.watches, w.key)
	}
}
