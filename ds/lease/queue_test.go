package lease_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// inQueue waits until n wait in the queue.
func inQueue(t testing.TB, c *redisx.Client, name string, n int64) {
	t.Helper()
	dstest.Eventually(t, 10*time.Second, fmt.Sprintf("%d in the queue", n), func() bool {
		return dstest.Int(t, c, "ZCARD", lease.OrderKey(name)) == n
	})
}

// line lets n waiters queue up behind those who are there, one after the other.
// served waits until all have had the lease, each for a moment, and returns the
// order in which they had it.
func line(t *testing.T, c *redisx.Client, name string, n int, opts ...lease.Option) (served func() []int) {
	t.Helper()
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	before := dstest.Int(t, c, "ZCARD", lease.OrderKey(name))
	for i := range n {
		wg.Go(func() {
			l, err := lease.Acquire(context.Background(), c, name, opts...)
			if err != nil {
				t.Errorf("waiter %d: %v", i, err)
				return
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			release(t, l)
		})
		inQueue(t, c, name, before+int64(i)+1)
	}
	return func() []int { wg.Wait(); return order }
}

func inOrder(t *testing.T, served []int) {
	t.Helper()
	for i, who := range served {
		if i != who {
			t.Fatalf("they were served in the order %v", served)
		}
	}
}

// onlyFence checks that nothing stays of a lease but its fence.
func onlyFence(t *testing.T, c *redisx.Client, name string) {
	t.Helper()
	_, fence := lease.Keys(name)
	dstest.Eventually(t, 3*time.Second, "no key but the fence", func() bool {
		for _, k := range dstest.Cmd(t, c, "KEYS", "*"+name+"*").Elems() {
			if k.Text() != fence {
				return false
			}
		}
		return true
	})
}

func fairWaitersAreServedInOrder(t *testing.T, c *redisx.Client) {
	t.Helper()
	l := acquire(t, c, "job")
	served := line(t, c, "job", 20, lease.Fair())
	release(t, l)
	inOrder(t, served())
	onlyFence(t, c, "job")
}

func TestOnceOneWaitsInTheQueueAllOthersDo(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job")
	fair := line(t, c, "job", 1, lease.Fair())
	plain := line(t, c, "job", 5)
	release(t, l)
	fair()
	inOrder(t, plain())
	onlyFence(t, c, "job")
}

func TestTryAcquireDoesNotOvertakeTheQueue(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	// The first in the queue is one who does not come: only its ticket is there.
	const ttl = 2 * time.Second
	lapses := time.Now().Add(ttl)
	ticket(t, c, "job", "slow", ttl, 0)
	_, err := lease.TryAcquire(t.Context(), c, "job", lease.Shared())
	var held *lease.HeldError
	if !errors.As(err, &held) || held.Owner != "slow" || held.Token != 0 || held.Waiting != 1 || held.Position != 0 || held.TTL <= 0 || held.TTL > ttl {
		t.Fatalf("TryAcquire: %v", err)
	}
	if !strings.Contains(held.Error(), "promised to slow") || !strings.Contains(held.Explain(), "promised to slow") {
		t.Errorf("%v; %s", held, held.Explain())
	}
	// That look has promised the lease to the queue, so the plain way is barred, too.
	if _, err := lease.TryAcquire(t.Context(), c, "job"); !errors.As(err, &held) || held.Owner != "slow" {
		t.Errorf("TryAcquire: %v, want it promised to slow", err)
	}
	l := acquire(t, c, "job")
	if early := time.Until(lapses); early > 0 {
		t.Errorf("acquired %v before the ticket had lapsed", early)
	}
	release(t, l)
}

// ticket puts a waiter into the queue who does nothing for himself.
func ticket(t *testing.T, c *redisx.Client, name, owner string, ttl time.Duration, after int) {
	t.Helper()
	now := time.Now()
	queue, order := lease.QueueKey(name), lease.OrderKey(name)
	dstest.Cmd(t, c, "HSET", queue, "kind", "lease.queue", "v", "1", owner, fmt.Sprintf("%d write %s", now.Add(ttl).UnixMilli(), owner))
	dstest.Cmd(t, c, "ZADD", order, now.UnixMicro()+int64(after), owner)
	dstest.Cmd(t, c, "PEXPIRE", queue, 10_000)
	dstest.Cmd(t, c, "PEXPIRE", order, 10_000)
}

func TestTheErrorTellsThePlaceInTheQueue(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job", lease.Owner("a"), lease.Meta("pod-7"))
	served := line(t, c, "job", 2, lease.Fair())
	ctx, f := untilAnswered(t, c, func(r command.Request) bool { return dstest.Runs(r, lease.QueueScript()) })
	_, err := lease.Acquire(ctx, f, "job")
	var held *lease.HeldError
	if !errors.As(err, &held) || held.Position != 3 || held.Waiting != 3 || held.Owner != "a" || held.Meta != "pod-7" || held.Token != l.Token() || !errors.Is(err, enough) {
		t.Fatalf("Acquire: %v", err)
	}
	if !strings.Contains(held.Error(), "place 3 of 3") || !strings.Contains(held.Explain(), "number 3 of 3") || !strings.Contains(held.Explain(), "pod-7") {
		t.Errorf("%v; %s", held, held.Explain())
	}
	if _, err = lease.TryAcquire(t.Context(), c, "job"); !errors.As(err, &held) || held.Position != 0 || held.Waiting < 2 || held.Owner != "a" {
		t.Errorf("TryAcquire: %v", err)
	}
	release(t, l)
	inOrder(t, served())
}

func TestAWaiterThatLeavesCostsNothing(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job")
	var wg sync.WaitGroup
	var leavers []context.CancelFunc
	for i := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		leavers = append(leavers, cancel)
		wg.Go(func() {
			if _, err := lease.Acquire(ctx, c, "job", lease.Fair()); !errors.Is(err, context.Canceled) {
				t.Errorf("Acquire: %v", err)
			}
		})
		inQueue(t, c, "job", int64(i+1))
	}
	served := line(t, c, "job", 3)
	begin := time.Now()
	for i, who := range []int{1, 0, 4, 2, 3} {
		leavers[who]()
		inQueue(t, c, "job", int64(8-i-1))
	}
	wg.Wait()
	if took := time.Since(begin); took > ticketLife/2 {
		t.Errorf("five were out of the queue after %v: by the end of their tickets?", took)
	}
	begin = time.Now()
	release(t, l)
	inOrder(t, served())
	if took := time.Since(begin); took > ticketLife/2 {
		t.Errorf("three hand-offs took %v", took)
	}
	onlyFence(t, c, "job")
}

