package aside_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestMain(m *testing.M) {
	dstest.Play(dstest.Roles{dstest.FillerRole: filler.Play, hotRole: playHot})
	goleak.VerifyTestMain(m)
}

// filler is what aside and coalesce have in common.
var filler = dstest.Filler{
	Get: func(ctx context.Context, d command.Doer, key string, lease time.Duration, compute dstest.Compute) (int, error) {
		return aside.GetOrCompute(ctx, d, key, time.Minute, compute, aside.Lease(lease))
	},
	Drop:  aside.Invalidate,
	Key:   func(key string) string { return key },
	Fills: "*:redisx:fill:*",
	Store: aside.StoreScript,
	Lost: func(cause error) string {
		var lost *aside.LostError
		if errors.As(cause, &lost) {
			return lost.Reason
		}
		return ""
	},
	Missed: func(c *redisx.Client) (command.Doer, func() int64) {
		return c, func() int64 { return int64(aside.StatsOf(c).Misses) }
	},
	Overtaken: aside.ErrInvalidated,
	Closed:    coalesce.ErrClosed,
}

func TestProcessesShareOneCompute(t *testing.T) { filler.ProcessesShareOneCompute(t) }

func TestWhenTheFillerIsKilledExactlyOneOtherTakesOver(t *testing.T) { filler.OneOtherTakesOver(t) }

func TestAnErrorIsNotStoredAndTheWaitingProcessesTryInTurn(t *testing.T) {
	filler.AnErrorIsNotStored(t)
}

func TestAPanicReleasesTheFill(t *testing.T) { filler.APanicReleasesTheFill(t) }

func TestClosingTheClientEndsItsComputes(t *testing.T) { filler.ClosingTheClientEndsItsComputes(t) }

func TestAnInvalidatedComputeIsNeverReadable(t *testing.T) { filler.ADroppedComputeIsNeverReadable(t) }

func TestACallerTakesNoResultThatIsOlderThanItsCall(t *testing.T) {
	filler.NoResultIsOlderThanItsCall(t)
}

func TestComputesThatAreAlwaysOvertakenEndInAnError(t *testing.T) {
	filler.ComputesThatAreAlwaysOvertaken(t)
}

func TestTheComputeHearsOfItsInvalidationAtTheNextRenewal(t *testing.T) {
	filler.TheNextRenewalTellsOfTheDrop(t)
}
func TestAComputeThatCannotRenewIsNotStored(t *testing.T) { filler.AComputeThatCannotRenew(t) }

// setup starts a server and returns n clients of it.
func setup(t *testing.T, n int, args ...string) (*servers.Server, []*redisx.Client) {
	t.Helper()
	return setupOn(t, "", n, args...)
}

func setupOn(t *testing.T, f servers.Flavor, n int, args ...string) (*servers.Server, []*redisx.Client) {
	t.Helper()
	s := serverstest.Start(t, servers.Options{Flavor: f, Args: args})
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

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	dstest.Eventually(t, 10*time.Second, what, ok)
}

// fills returns how many fills the server holds.
func fills(t *testing.T, c *redisx.Client) int {
	t.Helper()
	return len(dstest.Cmd(t, c, "KEYS", filler.Fills).Elems())
}
