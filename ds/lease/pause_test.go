package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// envHolder makes the test binary a holder of leases.
const envHolder = "REDISX_TEST_LEASE_HOLDER"

func init() { children[envHolder] = holdAll }

const (
	pausedTTL  = 2 * time.Second
	pausedStop = 4 * time.Second
)

// pausedLog is the list that the holders of the lease of that name write to.
func pausedLog(name string) string { return name + ":log" }

func push(name string, token int64) command.Request {
	return command.Untyped("RPUSH", pausedLog(name), token).Request()
}

// holderOrder is what a process that is to be stopped has to hold.
type holderOrder struct {
	URL   string
	Names []string
}

// findings are what the holder of one lease found after it was woken.
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

// holdAll is the body of the child process: it holds leases and writes through
// each until it notices the loss, then writes once more.
func holdAll(text string) error {
	var order holderOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return err
	}
	c, err := redisx.Connect(context.Background(), order.URL)
	if err != nil {
		return err
	}
	defer c.Close()
	found := make([]findings, len(order.Names))
	errs := make([]error, len(order.Names))
	var wg sync.WaitGroup
	for i, name := range order.Names {
		wg.Go(func() { found[i], errs[i] = holdAndWrite(c, name) })
	}
	wg.Wait()
	return errors.Join(append(errs, json.NewEncoder(os.Stdout).Encode(found))...)
}

func holdAndWrite(c *redisx.Client, name string) (r findings, err error) {
	ctx := context.Background()
	l, err := lease.Acquire(ctx, c, name, lease.TTL(pausedTTL), lease.Owner("A"))
	if err != nil {
		return r, err
	}
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
		_, err := l.Do(l.Context(), push(name, l.Token()))
		switch {
		case err == nil && time.Since(last) > pausedStop/2:
			woken = true // the pause hit between the write and its answer
		case err == nil && woken:
			r.Passed++
		case err == nil:
			r.Writes++
		}
		time.Sleep(10 * time.Millisecond)
	}
	cause := context.Cause(l.Context())
	r.Cause, r.Lost = fmt.Sprint(cause), errors.Is(cause, lease.ErrLost)

	// The context has said stop. Write nevertheless, by one that does not
	// know: now only the server is left to refuse it.
	_, err = l.Do(context.WithoutCancel(l.Context()), push(name, l.Token()))
	r.Refused, r.Detail = errors.Is(err, lease.ErrFenced), fmt.Sprint(err)
	return r, nil
}

// TestAPausedHolderIsStoppedTwice is LE1: a process is stopped for longer than
// the TTL, somebody else gets the lease, the process goes on. Each process holds
// several leases, and several processes are stopped at once.
func TestAPausedHolderIsStoppedTwice(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, stopHolders)
}

func stopHolders(t *testing.T, f servers.Flavor) {
	s := serverstest.Start(t, servers.Options{Flavor: f})
	c := dstest.Connect(t, s)
	const each = 5
	processes := dstest.Rounds(2, 20)
	var wg sync.WaitGroup
	for p := range processes {
		var names []string
		for i := range each {
			names = append(names, fmt.Sprintf("paused:%d:%d", p, i))
		}
		wg.Go(func() { stopHolder(t, c, holderOrder{s.URL(), names}) })
	}
	wg.Wait()
	t.Logf("LE1: %d leases of stopped processes; each holder was stopped by its context and refused by the server", processes*each)
}

// stopHolder stops a process that holds leases, has B get each of them, and
// checks what the process finds when it goes on.
func stopHolder(t *testing.T, c *redisx.Client, order holderOrder) {
	text, err := json.Marshal(order)
	if err != nil {
		t.Error(err)
		return
	}
	child := exec.Command(os.Args[0])
	// The race detector lets a process sleep for a second before it ends.
	child.Env = append(os.Environ(), envHolder+"="+string(text), "GORACE=atexit_sleep_ms=0")
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer func() {
		_ = child.Process.Kill() // unless it has ended
		_ = child.Wait()
	}()
	for _, name := range order.Names {
		if !dstest.Until(10*time.Second, func() bool { return llen(c, pausedLog(name)) > 3 }) {
			t.Errorf("%s: A has not written", name)
			return
		}
	}
	if err := stopped(child.Process); err != nil {
		t.Error(err)
		return
	}
	begin := time.Now()
	successors := make([]*lease.Lease, len(order.Names))
	var wg sync.WaitGroup
	for i, name := range order.Names {
		wg.Go(func() {
			b, err := lease.Acquire(context.Background(), c, name, lease.Owner("B"))
			if err == nil {
				successors[i] = b
				_, err = b.Do(context.Background(), push(name, b.Token()))
			}
			if err != nil {
				t.Errorf("%s: B: %v", name, err)
			}
		})
	}
	wg.Wait()
	time.Sleep(time.Until(begin.Add(pausedStop)))
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Error(err)
		return
	}
	var found []findings
	if err := json.NewDecoder(out).Decode(&found); err != nil || len(found) != len(order.Names) {
		t.Errorf("the process found %+v, %v", found, err)
		return
	}
	for i, r := range found {
		b := successors[i]
		if b == nil {
			continue
		}
		if !r.Lost || !r.Refused || r.Passed != 0 || r.Looks != 1 || r.Writes == 0 || r.Token >= b.Token() {
			t.Errorf("%s: %+v; B's token is %d", order.Names[i], r, b.Token())
		}
		checkLog(t, dstest.Cmd(t, c, "LRANGE", pausedLog(order.Names[i]), 0, -1).Elems(), r.Token, b.Token())
		release(t, b)
	}
}

func llen(c *redisx.Client, key string) int64 {
	v, err := c.Cmd(context.Background(), "LLEN", key)
	if err != nil {
		return 0
	}
	n, _ := v.Int() // 0 when it is no number
	return n
}

// checkLog checks the tokens in the log, in the order of the writes.
func checkLog[V interface{ Text() string }](t *testing.T, log []V, a, b int64) {
	t.Helper()
	var tokens []int64
	for _, v := range log {
		n, err := strconv.ParseInt(v.Text(), 10, 64)
		if err != nil {
			t.Error(err)
		}
		tokens = append(tokens, n)
	}
	if !slices.IsSorted(tokens) || len(tokens) < 2 || tokens[0] != a || tokens[len(tokens)-1] != b {
		t.Errorf("the log of tokens is %v: want those of A (%d), then B's (%d)", tokens, a, b)
	}
}