// ticketLife is how long a ticket lasts, and beat how often it is renewed, at
// least; see doc.go.
const (
	ticketLife = 3 * time.Second
	beat       = 1100 * time.Millisecond
)

const envWaiters = "REDISX_TEST_LEASE_WAITERS"

func init() { children[envWaiters] = waitInQueue }

// waitInQueue is a process with ten waiters, all of them ahead of others.
func waitInQueue(url string) error {
	c, err := redisx.Connect(context.Background(), url)
	if err != nil {
		return err
	}
	defer c.Close()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			l, err := lease.Acquire(context.Background(), c, "job", lease.Fair())
			if err == nil {
				err = l.Release(context.Background())
			}
			fmt.Println("served", err)
		})
	}
	wg.Wait()
	return nil
}

// TestDeadWaitersCostOneTicketInAll kills a process with ten waiters at the
// head of the queue, and stops another one.
func TestDeadWaitersCostOneTicketInAll(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := serverstest.Start(t)
			c := dstest.Connect(t, s)
			l := acquire(t, c, "job")
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), envWaiters+"="+s.URL())
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				child.Process.Kill()
				child.Wait()
			}()
			inQueue(t, c, "job", 10)
			served := line(t, c, "job", 2)
			begin := time.Now()
			// A process that still runs for a moment would be granted the lease.
			if sig == syscall.SIGSTOP {
				if err := stopped(child.Process); err != nil {
					t.Fatal(err)
				}
			} else {
				child.Process.Kill()
				child.Wait()
			}
			release(t, l)
			inOrder(t, served())
			took := time.Since(begin)
			if took >= 2*ticketLife {
				t.Errorf("10 dead waiters cost %v, want one ticket of %v", took, ticketLife)
			}
			t.Logf("10 waiters with %v cost %v", sig, took.Round(time.Millisecond))
			if sig != syscall.SIGSTOP {
				onlyFence(t, c, "job")
				return
			}
			// Who wakes up is at the end of the queue, and is served.
			if err := child.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for i := range 10 {
				if !lines.Scan() || lines.Text() != "served <nil>" {
					t.Fatalf("waiter %d said %q", i, lines.Text())
				}
			}
		})
	}
}

