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
	crowdLog  = "crowd:log"  // "token weight" of each fenced write, in the server's order
	crowdStay = "crowd:stay" // while it is there, who has a permit keeps it
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
	write := command.RPush(crowdLog, entry(p.Token(), weight))
	end := time.Now().Add(rand.N(30 * time.Millisecond))
	for stay := true; (stay || time.Now().Before(end)) && p.Context().Err() == nil; time.Sleep(2 * time.Millisecond) {
		replies, err := p.Do(p.Context(), write, command.Exists(crowdStay)) // a refused one is not in the log
		stay = err == nil && replies[1].Text() == "1"
	}
	_, _ = p.Do(ctx, write)
	_ = p.Release(ctx)
	_ = p.Release(ctx)
}

// entry is what a permit writes to the log.
func entry(token int64, weight int) string { return fmt.Sprintf("%d %d", token, weight) }

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

// stage is a run of a crowd.
type stage struct {
	crowd
	t      *testing.T
	url    string
	c      *redisx.Client
	s      *semaphore.Semaphore
	living map[string]*exec.Cmd // by owner
	next   int
}

func (st *stage) spawn() {
	owner := fmt.Sprint("node-", st.next)
	st.next++
	st.living[owner] = dstest.Process(st.t, "worker", st.url, envOwner+"="+owner, envLimit+"="+strconv.Itoa(st.limit), envHeavy+"="+strconv.Itoa(st.heavy))
}

// held returns the permits of the living, and whether they are all that there
// are: weights may leave a gap that the next in line does not fit into.
func (st *stage) held() (permits []semaphore.Holding, all bool) {
	i, err := st.s.Inspect(context.Background())
	if err != nil {
		st.t.Fatal(err)
	}
	weight := 0
	for _, h := range i.Holding {
		if st.living[h.Owner] != nil {
			permits, weight = append(permits, h), weight+h.Weight
		}
	}
	return permits, weight > st.limit-st.heavy
}

// flow waits until permits have gone from hand to hand for a while.
func (st *stage) flow() {
	begin := dstest.Int(st.t, st.c, "LLEN", crowdLog)
	dstest.Eventually(st.t, 30*time.Second, "permits go from hand to hand", func() bool { return dstest.Int(st.t, st.c, "LLEN", crowdLog) > begin+500 })
}

// written waits until all permits that are held have been written with, twice, so
// that the log shows that they were held at one time.
func (st *stage) written() {
	for range 2 {
		begin := dstest.Int(st.t, st.c, "LLEN", crowdLog)
		dstest.Eventually(st.t, 30*time.Second, "all permits are written with", func() bool {
			permits, all := st.held()
			log := st.log(begin)
			return all && !slices.ContainsFunc(permits, func(h semaphore.Holding) bool { return !slices.Contains(log, entry(h.Token, h.Weight)) })
		})
	}
}

// log returns the log from an index on.
func (st *stage) log(from int64) (log []string) {
	for _, v := range dstest.Cmd(st.t, st.c, "LRANGE", crowdLog, from, -1).Elems() {
		log = append(log, v.Text())
	}
	return log
}

// kill kills two processes that hold permits, while nobody gives any back, and
// returns how long it takes until the living have all of them.
func (st *stage) kill() time.Duration {
	dstest.Cmd(st.t, st.c, "SET", crowdStay, 1)
	var held []semaphore.Holding
	dstest.Eventually(st.t, 30*time.Second, "all permits are held", func() (all bool) {
		held, all = st.held()
		return all
	})
	victims := map[string]bool{}
	for _, h := range held {
		if len(victims) < 2 {
			victims[h.Owner] = true
		}
	}
	for owner := range victims {
		dstest.Kill(st.living[owner])
		delete(st.living, owner)
	}
	begin := time.Now()
	dstest.Eventually(st.t, 20*time.Second, "the living hold all permits", func() bool {
		_, all := st.held()
		return all
	})
	took := time.Since(begin)
	st.written()
	dstest.Cmd(st.t, st.c, "DEL", crowdStay)
	for range victims {
		st.spawn()
	}
	return took
}

func (o crowd) run(t *testing.T, f servers.Flavor) {
	srv := serverstest.Start(t, servers.Options{Flavor: f})
	st := &stage{crowd: o, t: t, url: srv.URL(), c: dstest.Connect(t, srv), living: map[string]*exec.Cmd{}}
	st.s = semaphore.New(st.c, crowdName, o.limit, semaphore.TTL(crowdTTL))
	for range o.processes {
		st.spawn()
	}
	var took []time.Duration
	for range o.kills / 2 {
		st.flow()
		took = append(took, st.kill())
	}
	st.flow()
	for _, p := range st.living {
		dstest.Kill(p)
	}
	log := st.log(0)
	most, permits := heaviest(log)
	t.Logf("LI8: %d processes with %d workers, %d of them killed: %d permits, %d fenced writes, at most %d of %d at a time; all in use again after %v",
		o.processes, o.processes*perWorker, o.kills, permits, len(log), most, o.limit, took)
	if most > o.limit {
		t.Errorf("permits of %d were held at a time", most)
	}
	if most <= o.limit-o.heavy || permits < 50 {
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
