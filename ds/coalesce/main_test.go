package coalesce_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestMain(m *testing.M) {
	dstest.Play(dstest.Roles{dstest.FillerRole: filler.Play})
	goleak.VerifyTestMain(m)
}

// run is Do, whose result stays for a minute.
func run[T any](ctx context.Context, d command.Doer, name string, fn func(ctx context.Context) (T, error), opts ...coalesce.Option) (T, error) {
	return coalesce.Do(ctx, d, name, fn, append(opts, coalesce.Keep(time.Minute))...)
}

// valueKey returns where the result of a Do is.
func valueKey(name string) string { return "{redisx:coalesce:" + name + "}:value" }

// filler is what coalesce and aside have in common.
var filler = dstest.Filler{
	Get: func(ctx context.Context, d command.Doer, key string, lease time.Duration, compute dstest.Compute) (int, error) {
		return run(ctx, d, key, compute, coalesce.Lease(lease))
	},
	Drop:  func(ctx context.Context, d command.Doer, key string) error { return coalesce.Forget(ctx, d, key) },
	Key:   valueKey,
	Fills: "{redisx:coalesce:*}:fill",
	Store: coalesce.StoreScript,
	Lost: func(cause error) string {
		var lost *coalesce.LostError
		if errors.As(cause, &lost) {
			return lost.Reason
		}
		return ""
	},
	Missed: func(c *redisx.Client) (command.Doer, func() int64) {
		var n atomic.Int64
		return &dstest.Lossy{Client: c, Lose: func(r command.Request) bool {
			if r.Name() == "GET" {
				n.Add(1)
			}
			return false
		}}, n.Load
	},
	Overtaken: coalesce.ErrForgotten,
	Closed:    coalesce.ErrClosed,
}

func TestProcessesShareOneCompute(t *testing.T) { filler.ProcessesShareOneCompute(t) }

func TestWhenTheFillerIsKilledExactlyOneOtherTakesOver(t *testing.T) { filler.OneOtherTakesOver(t) }

func TestAnErrorIsNotStoredAndTheWaitingProcessesTryInTurn(t *testing.T) {
	filler.AnErrorIsNotStored(t)
}

func TestAPanicReleasesTheFill(t *testing.T) { filler.APanicReleasesTheFill(t) }

func TestClosingTheClientEndsItsComputes(t *testing.T) { filler.ClosingTheClientEndsItsComputes(t) }

func TestAForgottenComputeIsNeverReadable(t *testing.T) { filler.ADroppedComputeIsNeverReadable(t) }

func TestACallerTakesNoResultThatIsOlderThanItsCall(t *testing.T) {
	filler.NoResultIsOlderThanItsCall(t)
}

func TestComputesThatAreAlwaysOvertakenEndInAnError(t *testing.T) {
	filler.ComputesThatAreAlwaysOvertaken(t)
}

func TestTheComputeHearsOfForgetAtTheNextRenewal(t *testing.T) {
	filler.TheNextRenewalTellsOfTheDrop(t)
}

func TestAComputeThatCannotRenewIsNotStored(t *testing.T) { filler.AComputeThatCannotRenew(t) }

// setup starts a server and returns n clients of it.
func setup(t *testing.T, n int) (*servers.Server, []*redisx.Client) {
	t.Helper()
	s := serverstest.Start(t)
	return s, dstest.Clients(t, s, n)
}

// text returns the reply to a command, "" for null.
func text(t *testing.T, c *redisx.Client, name string, args ...any) string {
	t.Helper()
	return dstest.Cmd(t, c, name, args...).Text()
}

func number(t *testing.T, c *redisx.Client, name string, args ...any) int {
	t.Helper()
	return int(dstest.Int(t, c, name, args...))
}

// fills returns how many fills the server holds.
func fills(t *testing.T, c *redisx.Client) int {
	t.Helper()
	return len(dstest.Cmd(t, c, "KEYS", filler.Fills).Elems())
}

// XX2.
//
// It is not parallel: the tests beside it would be what makes its calls late.
func TestCallsThatAreCancelledAtRandomReturnAtOnceAndLeaveNothing(t *testing.T) {
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		s := serverstest.Start(t, servers.Options{Flavor: f})
		cs := dstest.Clients(t, s, 2)
		var served, n atomic.Int64
		dstest.Cancelled(t, 20, dstest.Rounds(250, 5_000), func(ctx context.Context, worker int) {
			key := string(rune('a' + n.Add(1)%4))
			_, err := coalesce.Do(ctx, cs[worker%2], key, func(ctx context.Context) (int, error) {
				return 1, dstest.Sleep(ctx, time.Millisecond)
			}, coalesce.Keep(5*time.Millisecond))
			switch {
			case err == nil:
				served.Add(1)
			case !errors.Is(err, context.DeadlineExceeded):
				t.Errorf("got %v", err)
			}
		})
		if served.Load() == 0 {
			t.Error("nobody was served")
		}
		// Closing waits for the flights, and then the server holds nothing.
		if err := cs[1].Close(); err != nil {
			t.Error(err)
		}
		dstest.Eventually(t, 10*time.Second, "the fills and values are gone", func() bool { return number(t, cs[0], "DBSIZE") == 0 })
	})
}
