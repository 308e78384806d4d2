package redisx_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func ExampleCommands_ScanAll() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	client.MSet(ctx, redisx.KV("example:user:1", "ann"), redisx.KV("example:user:2", "bob"))
	var found []string
	for key, err := range client.ScanAll(ctx, redisx.MATCH("example:user:*"), redisx.COUNT(1000)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		found = append(found, key)
	}
	slices.Sort(found) // a scan has no order, and may find a key twice
	fmt.Println(slices.Compact(found))
}

func ExampleHGetAllAs() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	type user struct {
		Name string    `redis:"name"`
		Age  int       `redis:"age"`
		Seen time.Time `redis:"seen"`
		Note *string   `redis:"note"` // nil: not stored
	}
	fields, err := command.Fields(user{Name: "ann", Age: 30, Seen: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		fmt.Println(err)
		return
	}
	stored, err := client.HSet(ctx, "example:user", fields...)
	fmt.Println(stored, err)
	ann, err := redisx.HGetAllAs[user](ctx, client, "example:user")
	fmt.Println(ann.Name, ann.Age, ann.Seen.Year(), ann.Note, err)
	_, err = redisx.HGetAllAs[user](ctx, client, "example:nobody")
	fmt.Println(err)
}

func ExampleRun() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	// Keys apart from arguments; the result as a type.
	both := redisx.NewScriptRO(`return redis.call('MGET', KEYS[1], KEYS[2])`)
	client.MSet(ctx, redisx.KV("example:{a}1", "x"), redisx.KV("example:{a}2", "y"))
	values, err := redisx.Run(ctx, client, both, command.AsStrings, []string{"example:{a}1", "example:{a}2"})
	fmt.Println(values, err)

	// In a pipeline there is no second try: load first.
	p := client.Pipeline()
	redisx.Queue(p, both.Load())
	got := redisx.Queue(p, command.New(both.Call([]string{"example:{a}1", "example:{a}2"}), command.AsStrings))
	if err := p.Exec(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got.Result())
}

func ExampleLibrary() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	orders := redisx.NewLibrary(`#!lua name=orders_v1
		redis.register_function('orders_v1_next', function(keys, args)
			return redis.call('INCRBY', keys[1], args[1])
		end)`)
	next := orders.Function("orders_v1_next")
	client.Del(ctx, "example:orders")
	for range 2 { // the first call loads the library
		n, err := redisx.Run(ctx, client, next, command.AsInt, []string{"example:orders"}, 10)
		fmt.Println(n, err)
	}
}

func ExampleCommands_GeoSearchFound() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	client.GeoAdd(ctx, "example:cities", []command.GeoMember{
		command.At(13.361389, 38.115556, "Palermo"),
		command.At(15.087269, 37.502669, "Catania"),
	})
	found, err := client.GeoSearchFound(ctx, "example:cities",
		redisx.FROMLONLAT(15, 37), redisx.BYRADIUS(200, command.Kilometers), redisx.ASC)
	for _, city := range found {
		fmt.Printf("%s %.0f km\n", city.Member, city.Distance)
	}
	fmt.Println(err)
}

func ExampleCommands_BitField() {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	client.Del(ctx, "example:bits")
	hits := command.Bits("u8", "#0") // the first byte, as a number
	results, err := client.BitField(ctx, "example:bits", hits.Set(254), hits.IncrBy(1), hits.IncrBy(1).On(command.Fail), hits)
	for _, r := range results {
		fmt.Println(r.Value, r.OK)
	}
	fmt.Println(err)
}

func TestCommandExamples(t *testing.T) {
	url = serverstest.Start(t).URL()
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Commands_ScanAll", "[example:user:1 example:user:2]\n", ExampleCommands_ScanAll},
		{"HGetAllAs", "3 <nil>\nann 30 2026 <nil> <nil>\nredisx: nil\n", ExampleHGetAllAs},
		{"Run", "[x y] <nil>\n[x y] <nil>\n", ExampleRun},
		{"Library", "10 <nil>\n20 <nil>\n", ExampleLibrary},
		{"Commands_GeoSearchFound", "Catania 56 km\nPalermo 190 km\n<nil>\n", ExampleCommands_GeoSearchFound},
		{"Commands_BitField", "0 true\n255 true\n0 false\n255 true\n<nil>\n", ExampleCommands_BitField},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
