package coord_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// shardLog sees who runs which shard, and that nobody else does.
type shardLog struct {
	t *testing.T

	ttl time.Duration // of those who run them

	mu     sync.Mutex
	runs   map[int]string // shard to member
	tokens map[int]int64
	moves  int
}

func newShardLog(t *testing.T) *shardLog {
	return &shardLog{t: t, ttl: 5 * time.Second, runs: map[int]string{}, tokens: map[int]int64{}}
}

func (l *shardLog) begin(s *coord.Shard, member string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other, ok := l.runs[s.Index()]; ok {
		l.t.Errorf("%s runs shard %d while %s does", member, s.Index(), other)
	}
	if s.Token() <= l.tokens[s.Index()] {
		l.t.Errorf("shard %d was given token %d after %d", s.Index(), s.Token(), l.tokens[s.Index()])
	}
	l.runs[s.Index()], l.tokens[s.Index()] = member, s.Token()
	l.moves++
}

func (l *shardLog) end(s *coord.Shard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.runs, s.Index())
}

// spread returns how many shards each member runs.
func (l *shardLog) spread() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]int{}
	for _, m := range l.runs {
		n[m]++
	}
	return n
}

// balanced waits until all shards run, with these members, evenly.
func (l *shardLog) balanced(within time.Duration, n int, members ...string) time.Duration {
	l.t.Helper()
	start := time.Now()
	dstest.Eventually(l.t, within, fmt.Sprintf("%d shards are spread over %v", n, members), func() bool {
		spread, sum := l.spread(), 0
		for _, m := range members {
			if spread[m] < n/len(members) || spread[m] > n/len(members)+1 {
				return false
			}
			sum += spread[m]
		}
		return sum == n && len(spread) == len(members)
	})
	return time.Since(start)
}

// shardMember is one that runs shards until stopped.
type shardMember struct {
	cancel context.CancelFunc
	done   chan error
}

func (l *shardLog) member(c command.Doer, group, name string, n int, slow time.Duration) *shardMember {
	ctx, cancel := context.WithCancel(context.Background())
	m := &shardMember{cancel: cancel, done: make(chan error, 1)}
	go func() {
		m.done <- coord.RunShards(ctx, c, group, n, func(ctx context.Context, s *coord.Shard) error {
			l.begin(s, name)
			defer l.end(s)
			<-ctx.Done()
			if context.Cause(ctx) == nil {
				l.t.Error("a shard's context ended without a cause")
			}
			time.Sleep(slow)
			return ctx.Err()
		}, coord.Name(name), coord.TTL(l.ttl))
	}()
	l.t.Cleanup(m.stop)
	return m
}

func (m *shardMember) stop() {
	m.cancel()
	err := <-m.done
	m.done <- err
}

func TestShardsFollowTheirMembersWithoutOverlap(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, server)
		log := newShardLog(t)
		const n = 16
		a := log.member(c, "orders", "a", n, 5*time.Millisecond)
		took := log.balanced(20*time.Second, n, "a")
		t.Logf("the first has all after %v", took)
		b := log.member(dstest.Connect(t, server), "orders", "b", n, 5*time.Millisecond)
		t.Logf("a second came: balanced after %v", log.balanced(20*time.Second, n, "a", "b"))
		log.member(dstest.Connect(t, server), "orders", "c", n, 5*time.Millisecond)
		t.Logf("a third came: balanced after %v", log.balanced(20*time.Second, n, "a", "b", "c"))

		i, err := coord.InspectShards(t.Context(), c, "orders")
		if err != nil || len(i.Shards) != n || len(i.Members) != 3 {
			t.Fatalf("%+v, %v", i, err)
		}
		for _, s := range i.Shards {
			if s.Owner != s.Member || s.Token == 0 || s.Since.IsZero() {
				t.Errorf("%+v", s)
			}
		}
		if s := i.Explain(); !strings.HasPrefix(s, "16 shards: a has ") || strings.Contains(s, "on their way") {
			t.Errorf("Explain: %s", s)
		}
		allKeysEnd(t, c)

		a.stop()
		if err := <-a.done; !errors.Is(err, context.Canceled) {
			t.Errorf("RunShards: %v", err)
		} else {
			a.done <- err
		}
		took = log.balanced(20*time.Second, n, "b", "c")
		t.Logf("the first left: balanced after %v", took)
		if took > slack(time.Second) {
			t.Error("a graceful hand-over took longer than a second")
		}
		b.stop()
		t.Logf("the second left: balanced after %v, %d moves in all", log.balanced(20*time.Second, n, "c"), log.moves)
	})
}

