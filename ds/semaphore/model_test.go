package semaphore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
)

// out is a permit that the model has granted.
type out struct {
	permit *semaphore.Permit
	lapsed bool
}

// waiter is a call of Acquire that the model has in its queue.
type waiter struct {
	weight int
	cancel context.CancelFunc
	done   chan struct{} // closed when the two below are set
	permit *semaphore.Permit
	err    error
}

// machine is the reference model: a sum, and a queue of which only the first may
// come in.
type machine struct {
	c     *redisx.Client
	s     *semaphore.Semaphore
	limit int
	outs  []*out
	queue []*waiter
	were  []*semaphore.Permit // released
}

const modelLimit = 5

func (m *machine) used() (n int) {
	for _, o := range m.outs {
		if !o.lapsed {
			n += o.permit.Weight()
		}
	}
	return n
}

// agree lets the model serve its queue, and compares.
func (m *machine) agree(rt *rapid.T) {
	for len(m.queue) > 0 && m.used()+m.queue[0].weight <= m.limit {
		w := m.queue[0]
		select {
		case <-w.done:
		case <-time.After(10 * time.Second):
			i, err := m.s.Inspect(context.Background())
			rt.Fatalf("a waiter of weight %d has not come in beside %d of %d; %s, %v", w.weight, m.used(), m.limit, i.Explain(), err)
		}
		if w.err != nil {
			rt.Fatalf("a waiter got %v", w.err)
		}
		m.queue, m.outs = m.queue[1:], append(m.outs, &out{permit: w.permit})
	}
	i, err := m.s.Inspect(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	permits := 0
	for _, o := range m.outs {
		if !o.lapsed {
			permits++
		}
	}
	if i.Used != m.used() || i.Permits != permits || i.Waiting != len(m.queue) {
		rt.Fatalf("the server says %d in use by %d, %d waiting; the model %d by %d, %d", i.Used, i.Permits, i.Waiting, m.used(), permits, len(m.queue))
	}
}

func (m *machine) try(rt *rapid.T) {
	weight := rapid.IntRange(1, 8).Draw(rt, "weight")
	p, err := m.s.TryAcquire(context.Background(), weight)
	switch {
	case weight > m.limit:
		if !errors.Is(err, semaphore.ErrNeverFits) {
			rt.Fatalf("%d of %d: %v, %v", weight, m.limit, p, err)
		}
	case len(m.queue) == 0 && m.used()+weight <= m.limit:
		if err != nil {
			rt.Fatalf("%d beside %d of %d: %v", weight, m.used(), m.limit, err)
		}
		m.outs = append(m.outs, &out{permit: p})
	case !errors.Is(err, semaphore.ErrFull):
		rt.Fatalf("%d beside %d of %d, behind %d: %v, %v", weight, m.used(), m.limit, len(m.queue), p, err)
	}
}

func (m *machine) wait(rt *rapid.T) {
	if len(m.queue) >= 5 {
		rt.Skip("enough wait")
	}
	// No more than the least limit, so that none is refused while it waits.
	w := &waiter{weight: rapid.IntRange(1, 3).Draw(rt, "weight"), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() {
		defer close(w.done)
		w.permit, w.err = m.s.Acquire(ctx, w.weight)
	}()
	if len(m.queue) > 0 || m.used()+w.weight > m.limit {
		n := int64(len(m.queue) + 1)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			got, err := m.c.ZCard(context.Background(), semaphore.OrderKey(m.s.Name()))
			if err == nil && got == n {
				break
			}
			if time.Now().After(end) {
				rt.Fatalf("%d in the queue, want %d; %v", got, n, err)
			}
		}
	}
	m.queue = append(m.queue, w)
}

func (m *machine) one(rt *rapid.T) *out {
	if len(m.outs) == 0 {
		rt.Skip("none is out")
	}
	return rapid.SampledFrom(m.outs).Draw(rt, "permit")
}

func (m *machine) release(rt *rapid.T) {
	o := m.one(rt)
	m.outs = slices.DeleteFunc(m.outs, func(x *out) bool { return x == o })
	err := o.permit.Release(context.Background())
	if o.lapsed != errors.Is(err, lease.ErrLost) || !o.lapsed && err != nil {
		rt.Fatalf("Release (lapsed %v): %v", o.lapsed, err)
	}
	m.were = append(m.were, o.permit)
}

func (m *machine) again(rt *rapid.T) {
	if len(m.were) == 0 {
		rt.Skip("none was released")
	}
	_ = rapid.SampledFrom(m.were).Draw(rt, "released").Release(context.Background())
}

// lapse lets time pass for one permit only, as if it had not been renewed.
func (m *machine) lapse(rt *rapid.T) {
	o := m.one(rt)
	if o.lapsed || len(m.queue) > 0 { // nobody tells the queue: it looks again within a second
		rt.Skip("somebody waits")
	}
	i, err := m.s.Inspect(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	for _, h := range i.Holding {
		if h.Token == o.permit.Token() {
			if _, err := m.c.Cmd(context.Background(), "ZADD", semaphore.ReadersKey(m.s.Name()), "XX", 1, h.ID); err != nil {
				rt.Fatal(err)
			}
			o.lapsed = true
			return
		}
	}
	rt.Fatalf("%v is not in %+v", o.permit, i)
}

func (m *machine) leave(rt *rapid.T) {
	if len(m.queue) == 0 {
		rt.Skip("nobody waits")
	}
	i := rapid.IntRange(0, len(m.queue)-1).Draw(rt, "waiter")
	w := m.queue[i]
	w.cancel()
	<-w.done
	if !errors.Is(w.err, context.Canceled) || !errors.Is(w.err, semaphore.ErrFull) {
		rt.Fatalf("who left got %v", w.err)
	}
	m.queue = slices.Delete(m.queue, i, i+1)
	// It leaves in the background.
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n, err := m.c.ZCard(context.Background(), semaphore.OrderKey(m.s.Name())); err == nil && n <= int64(len(m.queue)) {
			return
		}
	}
	rt.Fatal("who left is in the queue")
}

func (m *machine) set(rt *rapid.T) {
	n := rapid.SampledFrom([]int{0, 3, 4, 5, 6, 7}).Draw(rt, "limit")
	if err := m.s.SetLimit(context.Background(), n); err != nil {
		rt.Fatal(err)
	}
	if m.limit = n; n == 0 {
		m.limit = modelLimit
	}
}

// TestASemaphoreDoesAsItsModel: permits, waiters, limits and lapses in any order.
func TestASemaphoreDoesAsItsModel(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		runs, steps := 0, 0
		rapid.Check(t, func(rt *rapid.T) {
			runs++
			m := &machine{c: c, s: semaphore.New(c, fmt.Sprint("gpu", runs), modelLimit), limit: modelLimit}
			defer func() {
				for _, w := range m.queue {
					w.cancel()
					<-w.done
					if w.permit != nil {
						_ = w.permit.Release(context.Background())
					}
				}
				for _, o := range m.outs {
					_ = o.permit.Release(context.Background())
				}
			}()
			rt.Repeat(map[string]func(*rapid.T){
				"try": m.try, "wait": m.wait, "release": m.release, "release again": m.again,
				"lapse": m.lapse, "leave": m.leave, "set the limit": m.set,
				"": func(rt *rapid.T) { steps++; m.agree(rt) },
			})
		})
		t.Logf("%d runs with %d steps", runs, steps)
	})
}
