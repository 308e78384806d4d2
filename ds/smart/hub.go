package smart

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
)

// maxBytes bounds what a hub keeps of the keys that are waited for.
const maxBytes = 64 << 20

var errClosed = errors.New("smart: the client is closed")

// hub is what the waits of one client share. The client owns it.
type hub struct {
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	single bool           // it serves one wait
	wg     sync.WaitGroup // the sources
	count  counters

	mu      sync.Mutex
	closed  bool
	waiting int // conditions
	bytes   int // of the sources
	sources map[identity]*source
}

// identity is what tells sources apart. The Doer is part of it: wrappers of one
// client share its hub, and need not ask the server for the same. It is nil in a
// hub of one wait.
type identity struct {
	d    command.Doer
	kind kind
	key  string
}

// attachment is where a client keeps its hub.
type attachment struct{}

func newHub() *hub {
	h := &hub{sources: map[identity]*source{}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// hubOf returns the hub that the waits on d share, and what to call after a
// wait. A Doer that cannot own one gets one for each wait.
func hubOf(d command.Doer) (*hub, func(), error) {
	a, ok := d.(command.Attacher)
	if !ok || !owned.Comparable(d) {
		h := newHub()
		h.single = true
		return h, func() { h.Close() }, nil
	}
	c, err := a.Attach(attachment{}, func() io.Closer { return newHub() })
	if err != nil {
		return nil, nil, err
	}
	return c.(*hub), func() {}, nil
}

// Close ends all waits, and waits for what runs. The client calls it.
func (h *hub) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.wg.Wait()
	return nil
}

// waiter is one wait: its conditions, and the sources that serve them.
type waiter struct {
	hub   *hub
	wake  chan struct{} // has room for one: something was read
	parts []part
}

// part is one condition of a waiter.
type part struct {
	leaf   *leaf
	source *source
	joined int64 // the reads that had begun when the waiter came
	judged int64 // the read that the rest is from
	met    bool
	seen   Seen // Met says that it is met by a read that began after the waiter came
	base   baseline
}

// join makes the hub read what the leaves need, and tell the waiter.
func (h *hub) join(d command.Doer, leaves []*leaf, most int) (*waiter, error) {
	w := &waiter{hub: h, wake: make(chan struct{}, 1), parts: make([]part, len(leaves))}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed
	}
	if h.waiting+len(leaves) > most {
		h.count.refused.Add(1)
		return nil, &overloaded{waiters: h.waiting, max: most}
	}
	h.waiting += len(leaves)
	for i, l := range leaves {
		id := identity{kind: l.kind, key: l.key}
		if !h.single {
			id.d = d
		}
		s := h.sources[id]
		if s == nil {
			s = newSource(h, id, d)
			h.sources[id] = s
			h.bytes += s.bytes
			h.wg.Go(s.run)
		}
		s.waiters[w] = struct{}{}
		w.parts[i] = part{leaf: l, source: s, joined: s.reads.Load(), seen: Seen{Key: l.key}}
	}
	return w, nil
}

// leave ends what join began. A source without waiters ends.
func (w *waiter) leave() {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting -= len(w.parts)
	for i := range w.parts {
		s := w.parts[i].source
		delete(s.waiters, w)
		if len(s.waiters) == 0 && h.sources[s.id] == s {
			delete(h.sources, s.id)
			h.bytes -= s.bytes
			s.cancel()
		}
	}
}

// judge looks at what was read last. It returns the error of a read that began
// after the waiter came and that no other will mend.
//
// What was read before the waiter came proves nothing to it: its caller may have
// written since. So where only that meets a condition, one more read is asked
// for, for all who ask.
func (w *waiter) judge(c Condition) (met bool, err error) {
	for i := range w.parts {
		p := &w.parts[i]
		r := p.source.last.Load()
		switch {
		case r == nil || r.number == p.judged:
		case r.err != nil && r.number > p.joined:
			return false, r.err
		case r.err != nil:
			p.source.refresh(p.joined)
		default:
			p.see(r)
		}
	}
	if met, _ = c.holds(0, func(i int) bool { return w.parts[i].seen.Met }); met {
		return true, nil
	}
	for i := range w.parts {
		if p := &w.parts[i]; p.met && !p.seen.Met {
			p.source.refresh(p.joined)
		}
	}
	return false, nil
}

// see judges a read.
func (p *part) see(r *reading) {
	p.judged = r.number
	p.met = p.leaf.met(r.state)
	p.seen = p.leaf.seen(r.state)
	p.seen.Met = p.met && r.number > p.joined
	if p.leaf.kind != stream {
		return
	}
	switch {
	case p.met:
		p.seen.Lost = r.state.lost(p.leaf.after, p.base)
	case !r.state.exists:
		p.base = baseline{}
	case r.state.last == p.leaf.after:
		p.base = baseline{known: true, added: r.state.added}
	}
}

// counters are of a hub, since it was made.
type counters struct{ reads, changes, failures, refused atomic.Int64 }
