package tracking

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

// ErrUncached says that the cache has no answer and cannot get one: the caller
// reads for itself. Nothing was sent, or it was a read whose connection died.
var ErrUncached = errors.New("tracking: not cached")

// firstWait is how long callers wait for the very first connection, counted
// from the first of them. Later ones never wait: what they ask is not cached
// while there is no connection.
const firstWait = time.Second

// flight is one fetch and those who wait for it.
type flight struct {
	ctx     context.Context // ends when the last caller has left
	cancel  context.CancelFunc
	callers int // guarded by Hub.mu

	done chan struct{} // closed when the rest is set
	view resp3.View    // owns its bytes
	err  error
}

// Do answers r from the cache, or fetches it for all who ask meanwhile. The
// reply is at most maxAge old, counted from before it was asked for. r must be
// a read whose reply depends on its keys alone.
func (h *Hub) Do(ctx context.Context, r *command.Request, maxAge time.Duration) (command.Reply, error) {
	if ctx.Err() != nil {
		return command.Reply{}, h.left(ctx, r, command.NotSent)
	}
	if maxAge <= 0 || h.cfg.MaxBytes < 0 {
		return h.uncached()
	}
	var buf [256]byte
	id := r.Append(buf[:0])
	if v := h.hit(id, maxAge); v != nil {
		return command.NewReply(v, nil), nil
	}
	if !h.covers(r) {
		return h.uncached()
	}
	s, f, v, err := h.join(ctx, r, id, maxAge)
	switch {
	case err != nil && ctx.Err() != nil:
		return command.Reply{}, h.left(ctx, r, command.NotSent)
	case err != nil:
		return h.uncached()
	case f == nil:
		return command.NewReply(v, nil), nil
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		h.leave(s, f)
		return command.Reply{}, h.left(ctx, r, command.Maybe)
	}
	if f.err == ErrUncached {
		return h.uncached()
	}
	if f.err != nil {
		return command.Reply{}, f.err
	}
	return command.NewReply(&f.view, nil), nil
}

func (h *Hub) uncached() (command.Reply, error) {
	h.count.uncached.Add(1)
	return command.Reply{}, ErrUncached
}

// left is the error of a caller whose context has ended.
func (h *Hub) left(ctx context.Context, r *command.Request, o command.Outcome) error {
	phase := "read"
	if o == command.NotSent {
		phase = "queue"
	}
	return &command.Error{Command: r.Name(), Node: h.conn.Node, Phase: phase, Outcome: o, Err: session.Ended(ctx)}
}

// covers reports whether the server tells of changes of all keys of r.
func (h *Hub) covers(r *command.Request) bool {
	n := 0
	for k := range r.Keys() {
		n++
		if len(h.cfg.Prefixes) > 0 && !slices.ContainsFunc(h.cfg.Prefixes, func(p string) bool { return strings.HasPrefix(k, p) }) {
			return false
		}
	}
	return n > 0
}

// now is the hub's clock: monotonic, in nanoseconds.
func (h *Hub) now() int64 { return int64(time.Since(h.born)) }

// hit returns what is stored under id, or nil if it may not be served.
func (h *Hub) hit(id []byte, maxAge time.Duration) *resp3.View {
	now := h.now()
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.stored(h.store.slots[string(id)], now, maxAge)
}

// stored returns what is stored in s, which never changes, or nil if it may not
// be served. It is called with mu held, at least for reading.
func (h *Hub) stored(s *slot, now int64, maxAge time.Duration) *resp3.View {
	if s == nil || s.flight != nil || now >= s.end || now-s.began >= int64(maxAge) ||
		h.line.generation != h.node.Generation() { // where there is an entry there is a line
		return nil
	}
	if !s.visited.Load() {
		s.visited.Store(true)
	}
	h.count.hits.Add(1)
	return &s.view
}

