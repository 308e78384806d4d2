package lease_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
)

// envChaos makes the test binary a process that holds leases as a chaosOrder
// says, until its stdin ends.
const envChaos = "REDISX_TEST_LEASE_CHAOS"

func init() { children[envChaos] = chaosChild }

// chaosOrder is what such a process is to do.
type chaosOrder struct {
	URL     string
	Journal string // the file it writes
	Holder  int    // its number
	Seed    uint64
	Leases  int
	Workers int
	TTL     time.Duration
	Hold    time.Duration // how long most hold a lease
	Wait    time.Duration // how long they wait for one at most
	Acks    int           // replicas that must have a grant and a renewal
	Tidy    bool          // they wait for every lease, hold it for Hold, and release it
	Fair    bool
	Modes   modes
	Plants  []plant // bugs
}

// plant is a bug that the checker has to find: a change of a script, or, where
// Script is "window", a trust window that starts with the reply, and where it is
// "acks", grants and renewals that no replica has confirmed.
type plant struct{ Script, Old, New string }

// mono is the machine's monotonic clock, the same for all processes.
func mono() int64 {
	var ts syscall.Timespec
	const monotonic = 1
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		panic(errno)
	}
	return ts.Nano()
}

func chaosChild(order string) error {
	var o chaosOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return err
	}
	window := false
	for _, p := range o.Plants {
		switch p.Script {
		case "window":
			window = true
		case "acks":
			o.Acks = 0
		default:
			if err := lease.PlantScript(p.Script, p.Old, p.New); err != nil {
				return err
			}
		}
	}
	// Nothing runs when the parent hears this: it may move our clock.
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return nil
	}
	file, err := os.OpenFile(o.Journal, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var reading sync.WaitGroup
	reading.Go(func() {
		_, _ = in.ReadString('\n') // never comes: the parent closes it, or dies
		stop()
	})
	c, err := connectThrough(ctx, o.URL)
	switch {
	case c == nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	h := &chaosHolder{order: o, client: c, journal: file, window: window}
	var wg sync.WaitGroup
	for w := range o.Workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(o.Seed, uint64(o.Holder)<<16|uint64(w)))
			for ctx.Err() == nil {
				h.round(r)
			}
		})
	}
	wg.Wait()
	reading.Wait()
	return c.Close()
}

