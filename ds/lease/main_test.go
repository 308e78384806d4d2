package lease_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// children are what else the test binary can be, by the variable that holds the
// order.
var children = map[string]func(order string) error{}

func TestMain(m *testing.M) {
	for env, child := range children {
		if order := os.Getenv(env); order != "" {
			if err := child(order); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	alongside()
	goleak.VerifyTestMain(m)
}

// alongside lets more tests run beside each other than there are processors,
// unless -parallel says otherwise: most of them wait for time to pass.
func alongside() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
	}
}

// long reports whether the tests run at the full numbers of the scenarios.
var long = os.Getenv("REDISX_LONG") != ""

// rounds returns how often to repeat something.
func rounds(short, full int) int {
	if long {
		return full
	}
	return short
}

func connect(t testing.TB, s *servers.Server) *redisx.Client {
	t.Helper()
	c, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// onServers runs the test on one server, in the long ring on each that is
// required.
func onServers(t *testing.T, test func(t *testing.T, s *servers.Server)) {
	t.Helper()
	if !long {
		test(t, serverstest.Start(t))
		return
	}
	serverstest.EachRequired(t, func(t *testing.T, f servers.Flavor) {
		test(t, serverstest.Start(t, servers.Options{Flavor: f}))
	})
}

// stopped stops a child of this process and returns when none of its threads
// runs any more.
func stopped(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.Pid, &status, syscall.WUNTRACED, nil)
		if err == nil && status.Stopped() {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("the child has not stopped: %w, status %v", err, status)
		}
	}
}

// start returns a client of a server of its own.
func start(t testing.TB) *redisx.Client {
	t.Helper()
	return connect(t, serverstest.Start(t))
}

// cmd runs a command that must succeed.
func cmd(t testing.TB, c *redisx.Client, name string, args ...any) resp3.Value {
	t.Helper()
	v, err := c.Cmd(context.Background(), name, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// number runs a command that returns an integer.
func number(t testing.TB, c *redisx.Client, name string, args ...any) int64 {
	t.Helper()
	n, err := cmd(t, c, name, args...).Int()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// eventually polls until ok, for at most d.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	if !until(d, ok) {
		t.Fatalf("not within %v: %s", d, what)
	}
}

// until polls until ok, for at most d, and reports whether it came to be.
func until(d time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(d); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// faulty is a client whose network fails as fail says. Embedding keeps all that
// a client offers besides Do.
type faulty struct {
	*redisx.Client

	mu sync.Mutex
	// fail says whether to lose the request (before) or the answer (after).
	fail func(r command.Request) (before, after error)
}

func (f *faulty) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	f.mu.Lock()
	fail := f.fail
	f.mu.Unlock()
	if fail == nil {
		return f.Client.Do(ctx, r)
	}
	before, after := fail(r)
	if before != nil {
		return command.Reply{}, before
	}
	reply, err := f.Client.Do(ctx, r)
	if err == nil && after != nil {
		reply.Release()
		return command.Reply{}, after
	}
	return reply, err
}

func (f *faulty) setFail(fail func(r command.Request) (before, after error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// is reports whether r runs the script of that digest.
func is(r command.Request, digest string) bool {
	return r.Len() > 0 && r.Arg(0).Text() == digest
}
