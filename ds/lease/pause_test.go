package lease_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

const (
	pausedLease = "paused"
	pausedLog   = "paused:log"
	pausedTTL   = 300 * time.Millisecond
	pausedStop  = 600 * time.Millisecond
)

func push(log string, token int64) command.Request {
	return command.Untyped("RPUSH", log, token).Request()
}

// findings are what the paused holder found after it was woken.
type findings struct {
	Token   int64
	Writes  int    // before the pause, that succeeded
	Cause   string // of the context's end
	Lost    bool   // that it was ErrLost
	Looks   int    // how often the context was asked after the pause, until it had ended
	Passed  int    // writes after the pause that succeeded: none may
	Refused bool   // the write after the end was ErrFenced
	Detail  string // what it was instead
}

// hold is the body of the child process: it holds the lease and writes through
// it until it notices the loss, then writes once more.
func hold(url string) int {
	r, err := holdAndWrite(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 1
	}
	return 0
}

func holdAndWrite(url string) (r findings, err error) {
	ctx := context.Background()
	c, err := redisx.Connect(ctx, url)
	if err != nil {
		return r, err
	}
	defer c.Close()
	l, err := lease.Acquire(ctx, c, pausedLease, lease.TTL(pausedTTL), lease.Owner("A"))
	if err != nil {
		return r, err
	}
	fmt.Println("held", l.Token())
	r.Token = l.Token()

	last := time.Now()
	for woken := false; ; {
		// What a holder does: look at the context, then write.
		woken = woken || time.Since(last) > pausedStop/2
		ended := l.Context().Err() != nil
		if woken {
			r.Looks++
		}
		if ended {
			break
		}
		last = time.Now()
		_, err := l.Do(l.Context(), push(pausedLog, l.Token()))
		switch {
		case err == nil && time.Since(last) > pausedStop/2:
			woken = true // the pause hit between the write and its answer
		case err == nil && woken:
			r.Passed++
		case err == nil:
			r.Writes++
		}
		time.Sleep(time.Millisecond)
	}
	cause := context.Cause(l.Context())
	r.Cause, r.Lost = fmt.Sprint(cause), errors.Is(cause, lease.ErrLost)

	// The context has said stop. Write nevertheless, by one that does not
	// know: now only the server is left to refuse it.
	_, err = l.Do(context.WithoutCancel(l.Context()), push(pausedLog, l.Token()))
	r.Refused, r.Detail = errors.Is(err, lease.ErrFenced), fmt.Sprint(err)
	return r, nil
}

// TestAPausedHolderIsStoppedTwice is LE1: a process is stopped for longer than
// the TTL, somebody else gets the lease, the process goes on.
func TestAPausedHolderIsStoppedTwice(t *testing.T) {
	t.Parallel()
	s := serverstest.Start(t)
	c := connect(t, s)
	n := rounds(10, 100)
	for i := range n {
		cmd(t, c, "DEL", pausedLog)
		r, b := pauseHolder(t, c, s.URL())
		if !r.Lost || !r.Refused || r.Passed != 0 || r.Looks > 1 || r.Writes == 0 || r.Token >= b {
			t.Errorf("round %d: %+v; B's token is %d", i, r, b)
		}
		checkLog(t, cmd(t, c, "LRANGE", pausedLog, 0, -1).Elems(), r.Token, b)
	}
	t.Logf("LE1: %d of %d paused holders were stopped by their context and refused by the server", n, n)
}

// pauseHolder plays one round and returns what A found and B's token.
func pauseHolder(t *testing.T, c *redisx.Client, url string) (findings, int64) {
	child := exec.Command(os.Args[0])
	// The race detector lets a process sleep for a second before it ends.
	child.Env = append(os.Environ(), envHolder+"="+url, "GORACE=atexit_sleep_ms=0")
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "held ") {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	eventually(t, 5*time.Second, "A's first writes", func() bool { return number(t, c, "LLEN", pausedLog) > 3 })

	stopped := time.Now()
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b := acquire(t, c, pausedLease, lease.Owner("B"))
	if _, err := b.Do(t.Context(), push(pausedLog, b.Token())); err != nil {
		t.Fatalf("B's write: %v", err)
	}
	time.Sleep(time.Until(stopped.Add(pausedStop)))
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	var r findings
	rest, err := io.ReadAll(lines)
	if err == nil {
		err = json.Unmarshal(rest, &r)
	}
	if err != nil {
		t.Fatalf("the holder said %q: %v", rest, err)
	}
	if err := child.Wait(); err != nil {
		t.Errorf("the holder: %v", err)
	}
	release(t, b)
	return r, b.Token()
}

// checkLog checks the tokens in the log, in the order of the writes.
func checkLog[V interface{ Text() string }](t *testing.T, log []V, a, b int64) {
	t.Helper()
	var tokens []int64
	for _, v := range log {
		n, err := strconv.ParseInt(v.Text(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, n)
	}
	if !slices.IsSorted(tokens) || len(tokens) < 2 || tokens[0] != a || tokens[len(tokens)-1] != b {
		t.Errorf("the log of tokens is %v: want those of A (%d), then B's (%d)", tokens, a, b)
	}
}
