package lease_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/internal/skew"
)

// envClock makes the test binary a process that holds a lease and tells, once a
// line of its stdin, why it has lost it.
const envClock = "REDISX_TEST_LEASE_CLOCK"

const clockTTL = 4 * time.Second

func init() { children[envClock] = clockChild }

func clockChild(url string) error {
	ctx := context.Background()
	c, err := redisx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := lease.Acquire(ctx, c, "clock", lease.TTL(clockTTL))
	if err != nil {
		return err
	}
	fmt.Println("held")
	for in := bufio.NewReader(os.Stdin); ; {
		if _, err := in.ReadString('\n'); err != nil {
			return nil
		}
		var lost *lease.LostError
		switch cause := context.Cause(l.Context()); {
		case cause == nil:
			fmt.Println("held")
		case errors.As(cause, &lost):
			fmt.Println(lost.Reason)
		default:
			fmt.Println(cause)
		}
	}
}

// moved attaches to a process's clock. It returns nil where clocks cannot be
// moved, and says so.
func moved(t *testing.T, pid int) *skew.Clock {
	t.Helper()
	c, err := skew.Attach(pid)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Logf("NOT CHECKED here: %v", err)
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func set(t *testing.T, c *skew.Clock, d time.Duration) {
	t.Helper()
	if err := c.Set(d); err != nil {
		t.Fatal(err)
	}
}

// TestTheHoldersWallClock: set back it changes nothing, set forward it looks as
// if the machine had slept.
func TestTheHoldersWallClock(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envClock+"="+s.URL(), "GORACE=atexit_sleep_ms=0")
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	said := func() string {
		t.Helper()
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(line)
	}
	ask := func() string {
		t.Helper()
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
		return said()
	}
	defer func() {
		in.Close()
		if err := child.Wait(); err != nil {
			t.Errorf("the holder: %v", err)
		}
	}()
	if got := said(); got != "held" {
		t.Fatalf("the holder said %q", got)
	}
	c := moved(t, child.Process.Pid)
	if c == nil {
		return
	}
	set(t, c, -time.Hour)
	for end := time.Now().Add(clockTTL); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got := ask(); got != "held" {
			t.Fatalf("an hour back: %s", got)
		}
	}
	set(t, c, time.Hour)
	if got := ask(); got != "clock" {
		t.Errorf("two hours forward: %s, want clock", got)
	}
}

// TestTheServersWallClock: tokens rise whatever it does. Set forward, leases
// lapse at once, and their holders learn of it with the next renewal.
func TestTheServersWallClock(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := dstest.Connect(t, s)
	clock := moved(t, s.Pid())
	if clock == nil {
		return
	}
	a := acquire(t, c, "clock", lease.TTL(clockTTL))
	set(t, clock, time.Hour)
	b := acquire(t, c, "clock", lease.TTL(clockTTL))
	if b.Token() <= a.Token() {
		t.Errorf("token %d after %d, with the clock set forward", b.Token(), a.Token())
	}
	<-a.Context().Done()
	var lost *lease.LostError
	// It may have asked before the second came.
	if cause := context.Cause(a.Context()); !errors.As(cause, &lost) || lost.Reason != "not owner" && lost.Reason != "gone" {
		t.Errorf("the first ended with %v, want that it is not the owner", cause)
	}
	release(t, b)
	set(t, clock, -time.Hour)
	n := acquire(t, c, "clock", lease.TTL(clockTTL))
	if n.Token() <= b.Token() {
		t.Errorf("token %d after %d, with the clock set back", n.Token(), b.Token())
	}
	release(t, n)
}
