package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// subscriber returns a client of a real server and a context for the test.
func subscriber(t *testing.T, resp2 bool) (context.Context, *redisx.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	cfg, err := redisx.ParseURL(serverstest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.RESP2 = resp2
	client, err := redisx.ConnectConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return ctx, client
}

func TestSubscribeToChannelsPatternsAndShards(t *testing.T) {
	for _, resp2 := range []bool{false, true} {
		t.Run(fmt.Sprint("RESP2 ", resp2), func(t *testing.T) {
			ctx, client := subscriber(t, resp2)
			sub, err := client.Subscribe(ctx, redisx.Channels("a", "b"), redisx.Patterns("p.*"), redisx.ShardChannels("s"))
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			publish := func(n int64, err error) {
				t.Helper()
				if n != 1 || err != nil {
					t.Errorf("%d receivers, error %v", n, err)
				}
			}
			publish(client.Publish(ctx, "a", "1"))
			publish(client.Publish(ctx, "p.x", "2"))
			publish(client.SPublish(ctx, "s", "3\r\n\x00"))
			if err := sub.Add(ctx, redisx.Channels("c"), redisx.Patterns("q*")); err != nil {
				t.Error(err)
			}
			sub.Remove(redisx.Channels("a"))
			publish(client.Publish(ctx, "c", ""))
			publish(client.Publish(ctx, "b", "end"))
			want := []redisx.Message{
				{Channel: "a", Payload: "1"},
				{Channel: "p.x", Pattern: "p.*", Payload: "2"},
				{Channel: "s", Payload: "3\r\n\x00"},
				{Channel: "c"},
				{Channel: "b", Payload: "end"},
			}
			for m, err := range sub.Messages(ctx) {
				if err != nil || m != want[0] {
					t.Fatalf("got %+v, error %v; want %+v", m, err, want[0])
				}
				if want = want[1:]; len(want) == 0 {
					break
				}
			}
			if st := sub.Stats(); st.Received != 5 || st.Buffered != 0 || !st.Connected {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestALoopOverMessagesEndsWithItsContext(t *testing.T) {
	ctx, client := subscriber(t, false)
	sub, err := client.Subscribe(ctx, redisx.Channels("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	loop, cancel := context.WithCancel(ctx)
	time.AfterFunc(10*time.Millisecond, cancel)
	rounds := 0
	for m, err := range sub.Messages(loop) {
		rounds++
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if rounds != 1 {
		t.Errorf("%d rounds", rounds)
	}
	for range 3 { // the subscription is as before, also after a break
		if _, err := client.Publish(ctx, "a", "x"); err != nil {
			t.Error(err)
		}
		for m, err := range sub.Messages(ctx) {
			if err != nil || m.Payload != "x" {
				t.Errorf("%+v, %v", m, err)
			}
			break
		}
	}
}

func TestCloseEndsALoopOverMessagesWithoutAnError(t *testing.T) {
	ctx, client := subscriber(t, false)
	for _, policy := range []redisx.Overflow{redisx.DropOldest, redisx.BlockOnOverflow} {
		sub, err := client.Subscribe(ctx, redisx.Channels("a"), policy)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*time.Millisecond, func() { sub.Close() })
		for m, err := range sub.Messages(ctx) {
			t.Errorf("%+v, %v", m, err)
		}
		if _, err := sub.Next(ctx); !errors.Is(err, redisx.ErrSubscriptionClosed) {
			t.Error(err)
		}
	}
}

func TestClosingTheClientEndsALoopOverMessagesWithAnError(t *testing.T) {
	ctx, client := subscriber(t, false)
	sub, err := client.Subscribe(ctx, redisx.Channels("a"))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, func() { client.Close() })
	ends := 0
	for m, err := range sub.Messages(ctx) {
		if err == nil || ctx.Err() != nil {
			t.Errorf("%+v, %v", m, err)
		}
		ends++
	}
	if ends != 1 {
		t.Errorf("%d rounds", ends)
	}
	if _, err := client.Subscribe(ctx, redisx.Channels("a")); err == nil {
		t.Error("a closed client subscribes")
	}
}

func TestALostConnectionIsAGapInTheStream(t *testing.T) {
	for _, resp2 := range []bool{false, true} {
		ctx, client := subscriber(t, resp2)
		start := time.Now()
		sub, err := client.Subscribe(ctx, redisx.Channels("a"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if _, err := client.Cmd(ctx, "CLIENT", "KILL", "TYPE", "pubsub"); err != nil {
				t.Fatal(err)
			}
			m, err := sub.Next(ctx)
			if err != nil || m.Gap == nil || !m.Gap.Reconnected || m.Gap.Dropped != 0 || m.Gap.Since.Before(start) || m.Gap.Since.After(time.Now()) {
				t.Fatalf("%+v, %v", m, err)
			}
			payload := fmt.Sprint(i)
			if n, err := client.Publish(ctx, "a", payload); n != 1 || err != nil {
				t.Errorf("%d receivers, error %v", n, err)
			}
			if m, err := sub.Next(ctx); err != nil || m.Payload != payload {
				t.Errorf("%+v, %v", m, err)
			}
		}
	}
}

func TestSubscriptionsAreRefusedWhereTheyCannotWork(t *testing.T) {
	ctx, client := subscriber(t, false)
	if _, err := client.Subscribe(ctx); err == nil {
		t.Error("subscribed to nothing")
	}
	for _, name := range []string{"SUBSCRIBE", "psubscribe", "SSUBSCRIBE", "UNSUBSCRIBE"} {
		if _, err := client.Cmd(ctx, name, "a"); err == nil || !redisx.SafeToRetry(err) {
			t.Errorf("%s on a client: %v", name, err)
		}
		err := client.WithSession(ctx, func(ctx context.Context, s *redisx.Session) error {
			_, err := s.Cmd(ctx, name, "a")
			return err
		})
		if err == nil || ctx.Err() != nil || !redisx.SafeToRetry(err) {
			t.Errorf("%s in a session: %v", name, err)
		}
	}
}
