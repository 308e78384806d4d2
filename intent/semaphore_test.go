package intent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/semaphore"
	"github.com/redisx/redisx/intent"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func ExampleSemaphore() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	err = intent.Semaphore(ctx, client, "gpu", 8, func(ctx context.Context) error {
		return ctx.Err() // at most eight are here, in all processes
	})
	fmt.Println(err)
}

func TestExampleSemaphore(t *testing.T) {
	url = serverstest.Start(t).URL()
	if got := serverstest.Printed(t, ExampleSemaphore); got != "<nil>\n" {
		t.Errorf("it printed %q", got)
	}
}

func TestSemaphoreLetsNRun(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	var inside, runs atomic.Int32
	three := make(chan struct{}) // closed when the third runs
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := intent.Semaphore(t.Context(), cs[i%2], "gpu", 3, func(context.Context) error {
				n := inside.Add(1)
				defer inside.Add(-1)
				if n > 3 {
					t.Errorf("%d run at a time", n)
				}
				if runs.Add(1) == 3 {
					close(three)
				}
				select {
				case <-three:
				case <-time.After(10 * time.Second):
					t.Error("three cannot run at a time")
				}
				time.Sleep(5 * time.Millisecond) // a fourth would come
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if runs.Load() != 20 {
		t.Errorf("%d ran", runs.Load())
	}
}

func TestSemaphoreSaysWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	err := intent.Semaphore(t.Context(), cs[0], "gpu", 1, func(ctx context.Context) error {
		if err := intent.Semaphore(ctx, cs[0], "gpu", 1, func(context.Context) error { return nil }); !errors.Is(err, lease.ErrReentrant) {
			t.Errorf("inside itself: %v", err)
		}
		other, cancel := context.WithCancel(t.Context())
		defer cancel()
		var asked atomic.Int64
		asking := &dstest.Lossy{Client: cs[0], Before: func(r command.Request) {
			if strings.HasPrefix(r.Name(), "EVAL") && asked.Add(1) == 2 {
				cancel() // who asks again has heard the first answer
			}
		}}
		err := intent.Semaphore(other, asking, "gpu", 1, func(context.Context) error { t.Error("it ran"); return nil })
		var full *semaphore.FullError
		if !errors.As(err, &full) || !errors.Is(err, context.Canceled) || !strings.Contains(full.Explain(), `1 permits of "gpu" are out and take 1 of 1`) {
			t.Errorf("beside another: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
