package tracking

import (
	"context"
	"errors"
	"sync"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// ErrNoPush is returned where the server does not speak RESP3 or does not let
// the user track keys. Poll instead.
var ErrNoPush = errors.New("tracking: the server cannot push")

// MaxWatches bounds the interests of one hub.
const MaxWatches = 100_000

// ErrOverloaded is returned beyond MaxWatches.
var ErrOverloaded = errors.New("tracking: too many watches")

var (
	trackingSpec = command.NewSpec(command.Spec{Name: "CLIENT TRACKING", Arity: -3, Retry: command.RetrySession})
	existsSpec   = command.NewSpec(command.Spec{Name: "EXISTS", Arity: -2, Flags: command.ReadOnly, Retry: command.RetryRead, Keys: command.KeySpec{First: 1, Last: -1, Step: 1}})
)

// Hub is the tracking connection of one node and those who wait on it. It may
// be used by many goroutines at once.
type Hub struct {
	node *pool.Node
	cfg  session.Config

	dial chan struct{} // held, as a lock that obeys contexts, while dialling

	mu      sync.Mutex
	conn    *session.Conn
	watches map[string]map[*watch]struct{}
	n       int
	noPush  bool
}

// New returns a hub of node. It connects on first use and is closed by the
// node's Close.
func New(node *pool.Node, cfg session.Config) *Hub {
	return &Hub{node: node, cfg: cfg, dial: make(chan struct{}, 1), watches: map[string]map[*watch]struct{}{}}
}

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
	c, err := h.connection(ctx)
	if err != nil {
		return nil, err
	}
	w := &watch{hub: h, key: key, changed: make(chan struct{})}
	h.mu.Lock()
	if h.n >= MaxWatches {
		h.mu.Unlock()
		return nil, ErrOverloaded
	}
	set := h.watches[key]
	if set == nil {
		set = map[*watch]struct{}{}
		h.watches[key] = set
	}
	set[w] = struct{}{}
	h.n++
	h.mu.Unlock()

	r := command.NewRequest(existsSpec, command.Str(key))
	reply, err := c.Do(ctx, &r)
	if err != nil {
		w.Stop()
		return nil, err
	}
	reply.Release()
	return w, nil
}

// connection returns the tracking connection, opening it if there is none.
func (h *Hub) connection(ctx context.Context) (*session.Conn, error) {
	select {
	case h.dial <- struct{}{}:
		defer func() { <-h.dial }()
	case <-ctx.Done():
		return nil, session.Ended(ctx)
	}
	h.mu.Lock()
	c, noPush := h.conn, h.noPush
	h.mu.Unlock()
	if noPush {
		return nil, ErrNoPush
	}
	if c != nil && c.Err() == nil {
		return c, nil
	}
	if c != nil {
		h.node.Drop(c)
	}
	cfg := h.cfg
	cfg.Standing = true
	cfg.OnPush = h.push
	cfg.OnClose = func(error) { h.changedAll() }
	c, err := h.node.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := h.track(ctx, c); err != nil {
		h.node.Drop(c)
		if !errors.Is(err, ErrNoPush) {
			return nil, err
		}
		h.mu.Lock()
		h.noPush = true
		h.mu.Unlock()
		return nil, ErrNoPush
	}
	h.mu.Lock()
	h.conn = c
	h.mu.Unlock()
	return c, nil
}

// track asks the server to push changes of keys that c reads.
func (h *Hub) track(ctx context.Context, c *session.Conn) error {
	if !c.RESP3() {
		return ErrNoPush // the server would track, and keep it to itself
	}
	r := command.NewRequest(trackingSpec, command.Str("ON"))
	reply, err := c.Do(ctx, &r)
	if err == nil {
		reply.Release()
		return nil
	}
	var e resp3.ServerError
	if errors.As(err, &e) && (e.Code() == "ERR" || e.Code() == "NOPERM") {
		return ErrNoPush // for good, unlike LOADING and its like
	}
	return err
}

// push takes "invalidate" messages: a list of keys, or null for all.
func (h *Hub) push(v resp3.View) {
	c := v.Cursor()
	kind, ok := c.Next()
	if !ok || string(kind.Bytes()) != "invalidate" {
		return
	}
	keys, ok := c.Next()
	if !ok || keys.IsNull() {
		h.changedAll()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	list := keys.Cursor()
	for k, ok := list.Next(); ok; k, ok = list.Next() {
		for w := range h.watches[string(k.Bytes())] {
			h.tell(w)
		}
	}
}

func (h *Hub) changedAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, set := range h.watches {
		for w := range set {
			h.tell(w)
		}
	}
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

// Watches returns how many interests are noted.
func (h *Hub) Watches() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}
