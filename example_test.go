package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// url is where the examples connect to.
var url = "redis://127.0.0.1:6379"

func ExampleConnect() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	err = client.Set(ctx, "example:greeting", "hello", redisx.EX(time.Minute))
	fmt.Println(err)
	v, err := client.Get(ctx, "example:greeting")
	fmt.Println(v, err)
	_, err = client.Get(ctx, "example:nothing")
	fmt.Println(errors.Is(err, redisx.Nil))
}

func ExampleClient_Pipeline() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	p := client.Pipeline()
	p.Del("example:visits")
	visits := p.Incr("example:visits")
	wrong := redisx.Queue(p, command.LLen("example:visits")) // not a list
	err = p.Exec(ctx)                                        // the first error of any command
	fmt.Println(err)
	fmt.Println(visits.Result()) // the others have run nonetheless
	_, err = wrong.Result()
	fmt.Println(command.IsCode(err, "WRONGTYPE"))
}

func ExampleClient_WithSession() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	// SELECT would change the connection under everybody else.
	_, err = client.Cmd(ctx, "SELECT", 1)
	fmt.Println(err)
	err = client.WithSession(ctx, func(ctx context.Context, s *redisx.Session) error {
		if _, err := s.Cmd(ctx, "SELECT", 1); err != nil {
			return err
		}
		return s.Set(ctx, "example:key", "in database 1")
	})
	fmt.Println(err)
}

func ExampleScript() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	capped := redisx.NewScript(`
		local n = redis.call('INCR', KEYS[1])
		if n > tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1] end
		return n`)
	for range 3 {
		v, err := capped.Run(ctx, client, []string{"example:capped"}, 2)
		fmt.Println(v.Text(), err)
	}
	client.Del(ctx, "example:capped")
}

func TestExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Connect", "<nil>\nhello <nil>\ntrue\n", ExampleConnect},
		{"Client_Pipeline", "redisx: LLEN on " + url[len("redis://"):] + ": WRONGTYPE Operation against a key holding the wrong kind of value\n1 <nil>\ntrue\n", ExampleClient_Pipeline},
		{"Client_WithSession", "redisx: SELECT on client: build: this command binds its connection: run it inside Client.WithSession (not sent)\n<nil>\n", ExampleClient_WithSession},
		{"Script", "1 <nil>\n2 <nil>\n2 <nil>\n", ExampleScript},
		{"Config_credentials", "<nil>\n", ExampleConfig_credentials},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
