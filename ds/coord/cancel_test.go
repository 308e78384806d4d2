package coord_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// TestCallsThatAreCancelledAtRandomReturnAtOnceAndLeaveNothing is this package's
// part of XX2.
//
// It is not parallel: the tests beside it would be what makes its calls late.
func TestCallsThatAreCancelledAtRandomReturnAtOnceAndLeaveNothing(t *testing.T) {
	dstest.Servers(t, cancelledCalls)
}

func cancelledCalls(t *testing.T, f servers.Flavor) {
	s := serverstest.Start(t, servers.Options{Flavor: f})
	cs := dstest.Clients(t, s, 2)
	var done, ended, broken, n atomic.Int64
	dstest.Cancelled(t, 20, dstest.Rounds(250, 5_000), func(ctx context.Context, w int) {
		c, name, ttl := cs[w%2], fmt.Sprint("x", rand.IntN(3)), coord.TTL(500*time.Millisecond)
		var err error
		switch rand.IntN(6) {
		case 0:
			_, err = coord.NewBarrier(c, name, 3, ttl).Await(ctx)
		case 1:
			l := coord.NewLatch(c, fmt.Sprint("l", n.Add(1)), ttl)
			if err = l.Create(ctx, 1+rand.IntN(2)); err == nil {
				if _, err = l.Done(ctx, "me"); err == nil {
					err = l.Wait(ctx)
				}
			}
		case 2:
			var m *coord.Membership
			if m, err = coord.Join(ctx, c, name, ttl); err == nil {
				err = m.Leave(ctx)
			}
		case 3:
			_, err = coord.Members(ctx, c, name, ttl)
		case 4:
			for _, err = range coord.NewElection(c, name, ttl).Observe(ctx) {
				if err != nil || rand.IntN(2) == 0 {
					break
				}
			}
		case 5:
			var term *coord.Term
			if term, err = coord.NewElection(c, name, ttl).Campaign(ctx); err == nil {
				err = term.Resign(ctx)
			}
		}
		switch {
		case err == nil:
			done.Add(1)
		case errors.Is(err, context.DeadlineExceeded):
			ended.Add(1)
		case errors.Is(err, coord.ErrGenerationGone):
			broken.Add(1) // by somebody who left
		default:
			t.Errorf("got %v", err)
		}
	})
	t.Logf("%d done, %d ended by their contexts, %d parties told that a generation broke", done.Load(), ended.Load(), broken.Load())
	if done.Load() == 0 || ended.Load() == 0 {
		t.Error("nothing was tested")
	}
	// A fence and a barrier count on for a week, so that neither begins again.
	counts := func(k string) bool { return strings.HasSuffix(k, ":fence") || strings.HasSuffix(k, ":barrier") }
	dstest.Eventually(t, 20*time.Second, "no key is left but those that count on", func() bool {
		for _, k := range dstest.Cmd(t, cs[0], "KEYS", "*").Elems() {
			if !counts(k.Text()) {
				return false
			}
		}
		return true
	})
	for _, k := range dstest.Cmd(t, cs[0], "KEYS", "*").Elems() {
		if dstest.Int(t, cs[0], "PTTL", k.Text()) < 0 {
			t.Errorf("%s has no TTL", k.Text())
		}
	}
}
