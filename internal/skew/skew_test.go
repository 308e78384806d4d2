package skew_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/internal/skew"
)

// envChild makes the test binary tell the time, once a line of its stdin.
const envChild = "REDISX_TEST_SKEW_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		begin := time.Now()
		for in := bufio.NewReader(os.Stdin); ; {
			if _, err := in.ReadString('\n'); err != nil {
				os.Exit(0)
			}
			now := time.Now()
			fmt.Println(now.UnixNano(), int64(now.Sub(begin)))
		}
	}
	goleak.VerifyTestMain(m)
}

// attach is Attach where that must work, which is where CI runs.
func attach(t *testing.T, pid int) *skew.Clock {
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

// near reports whether a clock that should show the true time + d does.
func near(got time.Time, d time.Duration) bool {
	off := time.Until(got) - d
	return off < time.Second && off > -10*time.Second
}

func TestTheWallClockOfAGoProcessMovesAndTheMonotonicDoesNot(t *testing.T) {
	t.Parallel()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envChild+"=1")
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
	defer func() {
		in.Close()
		if err := child.Wait(); err != nil {
			t.Errorf("the child: %v", err)
		}
	}()
	lines := bufio.NewReader(out)
	var mono time.Duration
	ask := func() time.Time {
		t.Helper()
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
		var wall int64
		before := mono
		if _, err := fmt.Fscanln(lines, &wall, &mono); err != nil {
			t.Fatal(err)
		}
		if step := mono - before; step < 0 || step > time.Minute {
			t.Errorf("the monotonic clock moved by %v", step)
		}
		return time.Unix(0, wall)
	}
	ask()
	c := attach(t, child.Process.Pid)
	if c == nil {
		return
	}
	for _, d := range []time.Duration{0, time.Hour, -time.Hour, 0} {
		if err := c.Set(d); err != nil {
			t.Fatal(err)
		}
		if got := ask(); !near(got, d) {
			t.Errorf("set to %v the child's clock is off by %v", d, time.Until(got))
		}
	}
	if err := c.Set(time.Millisecond); err == nil {
		t.Error("a part of a second was accepted")
	}
}

func TestTheClockOfAServerMoves(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	ask := func() time.Time {
		t.Helper()
		// The server may keep the time of its last event for one more command.
		time.Sleep(2 * time.Millisecond)
		if _, err := io.WriteString(conn, "TIME\r\n"); err != nil {
			t.Fatal(err)
		}
		var words []string
		for range 5 { // *2 $10 seconds $n microseconds
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, strings.TrimSpace(line))
		}
		seconds, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Unix(seconds, 0)
	}
	c := attach(t, s.Pid())
	if c == nil {
		return
	}
	for _, d := range []time.Duration{-time.Hour, time.Hour, 0} {
		if err := c.Set(d); err != nil {
			t.Fatal(err)
		}
		if got := ask(); !near(got, d) {
			t.Errorf("set to %v the server's clock is off by %v", d, time.Until(got))
		}
	}
}

func TestAProcessThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	child := exec.Command(os.Args[0], "-test.run=^$")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := skew.Attach(child.Process.Pid); err == nil {
		t.Error("Attach succeeded")
	}
}
