package coalesce_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"go.uber.org/goleak"
)

// envChild makes this binary a process of callers instead of a test.
const envChild = "REDISX_COALESCE_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(envChild); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// job is what a child process does: when told to, Callers goroutines call Do
// for Key. Each compute counts itself in Key+":runs", takes Work, and returns
// that count and the process id.
type job struct {
	URL     string
	Key     string
	Callers int
	Work    time.Duration
	Lease   time.Duration
}

type answer struct{ Run, Pid int }

// child connects, prints "ready", waits for a line, calls, and prints one
// answer a line.
func child(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := redisx.Connect(ctx, j.URL)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	out := make([]answer, j.Callers)
	errs := make([]error, j.Callers)
	call := func(i int) {
		out[i], errs[i] = run(ctx, c, j.Key, func(ctx context.Context) (answer, error) {
			return compute(ctx, c, j)
		}, coalesce.Lease(j.Lease))
	}
	var wg sync.WaitGroup
	for i := range j.Callers {
		wg.Go(func() { call(i) })
	}
	wg.Wait()
	for i, a := range out {
		if errs[i] != nil {
			return errs[i]
		}
		fmt.Println(a.Run, a.Pid)
	}
	return nil
}

func compute(ctx context.Context, d command.Doer, j job) (answer, error) {
	run, err := integer(ctx, d, "INCR", j.Key+":runs")
	if err != nil {
		return answer{}, err
	}
	return answer{run, os.Getpid()}, sleep(ctx, j.Work)
}

func integer(ctx context.Context, d command.Doer, name string, args ...any) (int, error) {
	n, err := command.Do(ctx, d, command.As(command.Untyped(name, args...), command.AsInt))
	return int(n), err
}

// process is a child that is ready to be told to begin.
type process struct {
	cmd   *exec.Cmd
	begin func()
	lines *bufio.Scanner
}

func startProcess(t *testing.T, j job) *process {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, begin: func() { fmt.Fprintln(in) }, lines: bufio.NewScanner(out)}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if !p.lines.Scan() || p.lines.Text() != "ready" {
		t.Fatalf("a child said %q", p.lines.Text())
	}
	return p
}

// answers reads what the child's n callers got.
func (p *process) answers(t *testing.T, n int) []answer {
	t.Helper()
	all := make([]answer, n)
	for i := range all {
		p.lines.Scan()
		if _, err := fmt.Sscan(p.lines.Text(), &all[i].Run, &all[i].Pid); err != nil {
			t.Fatalf("a child said %q", p.lines.Text())
		}
	}
	return all
}

// setup starts a server and returns n clients of it.
func setup(t *testing.T, n int, args ...string) (*servers.Server, []*redisx.Client) {
	t.Helper()
	s := serverstest.Start(t, servers.Options{Args: args})
	clients := make([]*redisx.Client, n)
	for i := range clients {
		clients[i] = connect(t, s)
	}
	return s, clients
}

func connect(t *testing.T, s *servers.Server) *redisx.Client {
	t.Helper()
	c, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// text returns the reply to a command that is a string, "" for null.
func text(t *testing.T, d command.Doer, name string, args ...any) string {
	t.Helper()
	s, err := command.Do(context.Background(), d, command.As(command.Untyped(name, args...), command.AsString))
	if err != nil && err != command.Nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func number(t *testing.T, d command.Doer, name string, args ...any) int {
	t.Helper()
	n, err := integer(context.Background(), d, name, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// eventually waits until ok, for 10 s at most.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 10s: " + what)
		}
	}
}

// run is Do, whose result stays for a minute.
func run[T any](ctx context.Context, d command.Doer, name string, fn func(ctx context.Context) (T, error), opts ...coalesce.Option) (T, error) {
	return coalesce.Do(ctx, d, name, fn, append(opts, coalesce.Keep(time.Minute))...)
}

// valueKey returns where the result of a Do is.
func valueKey(name string) string { return "{redisx:coalesce:" + name + "}:value" }

// fills returns how many fills the server holds.
func fills(t *testing.T, d command.Doer) int {
	t.Helper()
	keys, err := command.Do(context.Background(), d, command.As(command.Untyped("KEYS", "*:fill"), command.AsSlice(command.AsString)))
	if err != nil {
		t.Fatal(err)
	}
	return len(keys)
}