// join returns the fetch of r, begun now if there is none, or what has been
// stored meanwhile.
func (h *Hub) join(ctx context.Context, r *command.Request, id []byte, maxAge time.Duration) (*slot, *flight, *resp3.View, error) {
	h.mu.Lock()
	l, err := h.patience(ctx)
	if err != nil {
		h.mu.Unlock()
		return nil, nil, nil, err
	}
	defer h.mu.Unlock()
	now := h.now()
	s := h.store.slots[string(id)]
	if v := h.stored(s, now, maxAge); v != nil {
		return nil, nil, v, nil
	}
	if s != nil && s.flight != nil {
		s.flight.callers++
		h.count.shared.Add(1)
		return s, s.flight, nil, nil
	}
	if s != nil {
		h.store.remove(s) // too old
	}
	h.count.misses.Add(1)
	own := ownRequest(r)
	keys := slices.Compact(slices.Sorted(own.Keys()))
	f := &flight{callers: 1, done: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancel(h.ctx)
	s = &slot{id: string(id), flight: f, began: now}
	h.used.Store(true) // before the slot is there for writers to find
	h.store.add(s, keys)
	h.wg.Go(func() { h.fetch(l, s, f, own, keys) })
	return s, f, nil, nil
}

// patience returns the live line, waiting for the very first one for a moment.
// It is called with mu held, which it gives up while it waits.
func (h *Hub) patience(ctx context.Context) (*line, error) {
	l, a, err := h.current()
	if l != nil || err != nil {
		return l, err
	}
	left := firstWait - time.Since(h.began)
	if h.met || left <= 0 {
		return nil, ErrUncached
	}
	h.mu.Unlock()
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-a.done:
	case <-t.C:
	case <-ctx.Done():
	}
	h.mu.Lock()
	if h.line == nil || ctx.Err() != nil {
		return nil, ErrUncached
	}
	return h.line, nil
}

// leave takes a caller out of f. The last one ends it.
func (h *Hub) leave(s *slot, f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.callers--; f.callers == 0 && s.flight == f {
		h.store.remove(s)
		f.cancel()
	}
}

// fetch reads r over l, and stores the reply unless it was taken out meanwhile.
func (h *Hub) fetch(l *line, s *slot, f *flight, r command.Request, keys []string) {
	defer f.cancel()
	rs := make([]command.Request, 0, len(keys)+1)
	for _, k := range keys {
		// Before r: a key that appears, or gets another life, in between is
		// told of as changed.
		rs = append(rs, command.PTTL(k).Request())
	}
	rs = append(rs, r)
	life := int64(math.MaxInt64)
	l.conn.DoBatch(f.ctx, rs, func(i int, v resp3.View, err error) {
		if i < len(keys) {
			life = min(life, lifeOf(v, err))
			return
		}
		if f.err = err; err == nil {
			f.view = keepView(v)
		} else if !final(err) {
			f.err = ErrUncached
		}
	})
	h.mu.Lock()
	if life > math.MaxInt64-s.began {
		s.end = math.MaxInt64
	} else {
		s.end = s.began + life
	}
	if !s.gone {
		if f.err == nil && h.now() < s.end && len(f.view.Raw()) <= h.cfg.MaxEntryBytes && sizeOf(s, f.view) <= h.store.max {
			h.store.keep(s, f.view)
		} else {
			h.store.remove(s)
		}
	}
	h.mu.Unlock()
	close(f.done)
}

// final reports whether err is the server's word, or its silence for the whole
// timeout. Other errors are of this connection, and the caller has another one.
func final(err error) bool {
	var e resp3.ServerError
	return errors.As(err, &e) || errors.Is(err, session.ErrStalled)
}

// lifeOf returns how long, in nanoseconds, a key lives that PTTL answered so.
func lifeOf(v resp3.View, err error) int64 {
	if err != nil {
		return 0
	}
	switch n, err := v.Int(); {
	case err != nil || n < -2:
		return 0
	case n < 0 || n > math.MaxInt64/int64(time.Millisecond): // no key, or no end
		return math.MaxInt64
	default:
		return n * int64(time.Millisecond)
	}
}

// keepView returns v over bytes of its own. A text is handed to all callers as
// it is; of an aggregate each makes its own, so that none keeps all of it.
func keepView(v resp3.View) resp3.View {
	if !v.IsOwned() {
		v = v.Rebase(slices.Clip(append([]byte(nil), v.Raw()...)))
	}
	if !v.Kind().IsAggregate() {
		v = v.Owned()
	}
	return v
}

// ownRequest returns r with arguments of its own: a fetch may outlive the
// caller whose memory they are.
func ownRequest(r *command.Request) command.Request {
	own := command.NewRequest(r.Spec())
	for i := range r.Len() {
		own.Add(command.Str(strings.Clone(r.Arg(i).Text())))
	}
	return own
}