// TestFairnessUnderContention is the figure: 16 callers on 4 clients that want
// the lease all the time.
func TestFairnessUnderContention(t *testing.T) {
	s := serverstest.Start(t)
	const callers = 16
	var counts [callers]int
	var longest atomic.Int64
	n := int64(dstest.Rounds(400, 4000))
	var clients []*redisx.Client
	for range 4 {
		clients = append(clients, dstest.Connect(t, s))
	}
	calls := func() (n int64) {
		for l := range strings.Lines(dstest.Cmd(t, clients[0], "INFO", "commandstats").Text()) {
			var calls int64
			if _, rest, ok := strings.Cut(l, "cmdstat_evalsha:calls="); ok {
				fmt.Sscan(strings.Split(rest, ",")[0], &calls)
			}
			n += calls
		}
		return n
	}
	before := calls()
	var granted atomic.Int64
	var wg sync.WaitGroup
	for i := range callers {
		c := clients[i%len(clients)]
		wg.Go(func() {
			for granted.Add(1) <= n {
				begin := time.Now()
				l, err := lease.Acquire(t.Context(), c, "job", lease.Fair())
				if err != nil {
					t.Errorf("Acquire: %v", err)
					return
				}
				if took := int64(time.Since(begin)); took > longest.Load() {
					longest.Store(took)
				}
				counts[i]++
				time.Sleep(time.Millisecond)
				release(t, l)
			}
		})
	}
	wg.Wait()
	sum, squares := 0.0, 0.0
	for _, n := range counts {
		sum += float64(n)
		squares += float64(n * n)
	}
	jain := sum * sum / (callers * squares)
	perGrant := float64(calls()-before) / sum
	t.Logf("%.0f grants, fairness (Jain) %.3f, longest wait %v, %.1f scripts a grant", sum, jain, time.Duration(longest.Load()).Round(time.Millisecond), perGrant)
	if jain < 0.9 {
		t.Errorf("fairness is %.3f, want 0.9: %v", jain, counts)
	}
	// A herd of 16 would be 18 or more.
	if perGrant > 8 {
		t.Errorf("%.1f scripts a grant: more than the next in line try", perGrant)
	}
}

func TestTheFirstInTheQueueSeesTheHoldersDeath(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	dying, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	const ttl = 2 * time.Second
	acquire(t, dying, "job", lease.TTL(ttl))
	served := line(t, c, "job", 3, lease.Fair())
	lag, begin := dstest.Lag(t), time.Now()
	if err := dying.Close(); err != nil { // its leases are not released
		t.Fatal(err)
	}
	inOrder(t, served())
	if took := time.Since(begin) - 2*lag(); took > ttl+beat || dstest.Long && took > ttl+beat/2 {
		t.Errorf("three were served %v after the death of a holder with a TTL of %v", took, ttl)
	}
}

func TestTheQueueSurvivesWhatOthersDoToItsKeys(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	for _, how := range [][]any{{"FLUSHALL"}, {"DEL", first(lease.Keys("job"))}, {"DEL", lease.QueueKey("job")}, {"DEL", lease.OrderKey("job")}} {
		l := acquire(t, c, "job")
		served := line(t, c, "job", 4, lease.Fair())
		begin := time.Now()
		dstest.Cmd(t, c, how[0].(string), how[1:]...)
		_ = l.Release(t.Context()) // it may be lost
		if n := len(served()); n != 4 {
			t.Errorf("%v: %d were served", how, n)
		}
		if took := time.Since(begin); took > 2*ticketLife {
			t.Errorf("%v: all were served after %v", how, took)
		}
	}
}

// plainDoer can neither push nor own.
type plainDoer struct{ c *redisx.Client }

func (p plainDoer) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return p.c.Do(ctx, r)
}

