package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// tenure is one grant as its holder saw it.
type tenure struct {
	token      int64
	begin, end time.Time // of the time in which the holder trusted it
	wrote      bool      // its fenced write succeeded
}

// history is what the holders saw and what the server holds afterwards.
type history struct {
	tenures []tenure
	log     []int64 // the tokens of the fenced writes, in the server's order
	counter int64   // read and written back one higher by each fenced write
}

// check returns what is wrong with a history. It knows nothing of leases but
// what they promise.
func (h history) check() []string {
	var wrong []string
	ts := slices.Clone(h.tenures)
	slices.SortFunc(ts, func(a, b tenure) int { return a.begin.Compare(b.begin) })
	writes := 0
	for i, a := range ts {
		if a.wrote {
			writes++
		}
		if i == 0 {
			continue
		}
		if b := ts[i-1]; a.begin.Before(b.end) {
			wrong = append(wrong, fmt.Sprintf("token %d was trusted %v before %d had ended", a.token, b.end.Sub(a.begin), b.token))
		}
		if b := ts[i-1]; a.token <= b.token {
			wrong = append(wrong, fmt.Sprintf("token %d was granted after %d", a.token, b.token))
		}
	}
	for i := 1; i < len(h.log); i++ {
		if h.log[i] <= h.log[i-1] {
			wrong = append(wrong, fmt.Sprintf("write %d has token %d after %d", i, h.log[i], h.log[i-1]))
		}
	}
	if len(h.log) != writes || h.counter != int64(writes) {
		wrong = append(wrong, fmt.Sprintf("%d writes were confirmed, %d logged, and the counter is %d", writes, len(h.log), h.counter))
	}
	return wrong
}

const (
	storyCounter = "story:counter"
	storyLog     = "story:log"
)

// story says how holders behave.
type story struct {
	clients, workers, loops int
	ttl                     time.Duration
	// stall makes every so manieth tenure one whose renewals fail and whose
	// holder sleeps past the end, then releases late. 0: none.
	stall int
	// flush deletes all of the lease's keys after every so manieth tenure.
	flush int
}

