package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/wait"
)

const (
	// ticketTTL is how long a place in the queue outlives the last word of its
	// waiter: what a dead one costs those behind it.
	ticketTTL = 3 * time.Second
	// minTicketTTL is the least of it where it follows the TTL; see Share.
	minTicketTTL = time.Second
	// maxWaiting bounds the queue of one lease, and its readers.
	maxWaiting = 10_000
)

// ErrQueueFull: 10 000 wait for the lease already, or share it.
var ErrQueueFull = errors.New("lease: the queue is full")

// Fair makes Acquire wait in a queue, where the first to come is the first to be
// served, and only the next in line is told when the lease is released. It
// counts for Acquire, AcquireAll and With; TryAcquire never waits.
//
// Without it those who wait on one client line up there, and of each client the
// first tries when the lease is released: any of these may get it. But nobody
// overtakes a queue that is there: once one waits in it, all others do.
func Fair() Option { return func(o *options) { o.fair = true } }

// wait waits until the lease is granted.
func (a *attempt) wait(ctx context.Context) error {
	a.waits = true
	if a.o.shared {
		a.queued = true
		return wait.Until(ctx, a.d, a.names.turn(a.id), a.try)
	}
	if err := a.waitInLine(ctx); err != nil || a.granted {
		return err
	}
	a.queued = true
	return a.until(ctx, a.names.turn(a.id), time.Millisecond, a.try)
}

// until waits for key and tries, after the server has refused or might as well:
// the watch comes before the next attempt.
func (a *attempt) until(ctx context.Context, key string, again time.Duration, try tryFunc) error {
	refused := true
	return wait.Until(ctx, a.d, key, func(ctx context.Context) (bool, time.Duration, error) {
		if refused {
			refused = false
			return false, again, nil
		}
		return try(ctx)
	})
}

// once asks and does not wait.
func (a *attempt) once(ctx context.Context) error {
	if !a.o.shared {
		_, _, err := a.try(ctx)
		if err != nil || a.granted || a.held != nil {
			return err
		}
	}
	a.queued = true
	_, _, err := a.try(ctx)
	return err
}

// askQueue runs queue.lua.
func (a *attempt) askQueue(ctx context.Context) (grant, error) {
	mode, ticket := "write", int64(0)
	if a.o.shared {
		mode = "read"
	}
	if a.waits {
		ticket = a.ticketTTL().Milliseconds()
	}
	args := []command.Arg{
		command.Str(a.id), command.Str(a.o.owner), command.Int(a.o.ttl.Milliseconds()), command.Int(fenceTTL.Milliseconds()), command.Str(a.o.meta),
		command.Str(mode), command.Int(ticket), command.Int(maxWaiting), command.Int(a.o.weight), command.Int(a.o.limit),
	}
	for l := leaseOf(ctx); l != nil; l = l.outer {
		if l.names.lease == a.names.lease {
			args = append(args, command.Str(l.id))
		}
	}
	return a.send(ctx, lua.queue, []string{a.names.lease, a.names.fence, a.names.queue, a.names.order, a.names.readers, a.names.limit()}, args...)
}

// ticketTTL is that of this attempt. With a limit the holders that die take
// waiters along that stand before others: neither is to cost more than the other.
func (a *attempt) ticketTTL() time.Duration {
	if !a.o.limited {
		return ticketTTL
	}
	return min(max(a.o.ttl, minTicketTTL), ticketTTL)
}

// pause returns for how long to wait for a push, where something is said to
// change by itself after left.
func (a *attempt) pause(left time.Duration) time.Duration {
	if a.queued && a.waits {
		// Early enough to keep the ticket when an attempt or two fail.
		ttl := a.ticketTTL()
		beat := ttl/3 - ttl/30 + rand.N(ttl/15)
		if left < 0 || left > beat {
			return beat
		}
	}
	if left < 0 {
		return 0
	}
	// A key lapses in the millisecond after its last; a few more keep those
	// who wait for the same end from asking at once.
	return left + time.Millisecond + rand.N(5*time.Millisecond)
}

// leave gives back all that id has of a lease: the lease, a share, a ticket.
func leave(ctx context.Context, d command.Doer, n names, id string, token int64) (why hold.Reason, err error) {
	return command.RunScript(ctx, d, lua.leave, hold.AsReason, []string{n.lease, n.fence, n.queue, n.order, n.readers},
		command.Str(id), command.Int(token))
}
