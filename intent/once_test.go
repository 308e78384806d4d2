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
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/intent"
)

func ExampleOnce() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	charge := func(ctx context.Context) (string, error) {
		fmt.Println("charging the card")
		return "receipt 1", nil
	}
	for range 2 { // the second call could come from any process
		receipt, err := intent.Once(ctx, client, "pay:order-7", charge)
		fmt.Println(receipt, err)
	}
	// Prints:
	// charging the card
	// receipt 1 <nil>
	// receipt 1 <nil>
}

func TestOnceRunsOnceForAllProcesses(t *testing.T) {
	_, cs := setup(t, 3)
	var runs atomic.Int32
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			v, err := intent.Once(t.Context(), cs[i%3], "k", func(context.Context) (string, error) {
				time.Sleep(20 * time.Millisecond)
				return fmt.Sprint("run ", runs.Add(1)), nil
			}, idem.Fingerprint("args"))
			if v != "run 1" || err != nil {
				t.Errorf("got %q, %v", v, err)
			}
		})
	}
	wg.Wait()
	_, err := intent.Once(t.Context(), cs[1], "k", func(context.Context) (string, error) { t.Error("ran"); return "", nil }, idem.Fingerprint("others"))
	var e *idem.Error
	if !errors.Is(err, idem.ErrKeyMismatch) || !errors.As(err, &e) || !strings.Contains(e.Explain(), "Use a new key") {
		t.Errorf("other arguments: %v", err)
	}
}
