package redisx_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// blocked waits until n connections of the server are in BLPOP.
func blocked(t *testing.T, admin *redisx.Client, n int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		list, err := redisx.Do(bg, admin, command.As(command.Untyped("CLIENT", "LIST"), command.AsString))
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for line := range strings.Lines(list) {
			if strings.Contains(line, " cmd=blpop") && strings.Contains(line, " flags=b ") {
				got++
			}
		}
		if got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections block, want %d:\n%s", got, n, list)
		}
	}
}

func TestACancelledBlockingCommandReturnsAtOnceAndKeepsItsConnection(t *testing.T) {
	inBothProtocols(t, func(t *testing.T, client *redisx.Client) {
		for i := range 3 {
			ctx, cancel := context.WithCancel(bg)
			ended := make(chan error, 1)
			go func() {
				_, err := redisx.Do(ctx, client, command.BLPop(0, "empty"))
				ended <- err
			}()
			blocked(t, client, 1)
			start := time.Now()
			cancel()
			err := <-ended
			if d := time.Since(start); d > busy {
				t.Errorf("the caller came back after %v", d)
			}
			if !errors.Is(err, context.Canceled) || outcome(t, err) != command.Maybe {
				t.Error(err)
			}
			blocked(t, client, 0)
			if err := client.Set(bg, "k", "v"); err != nil {
				t.Error(err)
			}
			_, serr := sessionID(t, client, nil)
			if serr != nil {
				t.Error(serr)
			}
			if list, err := client.Cmd(bg, "CLIENT", "LIST"); err != nil || strings.Count(list.Text(), " cmd=blpop") > 1 {
				t.Errorf("round %d: %v, connections pile up:\n%s", i, err, list.Text())
			}
		}
		if _, err := client.LPush(bg, "empty", "x"); err != nil {
			t.Error(err)
		}
		if n, err := client.LLen(bg, "empty"); err != nil || n != 1 {
			t.Errorf("a command that was cancelled popped an element: %d left, %v", n, err)
		}
	})
}

func TestWithoutPermissionToUnblockTheConnectionIsClosed(t *testing.T) {
	srv := serverstest.Start(t)
	admin := connect(t, srv.URL())
	acl(t, admin, "reset", "on", ">pw", "~*", "&*", "+@all", "-client|unblock")
	client := connect(t, "redis://limited:pw@"+srv.Addr)
	ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	if _, err := redisx.Do(ctx, client, command.BLPop(0, "empty")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	blocked(t, admin, 0)
}

func TestCallersBeyondTheBoundOnPrivateConnectionsAreTold(t *testing.T) {
	cfg, err := redisx.ParseURL(serverstest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxPrivate = 1
	client, err := redisx.ConnectConfig(bg, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		err := client.WithSession(ctx, func(context.Context, *redisx.Session) error { return nil })
		var full *redisx.ExhaustedError
		if !errors.As(err, &full) || full.Max != 1 || full.Waiting != 1 || !redisx.SafeToRetry(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// With REDISX_LONG=1 on a real server that is stopped; internal/pool has the
// same in virtual time.
func TestBlockingWithoutEndEndsWithAServerThatIsFrozen(t *testing.T) {
	if os.Getenv("REDISX_LONG") != "1" {
		return
	}
	srv := serverstest.Start(t)
	client, admin := connect(t, srv.URL()), connect(t, srv.URL())
	ended := make(chan error, 1)
	go func() {
		_, err := redisx.Do(bg, client, command.BLPop(0, "empty"))
		ended <- err
	}()
	blocked(t, admin, 1)
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	defer srv.Resume()
	start := time.Now()
	select {
	case err := <-ended:
		t.Logf("after %v: %v", time.Since(start), err)
		if outcome(t, err) != command.Maybe {
			t.Error(err)
		}
	case <-time.After(16 * time.Second):
		t.Error("it blocks after 16 s")
	}
}
