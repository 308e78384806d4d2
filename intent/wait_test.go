package intent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/intent"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func ExampleWaitFor() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	time.AfterFunc(50*time.Millisecond, func() { client.Set(ctx, "job:42:status", "done") })
	status, err := intent.WaitFor(ctx, client, "job:42:status", "done", 15*time.Second)
	fmt.Println(status, err)
}

func TestExampleWaitFor(t *testing.T) {
	url = serverstest.Start(t).URL()
	if got := serverstest.Printed(t, ExampleWaitFor); got != "done <nil>\n" {
		t.Errorf("printed %q", got)
	}
}

func TestWaitForWaitsForAValueOrAPredicate(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 2)
	c, setter := cs[0], cs[1]
	for i, wait := range []func(ctx context.Context, key string) (string, error){
		func(ctx context.Context, key string) (string, error) {
			return intent.WaitFor(ctx, c, key, "done", 10*time.Second)
		},
		func(ctx context.Context, key string) (string, error) {
			return intent.WaitFor(ctx, c, key, func(v string, ok bool) bool { return len(v) == 4 }, 0)
		},
	} {
		key := fmt.Sprint("job:", i)
		time.AfterFunc(30*time.Millisecond, func() { setter.Set(t.Context(), key, "done") })
		if v, err := wait(t.Context(), key); v != "done" || err != nil {
			t.Errorf("got %q, error %v", v, err)
		}
	}
}

func TestWaitForSaysWhatToDo(t *testing.T) {
	t.Parallel()
	_, cs := setup(t, 1)
	if err := cs[0].Set(t.Context(), "job", "running"); err != nil {
		t.Fatal(err)
	}
	v, err := intent.WaitFor(t.Context(), cs[0], "job", "done", 50*time.Millisecond)
	var budget *smart.BudgetError
	if !errors.As(err, &budget) || v != "running" || !strings.Contains(budget.Explain(), "job: exists, not as waited for") {
		t.Errorf("got %q, error %v", v, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := intent.WaitFor(ctx, cs[0], "job", "done", 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
