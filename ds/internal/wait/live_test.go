package wait_test

import (
	"context"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// TestPrimitivesWaitByEventsWithoutPush is about Until on a client over RESP2: it
// is what leases, elections, barriers and the like wait with.
func TestPrimitivesWaitByEventsWithoutPush(t *testing.T) {
	s := serverstest.Start(t, servers.Options{Args: []string{"--notify-keyspace-events", "AK"}})
	c, err := redisx.Connect(t.Context(), s.URL()+"?protocol=2")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	before := wait.Counts()
	waits := make(chan struct{}, 10)
	done := make(chan error, 1)
	go func() {
		done <- wait.Until(ctx, c, "turn", func(ctx context.Context) (bool, time.Duration, error) {
			waits <- struct{}{}
			_, err := c.Get(ctx, "turn")
			if err == redisx.Nil {
				return false, 0, nil
			}
			return err == nil, 0, err
		})
	}()
	<-waits
	<-waits // at once, and watched
	if err := c.Set(ctx, "turn", "mine"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := wait.Counts(); got.Poll != before.Poll || got.Push != before.Push {
		t.Errorf("waited %+v, before %+v: not on events", got, before)
	}
}