// An fn that takes longer than the TTL to come to its end keeps its shard.
func TestASlowHandOverDoesNotOverlap(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		log := newShardLog(t)
		log.ttl = 2 * time.Second
		const slow = 3 * time.Second
		a := log.member(dstest.Connect(t, server), "slow", "a", 4, slow)
		log.balanced(20*time.Second, 4, "a")
		start := time.Now()
		a.cancel()
		log.member(dstest.Connect(t, server), "slow", "b", 4, 0)
		log.balanced(20*time.Second, 4, "b")
		if took := time.Since(start); took < slow {
			t.Errorf("handed over after %v, before fn had returned", took)
		}
	})
}

func init() {
	roles["shard runner"] = func(url string) int {
		c, err := redisx.Connect(context.Background(), url)
		if err != nil {
			return 1
		}
		_ = coord.RunShards(context.Background(), c, "mortal", 8, func(ctx context.Context, _ *coord.Shard) error {
			<-ctx.Done()
			return nil
		}, coord.Name("victim"), coord.TTL(shardTestTTL))
		return 0
	}
}

const shardTestTTL = 2 * time.Second

func TestTheShardsOfADeadMemberMoveAfterTheTTL(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, server)
		log := newShardLog(t)
		var victim *exec.Cmd = dstest.Process(t, "shard runner", server.URL())
		dstest.Eventually(t, 10*time.Second, "the victim has all shards", func() bool {
			i, err := coord.InspectShards(t.Context(), c, "mortal")
			return err == nil && len(i.Shards) == 8 && !slices.ContainsFunc(i.Shards, func(s coord.ShardInfo) bool { return s.Owner != "victim" })
		})
		log.member(c, "mortal", "heir", 8, 0)
		dstest.Eventually(t, 10*time.Second, "the heir has its half", func() bool { return log.spread()["heir"] == 4 })
		if err := victim.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		took := log.balanced(20*time.Second, 8, "heir")
		t.Logf("the heir has all %v after the kill, TTL %v", took, shardTestTTL)
		if took > shardTestTTL+slack(time.Second) {
			t.Errorf("it took longer than the TTL and a second")
		}
	})
}

func TestAnErrorOfAShardEndsThemAll(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		broken := errors.New("disk full")
		var begun, ended sync.WaitGroup
		begun.Add(3)
		ended.Add(3)
		err := coord.RunShards(t.Context(), c, "failing", 4, func(ctx context.Context, s *coord.Shard) error {
			if s.Index() == 2 {
				begun.Wait()
				return broken
			}
			defer ended.Done()
			begun.Done()
			<-ctx.Done()
			return nil
		})
		if !errors.Is(err, broken) || err.Error() != "coord: shards failing: shard 2: disk full" {
			t.Errorf("RunShards: %v", err)
		}
		ended.Wait()
		if i, err := coord.InspectShards(t.Context(), c, "failing"); err != nil || len(i.Members) != 0 || !strings.Contains(i.Explain(), "nobody runs") {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

func TestAFencedWriteOfAShardThatWasLostIsRefused(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		times := 0
		_ = coord.RunShards(ctx, c, "fenced", 1, func(ctx context.Context, s *coord.Shard) error {
			if times++; times > 1 {
				cancel()
				return nil
			}
			if _, err := s.Do(ctx, command.Set("fenced:state", "mine")); err != nil {
				t.Errorf("Do: %v", err)
			}
			dstest.Cmd(t, c, "DEL", "{redisx:lease:shard:fenced/0}:lease")
			if _, err := s.Do(ctx, command.Set("fenced:state", "stale")); err == nil {
				t.Error("a write without the shard's lease succeeded")
			}
			<-ctx.Done()
			return nil
		})
		if times != 2 {
			t.Errorf("the shard was run %d times, want again after its loss", times)
		}
		if state, err := c.Get(t.Context(), "fenced:state"); state != "mine" || err != nil {
			t.Errorf("%q, %v", state, err)
		}
	})
}

func TestAllMustShareTheSameNumberOfShards(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		log := newShardLog(t)
		log.member(c, "number", "a", 4, 0)
		log.balanced(20*time.Second, 4, "a")
		var e *coord.MismatchError
		err := coord.RunShards(t.Context(), c, "number", 5, func(context.Context, *coord.Shard) error { return nil })
		if !errors.As(err, &e) || e.Kind != "shards" || e.Theirs != 4 || e.Ours != 5 {
			t.Errorf("RunShards: %v", err)
		}
		if err := coord.RunShards(t.Context(), c, "number", 0, nil); err == nil {
			t.Error("no shards are accepted")
		}
	})
}

func TestShardsSurviveTheServersAbsence(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		log := newShardLog(t)
		log.ttl = time.Second
		log.member(dstest.Connect(t, server), "restart", "a", 3, 0)
		log.balanced(20*time.Second, 3, "a")
		server.Kill()
		dstest.Eventually(t, 10*time.Second, "nothing runs without a server", func() bool { return len(log.spread()) == 0 })
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		log.balanced(20*time.Second, 3, "a")
	})
}
