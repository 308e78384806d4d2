package coord_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestALatchOpensWhenAllMembersAreDoneAndStaysOpen(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		l := coord.NewLatch(c, "ready")
		const waiters = 20
		results := make(chan error, waiters)
		for range waiters {
			go func() { results <- l.Wait(t.Context()) }() // before there is a latch
		}
		if err := l.Create(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{2, 2, 1, 1} {
			// Each is done twice, as after a lost answer.
			left, err := l.Done(t.Context(), fmt.Sprint("loader-", i/2))
			if err != nil || left != want {
				t.Errorf("Done %d: %d left, %v, want %d", i, left, err, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := l.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait on a closed latch: %v", err)
		}
		select {
		case err := <-results:
			t.Fatalf("a waiter passed a closed latch: %v", err)
		default:
		}
		opened := time.Now()
		if left, err := l.Done(t.Context(), "loader-2"); left != 0 || err != nil {
			t.Errorf("Done: %d, %v", left, err)
		}
		for range waiters {
			if err := <-results; err != nil {
				t.Errorf("Wait: %v", err)
			}
		}
		if took := time.Since(opened); took > soon {
			t.Errorf("the waiters passed after %v, want it by push", took)
		}
		// Late comers, more who are done, and a repeated Create find it open.
		if left, err := l.Done(t.Context(), "loader-9"); left != 0 || err != nil {
			t.Errorf("Done on an open latch: %d, %v", left, err)
		}
		if err := l.Create(t.Context(), 3); err != nil {
			t.Errorf("Create again: %v", err)
		}
		if err := l.Wait(t.Context()); err != nil {
			t.Errorf("Wait on an open latch: %v", err)
		}
		var other *coord.MismatchError
		if err := l.Create(t.Context(), 4); !errors.As(err, &other) || other.Kind != "latch" || other.Theirs != 3 || other.Ours != 4 {
			t.Errorf("Create with another count: %v", err)
		}
		i, err := l.Info(t.Context())
		if err != nil || !i.Open || i.Count != 3 || i.Done != 3 || i.Left < 23*time.Hour {
			t.Errorf("%+v, %v", i, err)
		}
		if s := i.Explain(); !strings.Contains(s, "open since ") {
			t.Errorf("Explain: %s", s)
		}
		allKeysEnd(t, c)
	})
}

func TestALatchThatIsNotThereIsNotOpen(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		if err := coord.NewLatch(c, "absent", coord.MustExist()).Wait(t.Context()); !errors.Is(err, coord.ErrNotFound) {
			t.Errorf("Wait with MustExist: %v", err)
		}
		l := coord.NewLatch(c, "absent")
		if _, err := l.Done(t.Context(), "a"); !errors.Is(err, coord.ErrNotFound) {
			t.Errorf("Done: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := l.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait: %v, want it to wait", err)
		}
		if i, err := l.Info(t.Context()); err != nil || i.Exists || !strings.Contains(i.Explain(), "none: ") {
			t.Errorf("%+v, %v", i, err)
		}
		allGone := dstest.Int(t, c, "DBSIZE")
		if allGone != 0 {
			t.Errorf("%d keys were made", allGone)
		}
	})
}

// watched is a client that counts the looks at latches that were answered.
func watched(c *redisx.Client) (d *dstest.Lossy, looks *atomic.Int64) {
	looks = new(atomic.Int64)
	return &dstest.Lossy{Client: c, Lose: func(r command.Request) bool {
		if dstest.Runs(r, coord.LatchInspect) {
			looks.Add(1)
		}
		return false
	}}, looks
}

func TestALatchThatGoesAwayEndsTheWait(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c, looks := watched(dstest.Start(t, f))
		for name, goes := range map[string][]any{"deleted": {"DEL"}, "lapsed": {"PEXPIRE", 100}} {
			l := coord.NewLatch(c, name)
			if err := l.Create(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			before := looks.Load()
			result := make(chan error, 1)
			go func() { result <- l.Wait(t.Context()) }()
			dstest.Eventually(t, soon, "Wait has seen it", func() bool { return looks.Load() > before })
			dstest.Cmd(t, c.Client, goes[0].(string), append([]any{"{redisx:latch:" + name + "}:latch"}, goes[1:]...)...)
			select {
			case err := <-result:
				if !errors.Is(err, coord.ErrNotFound) {
					t.Errorf("%s: %v, want ErrNotFound", name, err)
				}
			case <-time.After(soon):
				t.Fatalf("%s: Wait goes on", name)
			}
		}
	})
}