// connectThrough connects while the network does what it likes.
func connectThrough(ctx context.Context, url string) (*redisx.Client, error) {
	for {
		c, err := redisx.Connect(ctx, url)
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// chaosHolder is one process.
type chaosHolder struct {
	order   chaosOrder
	client  *redisx.Client
	journal *os.File
	window  bool
	ops     atomic.Uint32
}

// call writes down that something begins, and returns what to write when it has
// come back.
func (h *chaosHolder) call(v verb, n int, token int64) (op uint32, back returned) {
	op = h.ops.Add(1)
	h.write(record{verb: v, lease: uint8(n), op: op, at: mono(), token: token})
	return op, func(o outcome, token int64, share bool) {
		h.write(record{verb: v, outcome: o, back: true, share: share, lease: uint8(n), op: op, at: mono(), token: token})
	}
}

// returned writes down what came of a call. See op for token and share.
type returned func(o outcome, token int64, share bool)

func (h *chaosHolder) write(r record) {
	if _, err := h.journal.Write(r.bytes()); err != nil {
		panic(err)
	}
}

// look reports whether the holder still trusts its lease, and writes it down.
func (h *chaosHolder) look(n int, l *lease.Lease) bool {
	// The clock before the look: what is trusted then was trusted now.
	at := mono()
	if l.Context().Err() != nil {
		return false
	}
	h.write(record{verb: looks, lease: uint8(n), op: h.ops.Add(1), at: at, token: l.Token()})
	return true
}

// work looks at the lease again and again until it ends or is given back.
func (h *chaosHolder) work(n int, l *lease.Lease, released <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for h.look(n, l) {
		select {
		case <-tick.C:
		case <-released:
			return
		}
	}
}

// round is one lease, from the question to its end.
func (h *chaosHolder) round(r *rand.Rand) {
	n := r.IntN(h.order.Leases)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if r.IntN(100) < h.order.Modes.Sets {
		h.set(ctx, cancel, r)
		return
	}
	l, share := h.obtain(ctx, cancel, r, n)
	if l == nil {
		return
	}
	// Work goes on while a write waits for its answer.
	var working sync.WaitGroup
	defer working.Wait()
	released := make(chan struct{})
	defer close(released)
	working.Go(func() { h.work(n, l, released) })
	h.fenced(n, l)
	hold := h.order.Hold/2 + rand.N(h.order.Hold)
	habit := r.IntN(100)
	switch {
	case h.order.Tidy:
		hold, habit = h.order.Hold, 50
	case habit < 10:
		hold = rand.N(h.order.TTL * 3 / 2) // it must be renewed
	}
	select {
	case <-l.Context().Done():
	case <-time.After(hold):
	}
	switch {
	case habit < 5: // nobody renews it, and its holder writes and releases late
		cancel()
		time.Sleep(rand.N(h.order.TTL * 3 / 2))
	case habit > 97: // a holder that forgets
		return
	}
	if r.IntN(2) == 0 || l.Context().Err() != nil {
		h.fenced(n, l) // also when the context has said stop
	}
	if !share && r.IntN(100) < h.order.Modes.Hands {
		h.handOver(n, l)
		return
	}
	h.release(n, l)
}

// acquire asks for a lease, for a while. cancel ends what it gets.
func (h *chaosHolder) acquire(ctx context.Context, cancel func(), r *rand.Rand, n int, share bool) *lease.Lease {
	acquire, limit := lease.TryAcquire, h.order.Wait
	if h.order.Tidy || !h.order.Modes.Try && r.IntN(2) == 0 {
		acquire, limit = lease.Acquire, h.order.Wait/2+time.Duration(r.Int64N(int64(h.order.Wait)))
	}
	opts := h.options()
	if share {
		opts = append(opts, lease.Shared())
	}
	timer := time.AfterFunc(limit, cancel)
	_, back := h.call(acquires, n, 0)
	l, err := acquire(ctx, h.client, chaosName(n), opts...)
	timer.Stop()
	return h.heard(back, l, err, share)
}

// options are those of all leases.
func (h *chaosHolder) options() []lease.Option {
	opts := []lease.Option{lease.TTL(h.order.TTL)}
	if h.order.Acks > 0 {
		opts = append(opts, lease.Replicas(h.order.Acks, (h.order.TTL/5).Truncate(time.Millisecond)))
	}
	if h.order.Fair {
		opts = append(opts, lease.Fair())
	}
	return opts
}

// heard writes down what came of an acquisition.
func (h *chaosHolder) heard(back returned, l *lease.Lease, err error, share bool) *lease.Lease {
	var held *lease.HeldError
	switch {
	case err == nil:
		if h.window {
			l = l.TrustFromNow()
		}
		back(yes, l.Token(), share)
		return l
	case errors.As(err, &held) && held.Token > 0: // 0: promised to the next in the queue
		back(no, held.Token, held.Readers > 0)
	default:
		back(unknown, 0, false)
	}
	return nil
}

// fenced writes with the lease's token.
func (h *chaosHolder) fenced(n int, l *lease.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), h.order.Wait)
	defer cancel()
	op, back := h.call(writes, n, l.Token())
	_, err := l.Do(ctx, command.Untyped("RPUSH", chaosLog(n), writeID(l.Token(), h.order.Holder, op)).Request())
	switch {
	case err == nil:
		back(yes, 0, false)
	case errors.Is(err, lease.ErrFenced):
		back(no, 0, false)
	default:
		back(unknown, 0, false)
	}
}

func (h *chaosHolder) release(n int, l *lease.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), h.order.Wait)
	defer cancel()
	_, back := h.call(releases, n, l.Token())
	switch err := l.Release(ctx); {
	case err == nil:
		back(yes, 0, false)
	case errors.Is(err, lease.ErrLost):
		back(no, 0, false)
	default:
		back(unknown, 0, false)
	}
}

// chaosName is the name of a lease.
func chaosName(n int) string { return "chaos:" + strconv.Itoa(n) }

// chaosLog is the list that the holders of a lease write to.
func chaosLog(n int) string { return "chaos:log:" + strconv.Itoa(n) }