// play returns the history of many holders on one lease.
func (s story) play(t *testing.T, srv interface{ URL() string }) history {
	var h history
	var mu sync.Mutex
	var wg sync.WaitGroup
	var first *redisx.Client
	n := 0
	for range s.clients {
		c, err := redisx.Connect(t.Context(), srv.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		first = c
		// Two views of a client: one renews, one cannot.
		sound := &dstest.Lossy{Client: c}
		dead := &dstest.Lossy{Client: c, Drop: func(r command.Request) bool { return dstest.Runs(r, lease.RenewScript()) }}
		for range s.workers {
			wg.Go(func() {
				for range s.loops {
					mu.Lock()
					n++
					i := n
					mu.Unlock()
					d := sound
					stalls := s.stall > 0 && i%s.stall == 0
					if stalls {
						d = dead
					}
					ten, err := s.tenure(d, stalls, s.flush > 0 && i%s.flush == 0)
					if err != nil {
						t.Errorf("tenure %d: %v", i, err)
						return
					}
					mu.Lock()
					h.tenures = append(h.tenures, ten)
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for _, v := range dstest.Cmd(t, first, "LRANGE", storyLog, 0, -1).Elems() {
		token, err := v.Int()
		if err != nil {
			t.Fatal(err)
		}
		h.log = append(h.log, token)
	}
	h.counter, _ = dstest.Cmd(t, first, "GET", storyCounter).Int()
	return h
}

func (s story) tenure(d *dstest.Lossy, stalls, flush bool) (tenure, error) {
	ctx := context.Background()
	l, err := acquireInTime(d, "story", lease.TTL(s.ttl))
	if err != nil {
		return tenure{}, err
	}
	// Begin and end are taken such that an overlap of two tenures proves that
	// both trusted the lease at one moment.
	ten := tenure{token: l.Token(), begin: time.Now()}
	ten.end = ten.begin
	trusted := func() {
		// The clock before the look: what is trusted then was trusted now.
		if now := time.Now(); l.Remaining() > 0 {
			ten.end = now
		}
	}
	trusted()
	v, err := d.Client.Cmd(ctx, "GET", storyCounter)
	if err != nil {
		return ten, err
	}
	count := int64(0)
	if !v.IsNull() {
		if count, err = v.Int(); err != nil {
			return ten, err
		}
	}
	_, err = l.Do(ctx, raw("SET", storyCounter, strconv.FormatInt(count+1, 10)), raw("RPUSH", storyLog, l.Token()))
	ten.wrote = err == nil
	if err != nil && !errors.Is(err, lease.ErrFenced) {
		return ten, err
	}
	if stalls {
		for end := time.Now().Add(s.ttl + s.ttl/2); time.Now().Before(end); time.Sleep(time.Millisecond) {
			trusted()
		}
	}
	trusted()
	if flush {
		if _, err := d.Client.Cmd(ctx, "DEL", second(lease.Keys("story"))); err != nil {
			return ten, err
		}
	}
	if err := l.Release(ctx); err != nil && !errors.Is(err, lease.ErrLost) {
		return ten, err
	}
	return ten, nil
}

// acquireInTime acquires, once more where the machine is so loaded that the
// grant came when its window had closed.
func acquireInTime(d command.Doer, name string, opts ...lease.Option) (*lease.Lease, error) {
	for {
		l, err := lease.Acquire(context.Background(), d, name, opts...)
		if !errors.Is(err, lease.ErrLost) {
			return l, err
		}
	}
}

func TestOneHolderAtATime(t *testing.T) {
	s := story{clients: 4, workers: 16, loops: dstest.Rounds(20, 200), ttl: 10 * time.Second}
	begin := time.Now()
	h := s.play(t, serverstest.Start(t))
	report(t, h)
	took := time.Since(begin)
	t.Logf("%d tenures by %d goroutines on %d clients in %v (%.0f/s), %d fenced writes, no overlap",
		len(h.tenures), s.clients*s.workers, s.clients, took.Round(time.Millisecond), float64(len(h.tenures))/took.Seconds(), len(h.log))
	if want := s.clients * s.workers * s.loops; len(h.tenures) != want || len(h.log) != want {
		t.Errorf("%d tenures, %d writes, want %d", len(h.tenures), len(h.log), want)
	}
}

// report fails the test for what is wrong with a history.
func report(t *testing.T, h history) {
	t.Helper()
	for i, w := range h.check() {
		if i == 10 {
			t.Error("…")
			break
		}
		t.Error(w)
	}
}

// stalling is a story with holders that sleep past their end, release late, and
// with fences that vanish.
func stalling() story {
	return story{clients: 2, workers: 4, loops: dstest.Rounds(12, 120), ttl: 60 * time.Millisecond, stall: 5, flush: 3}
}

func TestOneHolderAtATimeAlsoWhenSomeStall(t *testing.T) {
	h := stalling().play(t, serverstest.Start(t))
	report(t, h)
	t.Logf("%d tenures, %d fenced writes", len(h.tenures), len(h.log))
}

// The checker must find what it is there to find.

func TestTheCheckerFindsTokensThatRepeat(t *testing.T) {
	lease.Plant(t, "acquire", "last < us and stamp or string.format('%.0f', last + 1)", "string.format('%.0f', last + 1)")
	if wrong := stalling().play(t, serverstest.Start(t)).check(); len(wrong) == 0 {
		t.Error("tokens by INCR were not found")
	} else {
		t.Logf("%d complaints, such as: %s", len(wrong), wrong[0])
	}
}

func TestTheCheckerFindsAReleaseOfSomebodyElsesLease(t *testing.T) {
	lease.Plant(t, "release", "held[1] == ARGV[i]", "held[1]")
	if wrong := stalling().play(t, serverstest.Start(t)).check(); len(wrong) == 0 {
		t.Error("a release without an owner check was not found")
	} else {
		t.Logf("%d complaints, such as: %s", len(wrong), wrong[0])
	}
}