// Who was done with the latch of before is not done with this one.
func TestALatchThatIsMadeAnewBeginsAnew(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		l := coord.NewLatch(c, "anew")
		for range 2 {
			if err := l.Create(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			if left, err := l.Done(t.Context(), "a"); err != nil || left != 1 {
				t.Errorf("Done: %d left, %v, want 1", left, err)
			}
			dstest.Cmd(t, c, "DEL", "{redisx:latch:anew}:latch") // as its end does, a moment before that of who is done
		}
		if err := l.Create(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if left, err := l.Done(t.Context(), "b"); err != nil || left != 1 {
			t.Errorf("Done of another: %d left, %v, want 1", left, err)
		}
	})
}

func TestALatchWhoseTTLWasTakenAwayWorks(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c, looks := watched(dstest.Start(t, f))
		l := coord.NewLatch(c, "kept")
		if err := l.Create(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		dstest.Cmd(t, c.Client, "PERSIST", "{redisx:latch:kept}:latch")
		if i, err := l.Info(t.Context()); err != nil || i.Left >= 0 {
			t.Errorf("%+v, %v", i, err)
		}
		before := looks.Load()
		ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
		defer cancel()
		result := make(chan error, 1)
		go func() { result <- l.Wait(ctx) }()
		dstest.Eventually(t, soon, "Wait watches", func() bool { return looks.Load() == before+2 })
		time.Sleep(100 * time.Millisecond)
		if n := looks.Load() - before; n != 2 {
			t.Errorf("%d looks at a latch that does not change", n)
		}
		for i, member := range []string{"a", "b"} {
			if left, err := l.Done(t.Context(), member); err != nil || left != 1-i {
				t.Errorf("Done of %s: %d left, %v", member, left, err)
			}
			time.Sleep(5 * time.Millisecond) // and a is not forgotten
		}
		if err := <-result; err != nil {
			t.Errorf("Wait: %v", err)
		}
	})
}

func TestALatchIsOpenForExactlyItsCount(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		l := coord.NewLatch(c, "count")
		const members = 50
		if err := l.Create(t.Context(), members); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		left := map[int]int{}
		for m := range members {
			wg.Go(func() {
				n, err := l.Done(t.Context(), fmt.Sprint(m))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				left[n]++
				mu.Unlock()
			})
		}
		wg.Wait()
		for n := range members {
			if left[n] != 1 {
				t.Errorf("%d members were told that %d are left, want one", left[n], n)
			}
		}
	})
}

func TestAWaitAtALatchOutlivesTheServersAbsence(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, server)
		l := coord.NewLatch(c, "restart")
		result := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		go func() { result <- l.Wait(ctx) }()
		time.Sleep(50 * time.Millisecond)
		server.Kill()
		time.Sleep(200 * time.Millisecond)
		if err := server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		var err error
		dstest.Eventually(t, 10*time.Second, "the latch can be made", func() bool { err = l.Create(ctx, 0); return err == nil })
		if err := <-result; err != nil {
			t.Errorf("Wait: %v", err)
		}
	})
}

func TestALatchRefusesBadArguments(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		l := coord.NewLatch(c, "bad")
		if err := l.Create(t.Context(), -1); err == nil {
			t.Error("Create(-1) succeeded")
		}
		if _, err := l.Done(t.Context(), ""); err == nil {
			t.Error("Done of nobody succeeded")
		}
		if err := coord.NewLatch(c, "").Wait(t.Context()); err == nil {
			t.Error("a latch without a name")
		}
		dstest.Cmd(t, c, "SET", "{redisx:latch:string}:latch", "x")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := coord.NewLatch(c, "string").Wait(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("Wait on a key of another type: %v, want it at once", err)
		}
	})
}
