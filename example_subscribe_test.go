package redisx_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func ExampleClient_Subscribe() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	sub, err := client.Subscribe(ctx, redisx.Channels("example:orders"), redisx.Patterns("example:news.*"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()

	// The subscription is confirmed: nothing published from here on is missed.
	client.Publish(ctx, "example:orders", "tea")
	client.Publish(ctx, "example:news.sport", "1:0")

	for m, err := range sub.Messages(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if m.Gap != nil {
			// Messages may be missing: read anew what they are about.
			fmt.Println("gap since", m.Gap.Since)
			continue
		}
		fmt.Println(m.Channel, m.Payload)
		if m.Pattern != "" {
			break
		}
	}
}

func ExampleBuffer() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	// Two messages at most wait for a slow consumer; older ones make room.
	sub, err := client.Subscribe(ctx, redisx.Channels("example:ticks"), redisx.Buffer(2, 64<<10), redisx.DropOldest)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()
	for i := range 5 {
		client.Publish(ctx, "example:ticks", fmt.Sprint(i))
	}
	for sub.Stats().Received < 5 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	for m, err := range sub.Messages(ctx) {
		switch {
		case err != nil:
			fmt.Println(err)
		case m.Gap != nil:
			fmt.Println("dropped:", m.Gap.Dropped)
			continue
		case m.Payload != "4":
			fmt.Println(m.Payload)
			continue
		}
		fmt.Println(m.Payload)
		break
	}
}

func TestSubscribeExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, tt := range []struct {
		example func()
		want    string
	}{
		{ExampleClient_Subscribe, "example:orders tea\nexample:news.sport 1:0\n"},
		{ExampleBuffer, "dropped: 3\n3\n4\n"},
	} {
		if got := serverstest.Printed(t, tt.example); got != tt.want {
			t.Errorf("printed:\n%s\nwant:\n%s", got, tt.want)
		}
	}
}
