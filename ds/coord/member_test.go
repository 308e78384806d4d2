package coord_test

import (
	"context"
	"errors"
	"io"
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

func join(t *testing.T, d command.Doer, group string, opts ...coord.Option) *coord.Membership {
	t.Helper()
	m, err := coord.Join(context.Background(), d, group, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Leave(context.Background()) })
	return m
}

func namesOf(i coord.MembersInfo) []string {
	names := []string{}
	for _, m := range i.Members {
		names = append(names, m.Name)
	}
	return names
}

// watchMembers collects what WatchMembers yields until the test ends.
type memberWatch struct {
	mu   sync.Mutex
	seen [][]string
	err  error
}

func watchMembers(t *testing.T, c command.Doer, group string) *memberWatch {
	w := new(memberWatch)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i, err := range coord.WatchMembers(ctx, c, group) {
			w.mu.Lock()
			if err != nil {
				w.err = err
			} else {
				w.seen = append(w.seen, namesOf(i))
			}
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if !errors.Is(w.err, context.Canceled) {
			t.Errorf("WatchMembers ended with %v", w.err)
		}
		for i := 1; i < len(w.seen); i++ {
			if slices.Equal(w.seen[i], w.seen[i-1]) {
				t.Errorf("%v was yielded twice", w.seen[i])
			}
		}
	})
	return w
}

func (w *memberWatch) last() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) == 0 {
		return nil
	}
	return w.seen[len(w.seen)-1]
}

func (w *memberWatch) expect(t *testing.T, within time.Duration, names ...string) {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		last := w.last()
		if last != nil && slices.Equal(last, names) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: the members are %v, want %v", within, last, names)
		}
	}
}

func TestWhoComesAndWhoGoesIsSeenByPush(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		w := watchMembers(t, c, "workers")
		w.expect(t, soon)
		a := join(t, c, "workers", coord.Name("a"), coord.Meta("10.0.0.1:80"), coord.Weight(3))
		w.expect(t, soon, "a")
		b := join(t, c, "workers", coord.Name("b"))
		w.expect(t, soon, "a", "b")
		i, err := coord.Members(t.Context(), c, "workers")
		if err != nil || len(i.Members) != 2 {
			t.Fatalf("%+v, %v", i, err)
		}
		if m := i.Members[0]; m.Meta != "10.0.0.1:80" || m.Weight != 3 || m.Since.IsZero() || m.Left <= 0 || m.ID == "" {
			t.Errorf("%+v", m)
		}
		if s := i.Explain(); !strings.Contains(s, "2 members: a since ") {
			t.Errorf("Explain: %s", s)
		}
		allKeysEnd(t, c)
		if err := a.Leave(a.Context()); err != nil { // its own context must not stand in its way
			t.Errorf("Leave: %v", err)
		}
		if cause := context.Cause(a.Context()); !errors.Is(cause, coord.ErrLost) {
			t.Errorf("the context of a member that left ended with %v", cause)
		}
		w.expect(t, soon, "b")
		if err := b.Leave(t.Context()); err != nil {
			t.Errorf("Leave: %v", err)
		}
		w.expect(t, soon)
	})
}

func init() {
	roles["member"] = func(url string) int {
		c, err := redisx.Connect(context.Background(), url)
		if err != nil {
			return 1
		}
		m, err := coord.Join(context.Background(), c, "mortals", coord.Name("mortal"), coord.TTL(memberTestTTL))
		if err != nil {
			return 1
		}
		<-m.Context().Done()
		return 0
	}
}

const memberTestTTL = 2 * time.Second

// Nobody sweeps here: no other member's heartbeat runs a script.
func TestADeadMemberIsGoneAfterItsTTL(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, server)
		w := watchMembers(t, c, "mortals")
		p := dstest.Process(t, "member", server.URL())
		w.expect(t, 10*time.Second, "mortal")
		renewed(t, 1, membersOf(t, c, "mortals")) // it is not the first TTL that ends
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		// Nobody writes any more, and the keys stay: the clock alone tells.
		dstest.Cmd(t, c, "PERSIST", "{redisx:members:mortals}:beats")
		dstest.Cmd(t, c, "PERSIST", "{redisx:members:mortals}:about")
		w.expect(t, memberTestTTL+slack(time.Second))
		t.Logf("seen to be gone %v after the kill, TTL %v", time.Since(killed), memberTestTTL)
	})
}

