package coord_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

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
		if took := time.Since(opened); took > 2*time.Second {
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

func TestALatchThatGoesAwayEndsTheWait(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		for _, how := range []string{"deleted", "its TTL has passed"} {
			ttl := 150 * time.Millisecond
			if how == "deleted" {
				ttl = time.Minute
			}
			l := coord.NewLatch(c, how, coord.TTL(ttl))
			if err := l.Create(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			result := make(chan error, 1)
			go func() { result <- l.Wait(t.Context()) }()
			if how == "deleted" {
				time.Sleep(20 * time.Millisecond) // either order must do; this is the one with a wait
				dstest.Cmd(t, c, "DEL", "{redisx:latch:deleted}:latch")
			}
			start := time.Now()
			if err := <-result; !errors.Is(err, coord.ErrNotFound) || time.Since(start) > time.Second {
				t.Errorf("%s: %v after %v, want ErrNotFound", how, err, time.Since(start))
			}
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
