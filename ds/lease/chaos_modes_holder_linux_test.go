package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redisx/redisx/ds/lease"
)

// modes says how many of a hundred rounds are of which mode; all others are of
// plain leases.
type modes struct {
	Shares int // of those that acquire: they ask for a share
	Sets   int // AcquireAll of several
	Hands  int // of those that hold it alone: they hand it over, and who comes next adopts
	Takes  int
	// Try: none waits. Shares wait in the queue, where a waiter that was killed
	// costs seconds.
	Try bool
}

// obtain gets a lease one way or another.
func (h *chaosHolder) obtain(ctx context.Context, cancel func(), r *rand.Rand, n int) (l *lease.Lease, share bool) {
	m := h.order.Modes
	if m.Hands > 0 {
		if l := h.adopt(ctx, n); l != nil {
			return l, false
		}
	}
	if r.IntN(100) < m.Takes {
		return h.takeOver(ctx, n), false
	}
	share = r.IntN(100) < m.Shares
	return h.acquire(ctx, cancel, r, n, share), share
}

func (h *chaosHolder) takeOver(ctx context.Context, n int) *lease.Lease {
	asking, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(h.order.Wait, cancel)
	_, back := h.call(takes, n, 0)
	l, err := lease.TakeOver(asking, h.client, chaosName(n), h.options()...)
	if !timer.Stop() {
		// The lease's context ends with the call's.
		err = errors.Join(err, asking.Err())
	}
	if l == nil || err != nil {
		back(unknown, 0, false)
		return nil
	}
	context.AfterFunc(l.Context(), cancel)
	back(yes, l.Token(), false)
	return l
}

// chaosTickets is the list of tickets that wait to be adopted.
func chaosTickets(n int) string { return "chaos:tickets:" + strconv.Itoa(n) }

// handOver gives the lease away. Two find its ticket.
func (h *chaosHolder) handOver(n int, l *lease.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), h.order.Wait)
	defer cancel()
	_, back := h.call(hands, n, l.Token())
	ticket, err := l.HandOver(ctx)
	if err != nil && !errors.Is(err, lease.ErrLost) {
		ticket, err = l.HandOver(ctx) // the same, if the first did its work
	}
	switch {
	case err == nil:
		back(yes, ticket.Token, false)
	case errors.Is(err, lease.ErrLost):
		back(no, l.Token(), false)
		return
	default:
		back(unknown, 0, false)
		return
	}
	text, err := json.Marshal(ticket)
	if err != nil {
		panic(err)
	}
	_, _ = h.client.Cmd(ctx, "LPUSH", chaosTickets(n), text, text) // else it lapses
}

// adopt adopts what was handed over last, if anything was.
func (h *chaosHolder) adopt(ctx context.Context, n int) *lease.Lease {
	asking, cancel := context.WithTimeout(ctx, h.order.Wait)
	defer cancel()
	v, err := h.client.Cmd(asking, "LPOP", chaosTickets(n))
	if err != nil || v.IsNull() {
		return nil
	}
	var ticket lease.Ticket
	if err := json.Unmarshal([]byte(v.Text()), &ticket); err != nil {
		panic(err)
	}
	_, back := h.call(adopts, n, ticket.Token)
	l, err := lease.Adopt(ctx, h.client, ticket, h.options()...)
	switch {
	case err == nil:
		back(yes, l.Token(), false)
		return l
	case errors.Is(err, lease.ErrTicket):
		back(no, ticket.Token, false)
	default:
		back(unknown, ticket.Token, false)
	}
	return nil
}

// set is several leases at once, from the question to their end.
func (h *chaosHolder) set(ctx context.Context, cancel func(), r *rand.Rand) {
	numbers := r.Perm(h.order.Leases)[:min(2+r.IntN(2), h.order.Leases)]
	var names []string
	backs := map[string]returned{}
	for _, n := range numbers {
		names = append(names, chaosName(n))
		_, backs[chaosName(n)] = h.call(acquires, n, 0)
	}
	opts := h.options()
	share := r.IntN(100) < h.order.Modes.Shares
	if share {
		opts = append(opts, lease.Shared())
	}
	timer := time.AfterFunc(h.order.Wait, cancel)
	s, err := lease.AcquireAll(ctx, h.client, names, opts...)
	timer.Stop()
	if err != nil {
		// It says who had the one at which it ended. Of those before it nobody
		// knows whether they were granted.
		var held *lease.HeldError
		for name, back := range backs {
			if errors.As(err, &held) && held.Name == name && held.Token > 0 {
				back(no, held.Token, held.Readers > 0)
			} else {
				back(unknown, 0, false)
			}
		}
		return
	}
	for name, back := range backs {
		back(yes, s.Lease(name).Token(), share)
	}
	h.workAll(numbers, s, h.order.Hold/2+rand.N(h.order.Hold))
	h.releaseAll(numbers, s)
}

// workAll trusts all leases of a set as long as its context lasts, for a while.
func (h *chaosHolder) workAll(numbers []int, s *lease.Set, hold time.Duration) {
	var working sync.WaitGroup
	defer working.Wait()
	released := make(chan struct{})
	defer close(released)
	working.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			at := mono() // see look
			if s.Context().Err() != nil {
				return
			}
			for _, n := range numbers {
				h.write(record{verb: looks, lease: uint8(n), op: h.ops.Add(1), at: at, token: s.Lease(chaosName(n)).Token()})
			}
			select {
			case <-tick.C:
			case <-released:
				return
			}
		}
	})
	for _, n := range numbers {
		h.fenced(n, s.Lease(chaosName(n)))
	}
	select {
	case <-s.Context().Done():
	case <-time.After(hold):
	}
}

// releaseAll releases a set, and writes down which of its leases had been lost.
func (h *chaosHolder) releaseAll(numbers []int, s *lease.Set) {
	ctx, cancel := context.WithTimeout(context.Background(), h.order.Wait)
	defer cancel()
	backs := map[string]returned{}
	for _, n := range numbers {
		_, backs[chaosName(n)] = h.call(releases, n, s.Lease(chaosName(n)).Token())
	}
	var errs []error
	switch joined := s.Release(ctx).(type) {
	case nil:
	case interface{ Unwrap() []error }:
		errs = joined.Unwrap()
	}
	for name, back := range backs {
		var lost *lease.LostError
		switch {
		case len(errs) == 0:
			back(yes, 0, false)
		case slices.ContainsFunc(errs, func(err error) bool { return errors.As(err, &lost) && lost.Name == name }):
			back(no, 0, false)
		default:
			back(unknown, 0, false)
		}
	}
}
