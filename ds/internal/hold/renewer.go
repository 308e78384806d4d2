package hold

import (
	"container/heap"
	"context"
	"io"
	"math/bits"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/replicas"
)

// batchRows bounds a script: what it renews keeps the server from others for
// about a quarter of a millisecond.
const batchRows = 256

// renewer renews the holds of one client, in groups. The client owns it.
type renewer struct {
	ctx     context.Context // ends the batches
	cancel  context.CancelFunc
	batches sync.WaitGroup

	mu     sync.Mutex
	closed bool
	groups map[kind]*group
	asked  bool   // a first renewal has left, to learn of server
	server string // which one answered last, "" when none has told
}

// kind is what holds have in common that are renewed together.
type kind struct {
	doer    command.Doer
	script  *command.Script
	confirm replicas.Need
	// ttl is the number of bits of the TTL: a batch waits for its answer as
	// long as its shortest TTL allows, and that shall be near to that of all.
	ttl int
}

// attachment is where a client keeps its renewer.
type attachment struct{}

func newRenewer() io.Closer {
	r := &renewer{groups: map[kind]*group{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// join puts h into its group, due after first. It reports false where there is
// none: the Doer owns nothing, or cannot be told from others. Then h has a Renew
// of its own. The caller holds h's mu.
func (h *Hold) join(first time.Duration) bool {
	var r *renewer
	if a, ok := h.o.Doer.(command.Attacher); ok && owned.Comparable(h.o.Doer) {
		// When the client is closed, so the renewals will say.
		if c, err := a.Attach(attachment{}, newRenewer); err == nil {
			r = c.(*renewer)
		}
	}
	if r == nil {
		h.o.Renew = h.renewRow
		return false
	}
	g := r.group(kind{doer: h.o.Doer, script: h.o.Row.Script(), confirm: h.o.Confirm, ttl: bits.Len64(uint64(h.o.TTL))})
	h.place = -1
	h.group = g.add(h, first)
	return true
}

func (r *renewer) group(k kind) *group {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[k]
	if g == nil {
		g = &group{r: r, kind: k}
		r.groups[k] = g
	}
	return g
}

// Close ends what is under way and waits for it. Holds that nobody stops end with
// their windows. The client calls it.
func (r *renewer) Close() error {
	r.mu.Lock()
	r.closed = true
	for _, g := range r.groups {
		for _, h := range g.due {
			h.at, h.ends = h.lapses, true
		}
		heap.Init(&g.due)
		g.set()
	}
	r.mu.Unlock()
	r.cancel()
	r.batches.Wait()
	return nil
}

// group is what may be renewed together: a heap by when it is due, and one
// timer. Its fields are guarded by the renewer's mu, which is taken after that
// of a hold.
type group struct {
	r     *renewer
	kind  kind
	due   queue
	timer *time.Timer // nil until the first is added
	wake  time.Time   // when the timer fires, zero when it does not
}

// entry is a hold in its group's heap.
type entry struct {
	at     time.Time // when something is to be done:
	ends   bool      // to look whether the window has closed, else to renew
	lapses time.Time // when the window closes
	place  int       // in the heap, -1 when not in it
}

// add makes h due after d, or when its window closes if that is sooner. It
// returns the group in which h is now: another one if g was given up meanwhile.
// The caller holds h's mu.
func (g *group) add(h *Hold, d time.Duration) *group {
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	if now := g.r.groups[g.kind]; now == nil {
		g.r.groups[g.kind] = g
	} else if h.place < 0 {
		g = now
	}
	if h.server == "" {
		h.server = g.r.server
	}
	if !g.r.asked {
		// The first of all is renewed at once: its answer tells which server
		// this is, so that a failover can be told from a deletion.
		g.r.asked = true
		d = 0
	}
	h.lapses = h.until
	h.at = time.Now().Add(d)
	if h.ends = g.r.closed || !h.at.Before(h.until); h.ends {
		h.at = h.until
	}
	g.put(h)
	return g
}

// put brings h to its place. The caller holds mu.
func (g *group) put(h *Hold) {
	if h.place < 0 {
		heap.Push(&g.due, h)
	} else {
		heap.Fix(&g.due, h.place)
	}
	if g.wake.IsZero() || h.at.Before(g.wake) {
		g.set()
	}
}

// remove takes h out, if it is in.
func (g *group) remove(h *Hold) {
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	// The timer stays as it is. Something held for a moment and given back costs
	// no more than its way through the heap.
	if h.place >= 0 {
		heap.Remove(&g.due, h.place)
	}
}

// set sets the timer to the first that is due. The caller holds mu.
func (g *group) set() {
	if len(g.due) == 0 {
		g.wake = time.Time{}
		delete(g.r.groups, g.kind)
		return
	}
	g.wake = g.due[0].at
	if g.timer == nil {
		g.timer = time.AfterFunc(time.Until(g.wake), g.tick)
		return
	}
	g.timer.Reset(time.Until(g.wake))
}

// tick renews what is due, and with it what is due within a sixtieth of its
// TTL: it comes early, so nothing waits for a batch to fill.
func (g *group) tick() {
	for _, h := range g.work() {
		h.trusted() // ends it
	}
}

// work starts the batches that are due and returns what may have to end.
func (g *group) work() (ended []*Hold) {
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	now := time.Now()
	var batch []*Hold
	g.wake = now // so that put leaves the timer to set
	for len(g.due) > 0 && g.due[0].ready(now) {
		h := g.due[0]
		if h.ends {
			heap.Pop(&g.due)
			ended = append(ended, h)
			continue
		}
		// Until its answer is there, nothing but its end is due.
		h.at, h.ends = h.lapses, true
		g.put(h)
		batch = append(batch, h)
		if len(batch) == batchRows {
			g.start(batch)
			batch = nil
		}
	}
	if len(batch) > 0 {
		g.start(batch)
	}
	g.set()
	return ended
}

// ready reports whether h is due now, or soon enough to be renewed with others.
func (h *Hold) ready(now time.Time) bool {
	if h.ends {
		return !h.at.After(now)
	}
	return !h.at.Add(-h.o.TTL / 60).After(now)
}

// start renews a batch on a goroutine of its own, so that one which fails or
// hangs keeps none of the others. The caller holds mu.
func (g *group) start(batch []*Hold) {
	g.r.batches.Go(func() { g.renew(batch) })
}

func (g *group) renew(batch []*Hold) {
	live := batch[:0]
	shortest := batch[0].o.TTL
	for _, h := range batch {
		if h.trusted() {
			live = append(live, h)
			shortest = min(shortest, h.o.TTL)
		}
	}
	if len(live) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(g.r.ctx, shortest/3)
	defer cancel()
	sent, a := ask(ctx, live)
	for i, h := range live {
		h.renewed(sent, h.judge(a.server, a.rows[i]))
	}
	if a.server != "" {
		g.r.mu.Lock()
		g.r.server = a.server
		g.r.mu.Unlock()
	}
}

// queue is a heap of holds by when they are due.
type queue []*Hold

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push is heap.Interface's.
func (q *queue) Push(h any) {
	h.(*Hold).place = len(*q)
	*q = append(*q, h.(*Hold))
}

// Pop is heap.Interface's.
func (q *queue) Pop() any {
	last := len(*q) - 1
	h := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	h.place = -1
	return h
}