func TestTheQueueWorksWithoutPush(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job")
	served := line(t, c, "job", 1, lease.Fair())
	got := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		l, err := lease.Acquire(context.Background(), plainDoer{c}, "job")
		if err == nil {
			err = l.Release(context.Background())
		}
		got <- err
	})
	inQueue(t, c, "job", 2)
	release(t, l)
	served()
	if err := <-got; err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestAFullQueueIsAnError(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job")
	dstest.Cmd(t, c, "EVAL", "for i = 1, 10000 do redis.call('ZADD', KEYS[1], i, i) redis.call('HSET', KEYS[2], i, '9999999999999 write x') end", 2, lease.OrderKey("job"), lease.QueueKey("job"))
	if _, err := lease.Acquire(t.Context(), c, "job", lease.Fair()); !errors.Is(err, lease.ErrQueueFull) {
		t.Errorf("Acquire: %v, want ErrQueueFull", err)
	}
	release(t, l)
}

func TestTooManyReadersAreAnError(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "doc", lease.Shared())
	dstest.Cmd(t, c, "EVAL", "for i = 2, 10000 do redis.call('ZADD', KEYS[1], '9999999999999', i) end", 1, lease.ReadersKey("doc"))
	if _, err := lease.TryAcquire(t.Context(), c, "doc", lease.Shared()); !errors.Is(err, lease.ErrQueueFull) {
		t.Errorf("TryAcquire: %v, want ErrQueueFull", err)
	}
	// What the others say of themselves is not there: an answer nevertheless.
	if _, err := lease.TryAcquire(t.Context(), c, "doc"); !errors.Is(err, lease.ErrHeld) {
		t.Errorf("TryAcquire of a writer: %v, want ErrHeld", err)
	}
	release(t, l)
}

func TestAMoodyCrowdLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	var late, granted, left atomic.Int64
	var wg sync.WaitGroup
	n := dstest.Rounds(60, 1500)
	for range 32 {
		wg.Go(func() {
			for range n {
				ctx, cancel := context.WithTimeout(context.Background(), rand.N(8*time.Millisecond))
				opts := []lease.Option{lease.Fair()}
				if rand.N(3) == 0 {
					opts = []lease.Option{lease.Shared()}
				}
				end, _ := ctx.Deadline()
				l, err := lease.Acquire(ctx, c, "job", opts...)
				if over := time.Since(end); over > 10*time.Second {
					late.Add(1)
				}
				if err == nil {
					granted.Add(1)
					if err := l.Release(context.Background()); err != nil && !errors.Is(err, lease.ErrLost) {
						t.Errorf("Release: %v", err)
					}
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Acquire: %v", err)
				} else {
					left.Add(1)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	t.Logf("%d granted, %d left", granted.Load(), left.Load())
	// Watches of turns that are over must not pile up in the server.
	var tracked int
	for l := range strings.Lines(dstest.Cmd(t, c, "INFO", "stats").Text()) {
		if n, ok := strings.CutPrefix(l, "tracking_total_keys:"); ok {
			fmt.Sscan(n, &tracked)
		}
	}
	if tracked > 300 {
		t.Errorf("the server tracks %d keys", tracked)
	}
	if late.Load() > 0 {
		t.Errorf("%d calls returned long after their contexts had ended", late.Load())
	}
	onlyFence(t, c, "job")
}

// TestAShortTicketShortensNoOther: with the TTL of Share a ticket may be shorter
// than others in the same queue.
func TestAShortTicketShortensNoOther(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job")
	served := line(t, c, "job", 1, lease.Fair())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = lease.Acquire(ctx, c, "job", lease.Share(1, 2), lease.TTL(time.Second))
	})
	inQueue(t, c, "job", 2)
	left := dstest.Cmd(t, c, "EVAL", `
		local time = redis.call('TIME')
		local most = 0
		for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
			most = math.max(most, tonumber(string.match(redis.call('HGET', KEYS[1], id), '^%d+')))
		end
		return {most - time[1] * 1000 - math.floor(time[2] / 1000), redis.call('PTTL', KEYS[1]), redis.call('PTTL', KEYS[2])}`,
		2, lease.QueueKey("job"), lease.OrderKey("job")).Elems()
	ticket, _ := left[0].Int()
	for i, key := range []string{"the queue", "its order"} {
		if n, _ := left[1+i].Int(); n+1 < ticket {
			t.Errorf("%s lives for another %d ms, a ticket in it for %d", key, n, ticket)
		}
	}
	cancel()
	wg.Wait()
	release(t, l)
	inOrder(t, served())
}
