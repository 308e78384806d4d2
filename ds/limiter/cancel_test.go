package limiter_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// TestCallsThatAreCancelledAtRandomReturnAtOnceAndLeaveNothing is the limiter's
// part of XX2: what they reserved is given back, and no key stays.
//
// It is not parallel: the tests beside it would be what makes its calls late.
func TestCallsThatAreCancelledAtRandomReturnAtOnceAndLeaveNothing(t *testing.T) {
	dstest.Servers(t, cancelledCalls)
}

func cancelledCalls(t *testing.T, f servers.Flavor) {
	s := serverstest.Start(t, servers.Options{Flavor: f})
	cs := dstest.Clients(t, s, 2)
	type user struct {
		limit *limiter.Limiter
		group *limiter.Group
		stock *limiter.Stock
	}
	const key = "k"
	var users []user
	for _, c := range cs {
		for _, a := range everyAlgorithm {
			opts := []limiter.Option{limiter.Using(a), limiter.Namespace(string(a)), limiter.Lapse(200 * time.Millisecond), limiter.MaxWait(time.Minute)}
			u := user{
				limit: limiter.New(c, "30/10ms", opts...),
				group: limiter.NewGroup(c, "g", []limiter.Rule{{Name: "user", Rate: "20/10ms"}, {Name: "all", Rate: "30/10ms"}}, opts...),
			}
			var err error
			if u.stock, err = u.limit.Stock("stock", 5); err != nil {
				t.Fatal(err)
			}
			users = append(users, u)
		}
	}
	var admitted, ended atomic.Int64
	dstest.Cancelled(t, 20, dstest.Rounds(250, 5_000), func(ctx context.Context, w int) {
		u := users[w%len(users)]
		cost := 1 + rand.IntN(3)
		// end is a second call of what the first has left to be ended.
		end := func(r *limiter.Reservation, err error) error {
			switch {
			case err != nil:
				return err
			case cost == 1:
				return nil // its process has died
			case cost == 2:
				return r.Cancel(ctx)
			}
			return r.Settle(ctx, rand.IntN(cost))
		}
		var err error
		switch rand.IntN(8) {
		case 0:
			_, err = u.limit.AllowN(ctx, key, cost)
		case 1:
			_, err = u.limit.Peek(ctx, key)
		case 2, 3:
			err = u.limit.WaitN(ctx, key, cost)
		case 4:
			err = end(u.limit.Reserve(ctx, key, cost))
		case 5:
			err = u.group.Wait(ctx, cost, "a", "b")
		case 6:
			err = end(u.group.Reserve(ctx, cost, "a", "b"))
		case 7:
			err = u.stock.Take(ctx, cost)
		}
		switch {
		case err == nil:
			admitted.Add(1)
		case errors.Is(err, context.DeadlineExceeded):
			ended.Add(1)
		case !errors.Is(err, limiter.ErrLimited):
			t.Errorf("got %v", err)
		}
	})
	if admitted.Load() == 0 || ended.Load() == 0 {
		t.Errorf("%d calls were admitted and %d ended by their contexts: nothing was tested", admitted.Load(), ended.Load())
	}
	for _, u := range users {
		if err := u.stock.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	dstest.Eventually(t, 10*time.Second, "the limits and what was reserved are gone", func() bool { return raw(t, cs[0], "DBSIZE") == "0" })
}
