package lease_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
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

// renewed waits until a renewal of the lease was confirmed: nothing else makes
// the time that is left grow.
func renewed(t testing.TB, l *lease.Lease) {
	t.Helper()
	last := l.Remaining()
	dstest.Eventually(t, time.Minute, "a renewal", func() bool {
		left := l.Remaining()
		grown := left > last
		last = left
		return grown || left == 0
	})
	if last == 0 {
		t.Fatalf("lost: %v", context.Cause(l.Context()))
	}
}

var enough = errors.New("enough")

// untilAnswered returns a client and a context that ends, with enough as its
// cause, as soon as the answer to such a request has come.
func untilAnswered(t testing.TB, c *redisx.Client, such func(r command.Request) bool) (context.Context, *dstest.Lossy) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, &dstest.Lossy{Client: c, Lose: func(r command.Request) bool {
		if such(r) {
			cancel(enough)
		}
		return false
	}}
}
