package semaphore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

const (
	crowdName = "crowd"
	crowdLog  = "crowd:log" // "token weight" of each fenced write, in the server's order
	crowdTTL  = time.Second

	envOwner  = "REDISX_TEST_SEMAPHORE_OWNER"
	envLimit  = "REDISX_TEST_SEMAPHORE_LIMIT"
	envHeavy  = "REDISX_TEST_SEMAPHORE_HEAVY" // the greatest weight
	perWorker = 4                             // workers of one process
)

func init() { roles["worker"] = workerChild }

// workerChild is the body of a process whose workers take permits for ever,
// write to the log while they have one, and release each twice.
func workerChild(url string) int {
	ctx := context.Background()
	c, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	defer c.Close()
	limit, _ := strconv.Atoi(os.Getenv(envLimit))
	heavy, _ := strconv.Atoi(os.Getenv(envHeavy))
	s := semaphore.New(c, crowdName, limit, semaphore.TTL(crowdTTL), semaphore.Owner(os.Getenv(envOwner)))
	var wg sync.WaitGroup
	for range perWorker {
		wg.Go(func() {
			for {
				work(ctx, s, 1+rand.IntN(heavy))
			}
		})
	}
	wg.Wait()
	return 1
}

func work(ctx context.Context, s *semaphore.Semaphore, weight int) {
	p, err := s.Acquire(ctx, weight)
	if err != nil {
		return // the server was asked too much: there is a next time
	}
	write := command.RPush(crowdLog, fmt.Sprintf("%d %d", p.Token(), weight))
	for end := time.Now().Add(rand.N(30 * time.Millisecond)); time.Now().Before(end) && p.Context().Err() == nil; time.Sleep(2 * time.Millisecond) {
		_, _ = p.Do(p.Context(), write) // a refused one is not in the log
	}
	_, _ = p.Do(ctx, write)
	_ = p.Release(ctx)
	_ = p.Release(ctx)
}

// heaviest returns what all permits weighed at most that were held at a time, by
// the log: who wrote at i and at j held its permit all the time between.
func heaviest(log []string) (most, permits int) {
	type held struct{ first, last, weight int }
	by := map[string]*held{}
	for i, line := range log {
		h := by[line]
		if h == nil {
			var token int64
			h = &held{first: i}
			fmt.Sscan(line, &token, &h.weight)
			by[line] = h
		}
		h.last = i
	}
	change := make([]int, len(log)+1)
	for _, h := range by {
		change[h.first] += h.weight
		change[h.last+1] -= h.weight
	}
	now := 0
	for _, d := range change {
		now += d
		most = max(most, now)
	}
	return most, len(by)
}

// crowd is LI8: how many processes there are, and how many are killed while they
// hold permits.
type crowd struct{ limit, processes, kills, heavy int }

func (o crowd) run(t *testing.T, f servers.Flavor) {
	srv := serverstest.Start(t, servers.Options{Flavor: f})
	c := dstest.Connect(t, srv)
	s := semaphore.New(c, crowdName, o.limit, semaphore.TTL(crowdTTL))
	living, next := map[string]*exec.Cmd{}, 0
	spawn := func() {
		owner := fmt.Sprint("node-", next)
		next++
		living[owner] = dstest.Process(t, "worker", srv.URL(), envOwner+"="+owner, envLimit+"="+strconv.Itoa(o.limit), envHeavy+"="+strconv.Itoa(o.heavy))
	}
	for range o.processes {
		spawn()
	}
	holds := func() (i semaphore.Info, alive int) {
		i, err := s.Inspect(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range i.Holding {
			if living[h.Owner] != nil {
				alive += h.Weight
			}
		}
		return i, alive
	}
	flow := func() {
		begin := dstest.Int(t, c, "LLEN", crowdLog)
		dstest.Eventually(t, 30*time.Second, "permits go from hand to hand", func() bool { return dstest.Int(t, c, "LLEN", crowdLog) > begin+500 })
	}
	var took []time.Duration
	for n := 0; n < o.kills; {
		flow()
		var victims []string
		dstest.Eventually(t, 20*time.Second, "two processes hold permits", func() bool {
			i, _ := holds()
			for _, h := range i.Holding {
				if living[h.Owner] != nil && !slices.Contains(victims, h.Owner) {
					victims = append(victims, h.Owner)
				}
			}
			return len(victims) >= 2
		})
		for _, owner := range victims[:2] {
			dstest.Kill(living[owner])
			delete(living, owner)
			n++
		}
		begin := time.Now()
		// Weights may leave a gap that the next in line does not fit into.
		dstest.Eventually(t, 20*time.Second, "the living hold all permits", func() bool {
			_, weight := holds()
			return weight > o.limit-o.heavy
		})
		took = append(took, time.Since(begin))
		spawn()
		spawn()
	}
	flow()
	for _, p := range living {
		dstest.Kill(p)
	}
	var log []string
	for _, v := range dstest.Cmd(t, c, "LRANGE", crowdLog, 0, -1).Elems() {
		log = append(log, v.Text())
	}
	most, permits := heaviest(log)
	t.Logf("LI8: %d processes with %d workers, %d of them killed: %d permits, %d fenced writes, at most %d of %d at a time; all in use again after %v at most",
		o.processes, o.processes*perWorker, o.kills, permits, len(log), most, o.limit, slices.Max(took))
	if most > o.limit {
		t.Errorf("permits of %d were held at a time", most)
	}
	if most < o.limit || permits < 50 {
		t.Errorf("%d permits, %d at a time: nothing was tested", permits, most)
	}
	if worst := slices.Max(took); worst > crowdTTL+time.Second {
		t.Errorf("all in use again after %v, want a TTL of %v and a second", worst, crowdTTL)
	}
}

// TestKilledHoldersCostOneTTL is LI8.
func TestKilledHoldersCostOneTTL(t *testing.T) {
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		crowd{limit: 8, processes: dstest.Rounds(6, 16), kills: dstest.Rounds(4, 10), heavy: 1}.run(t, f)
	})
}

// TestKilledHoldersOfWeights is the same with permits of weights from 1 to 3.
func TestKilledHoldersOfWeights(t *testing.T) {
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		crowd{limit: 8, processes: dstest.Rounds(5, 16), kills: dstest.Rounds(2, 10), heavy: 3}.run(t, f)
	})
}

func TestTheLogTellsWhatWasHeldAtATime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		log  []string
		most int
	}{
		{[]string{"1 1", "1 1", "2 1", "2 1"}, 1},
		{[]string{"1 1", "2 1", "1 1", "2 1"}, 2},
		{[]string{"1 3", "2 1", "2 1", "3 2", "1 3"}, 5},
	} {
		if most, _ := heaviest(tt.log); most != tt.most {
			t.Errorf("%q: %d, want %d", tt.log, most, tt.most)
		}
	}
}
