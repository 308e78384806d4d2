package idem_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/idem"
)

// Children are this test binary, started with these set.
const (
	childEnv  = "REDISX_IDEM_CHILD" // URL of the server
	childMode = "REDISX_IDEM_MODE"  // see childMain
	childTTL  = "REDISX_IDEM_TTL"
)

const (
	childKey = "pay:7"
	effects  = "effects" // how often fn has begun
	callers  = 25        // in each child of mode "callers"
)

type receipt struct {
	ID     string            `json:"id"`
	Amount float64           `json:"amount"`
	Lines  map[string]string `json:"lines"`
}

func newReceipt() receipt {
	return receipt{ID: fmt.Sprint(os.Getpid(), "-", rand.Uint64()), Amount: 12.5, Lines: map[string]string{"b": "2", "a": "1"}}
}

func childMain() int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := redisx.Connect(ctx, os.Getenv(childEnv))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	defer c.Close()
	ttl, err := time.ParseDuration(os.Getenv(childTTL))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	switch os.Getenv(childMode) {
	case "callers":
		childCallers(ctx, c, ttl)
	case "runner":
		childRunner(ctx, c, ttl)
	case "steps":
		childSteps(ctx, c, ttl)
	case "doubles":
		if err := childDoubles(ctx, c, ttl); err != nil {
			fmt.Fprintln(os.Stderr, "doubles:", err)
			return 1
		}
	}
	return 0
}

// childCallers waits for a line, calls from many goroutines at once, and prints
// "result <json>" or "error <text>" for each.
func childCallers(ctx context.Context, c *redisx.Client, ttl time.Duration) {
	fmt.Println("ready")
	bufio.NewScanner(os.Stdin).Scan()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			got, err := idem.Run(ctx, c, childKey, func(ctx context.Context) (receipt, error) {
				if _, err := text(ctx, c, "INCR", effects); err != nil {
					return receipt{}, err
				}
				time.Sleep(200 * time.Millisecond)
				return newReceipt(), nil
			}, idem.TTL(ttl))
			mu.Lock()
			defer mu.Unlock()
			printOutcome(got, err)
		})
	}
	wg.Wait()
}

func printOutcome(r receipt, err error) {
	switch {
	case errors.Is(err, idem.ErrFenced):
		fmt.Println("fenced", r.ID == "", err)
	case err != nil:
		fmt.Println("error", err)
	default:
		b, _ := json.Marshal(r)
		fmt.Println("result", string(b))
	}
}

// childRunner runs an fn that does not heed its context: it prints "running",
// waits for a line, prints how its context is, and returns a receipt.
func childRunner(ctx context.Context, c *redisx.Client, ttl time.Duration) {
	got, err := idem.Run(ctx, c, childKey, func(ctx context.Context) (receipt, error) {
		if _, err := text(ctx, c, "INCR", effects); err != nil {
			return receipt{}, err
		}
		fmt.Println("running")
		bufio.NewScanner(os.Stdin).Scan()
		fmt.Println("context", ctx.Err() != nil, errors.Is(context.Cause(ctx), idem.ErrFenced))
		return newReceipt(), nil
	}, idem.TTL(ttl))
	printOutcome(got, err)
}

// childSteps charges in a checkpoint, prints "charged", and waits for a line.
func childSteps(ctx context.Context, c *redisx.Client, ttl time.Duration) {
	got, err := idem.Run(ctx, c, childKey, func(ctx context.Context) (receipt, error) {
		r, err := idem.Checkpoint(ctx, "charge", func(ctx context.Context) (receipt, error) {
			_, err := text(ctx, c, "INCR", effects)
			return newReceipt(), err
		})
		if err != nil {
			return receipt{}, err
		}
		fmt.Println("charged", r.ID)
		bufio.NewScanner(os.Stdin).Scan()
		return r, nil
	}, idem.TTL(ttl), idem.ResumeOnCrash())
	printOutcome(got, err)
}

// child is a process under test.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Scanner
}

func startChild(t *testing.T, url, mode string, ttl time.Duration) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+url, childMode+"="+mode, childTTL+"="+ttl.String())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: cmd, stdin: stdin, out: bufio.NewScanner(stdout)}
	t.Cleanup(func() {
		// Also a stopped process dies of this; one that has ended returns an error.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return c
}

// line returns the next line that the child prints, which must begin with a word.
func (c *child) line(word string) string {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatalf("the child ended, want a line %q", word)
	}
	rest, ok := strings.CutPrefix(c.out.Text(), word)
	if !ok {
		c.t.Fatalf("the child printed %q, want %q", c.out.Text(), word)
	}
	return strings.TrimSpace(rest)
}

// proceed gives the child the line that it waits for.
func (c *child) proceed() {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.stdin, "go"); err != nil {
		c.t.Fatal(err)
	}
}
