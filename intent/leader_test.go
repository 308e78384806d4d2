package intent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/intent"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func ExampleLeader() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	err = intent.Leader(ctx, client, "cron", func(ctx context.Context) error {
		return ctx.Err() // run the jobs, with ctx: it ends before anybody else leads
	})
	fmt.Println(err)
	// Prints: <nil>
}

func TestLeaderExample(t *testing.T) {
	url = serverstest.Start(t).URL()
	if got := serverstest.Printed(t, ExampleLeader); got != "<nil>\n" {
		t.Errorf("ExampleLeader printed %q", got)
	}
}

func TestLeaderRunsFnAgainAfterALoss(t *testing.T) {
	c, err := redisx.Connect(t.Context(), serverstest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	runs := 0
	err = intent.Leader(t.Context(), c, "cron", func(ctx context.Context) error {
		if runs++; runs > 1 {
			return nil
		}
		if _, err := c.Cmd(ctx, "FLUSHALL"); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}, coord.TTL(300*time.Millisecond))
	if err != nil || runs != 2 {
		t.Errorf("Leader returned %v after %d runs, want 2", err, runs)
	}
}

func TestLeaderSaysWhoLeads(t *testing.T) {
	c, err := redisx.Connect(t.Context(), serverstest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	term, err := coord.NewElection(c, "cron", coord.Name("node-A")).Campaign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer term.Resign(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = intent.Leader(ctx, c, "cron", nil)
	var not *coord.NotLeaderError
	if !errors.As(err, &not) || not.Leader != "node-A" || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(not.Explain(), "node-A has led") {
		t.Errorf("Leader returned %v", err)
	}
}