func TestANameBelongsToOneMember(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		first := join(t, c, "named", coord.Name("n"))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := coord.Join(ctx, c, "named", coord.Name("n"))
		var e *coord.NameTakenError
		if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || e.TTL <= 0 {
			t.Errorf("Join under a name in use: %v", err)
		}
		joined := make(chan error, 1)
		go func() {
			m, err := coord.Join(t.Context(), c, "named", coord.Name("n"))
			if err == nil {
				err = m.Leave(context.Background())
			}
			joined <- err
		}()
		time.Sleep(20 * time.Millisecond)
		start := time.Now()
		if err := first.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-joined; err != nil || time.Since(start) > soon {
			t.Errorf("Join after the other left: %v after %v", err, time.Since(start))
		}
	})
}

// renewedOnce waits for the first renewal of the first member of a group: that of
// the first of all of a client leaves at once.
func renewedOnce(t *testing.T, c *redisx.Client, group string, ttl time.Duration) {
	t.Helper()
	dstest.Eventually(t, 5*time.Second, "the member is renewed", func() bool {
		return dstest.Int(t, c, "PTTL", "{redisx:members:"+group+"}:members") > 2*ttl.Milliseconds()
	})
}

// A late renewal or goodbye of one must not touch the next of the same name.
func TestAMemberThatWasReplacedCannotSpeakForTheNext(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c, other := dstest.Connect(t, server), dstest.Connect(t, server)
		old := join(t, c, "replaced", coord.Name("n"), coord.TTL(2*time.Second))
		renewedOnce(t, c, "replaced", 2*time.Second) // the next is a third of the TTL away
		// The server forgets it, as after a pause beyond its TTL.
		dstest.Cmd(t, c, "DEL", "{redisx:members:replaced}:beats", "{redisx:members:replaced}:about")
		next := join(t, other, "replaced", coord.Name("n"))
		select {
		case <-old.Context().Done():
		case <-time.After(5 * time.Second):
			t.Fatal("the old one is renewed in the name of the next")
		}
		var e *coord.LostError
		// Gone, where it was renewed between the two.
		if cause := context.Cause(old.Context()); !errors.As(cause, &e) || e.Reason != "not owner" && e.Reason != "gone" || e.Kind != "membership" {
			t.Errorf("the old one's context ended with %v", cause)
		}
		_ = old.Leave(t.Context())
		i, err := coord.Members(t.Context(), c, "replaced")
		if err != nil || len(i.Members) != 1 || next.Context().Err() != nil {
			t.Errorf("after the old one left: %+v, %v", i, err)
		}
		if left := i.Members[0].Left; left < 5*time.Second {
			t.Errorf("the next one's TTL is %v: the old one's renewal set it", left)
		}
	})
}

func TestAMembershipEndsBeforeTheOthersSeeItGone(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, server)
		const ttl = 400 * time.Millisecond
		m := join(t, c, "frozen", coord.TTL(ttl))
		paused := time.Now()
		if err := server.Pause(); err != nil {
			t.Fatal(err)
		}
		// The server has heard nothing since, so the others see it gone by then.
		time.Sleep(time.Until(paused.Add(ttl)))
		if m.Context().Err() == nil {
			t.Error("the membership's context lasts beyond the TTL")
		}
		if err := server.Resume(); err != nil {
			t.Fatal(err)
		}
		var e *coord.LostError
		if cause := context.Cause(m.Context()); !errors.As(cause, &e) || e.Reason != "expired" {
			t.Errorf("ended with %v", cause)
		}
	})
}

func TestALostAnswerJoinsOnce(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		lost := 0
		c := &dstest.Lossy{Client: dstest.Connect(t, server), Lose: func(r command.Request) bool {
			hit := dstest.Runs(r, coord.MembersJoin) && lost == 0
			if hit {
				lost++
			}
			return hit
		}}
		m := join(t, c, "lost", coord.Name("n"))
		if m.Context().Err() != nil || lost != 1 {
			t.Errorf("ended, or %d answers lost", lost)
		}
		gone := &dstest.Lossy{Client: c.Client, Lose: func(r command.Request) bool { return dstest.Runs(r, coord.MembersJoin) }}
		if _, err := coord.Join(t.Context(), gone, "lost", coord.Name("unseen")); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Join: %v", err)
		}
		dstest.Eventually(t, soon, "the unseen member is taken out", func() bool {
			i, err := coord.Members(t.Context(), c, "lost")
			return err == nil && slices.Equal(namesOf(i), []string{"n"})
		})
	})
}

func TestAMembershipEndsWithItsClient(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c, err := redisx.Connect(t.Context(), server.URL())
		if err != nil {
			t.Fatal(err)
		}
		m, err := coord.Join(t.Context(), c, "closing")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		var e *coord.LostError
		if cause := context.Cause(m.Context()); !errors.As(cause, &e) || e.Reason != "closed" {
			t.Errorf("ended with %v", cause)
		}
	})
}
