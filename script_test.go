package redisx_test

import (
	"context"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

func TestAScriptRunsOnAServerThatHasNeverSeenIt(t *testing.T) {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, serverstest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	script := redisx.NewScript(`redis.call('INCRBY', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[1]), ARGV[2]}`)
	for i, want := range []string{"5", "10"} { // sent whole, then by its digest
		v, err := script.Run(ctx, client, []string{"n"}, 5, []byte("raw"))
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Elems(); len(got) != 2 || got[0].Text() != want || got[1].Text() != "raw" {
			t.Errorf("run %d returned %v, want [%s raw]", i, got, want)
		}
	}
	if _, err := client.Cmd(ctx, "SCRIPT", "FLUSH"); err != nil {
		t.Fatal(err)
	}
	if v, err := script.Run(ctx, client, []string{"n"}, 1, "x"); err != nil || v.Elems()[0].Text() != "11" {
		t.Errorf("after SCRIPT FLUSH: %v, %v; want 11", v, err)
	}
	if _, err := script.Run(ctx, client, nil, struct{}{}); err == nil {
		t.Error("an argument of a type that commands cannot carry was accepted")
	}
	read := redisx.NewScriptRO(`return redis.call('GET', KEYS[1])`)
	if n, err := redisx.Run(ctx, client, read, command.AsInt, []string{"n"}); err != nil || n != 11 {
		t.Errorf("a script that only reads: %d, %v", n, err)
	}
	write := redisx.NewScriptRO(`return redis.call('SET', KEYS[1], 'x')`)
	if _, err := write.Run(ctx, client, []string{"n"}); err == nil {
		t.Error("a script that writes ran as one that only reads")
	}
}

// A pipeline has no second try: what it uses is loaded in it, or before.
func TestAScriptInAPipelineIsLoadedFirst(t *testing.T) {
	ctx := context.Background()
	client, err := redisx.Connect(ctx, serverstest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	script := redisx.NewScript(`return redis.call('INCR', KEYS[1])`)
	p := client.Pipeline()
	blind := redisx.Queue(p, command.New(script.Call([]string{"n"}), command.AsInt))
	redisx.Queue(p, script.Load())
	known := redisx.Queue(p, command.New(script.Call([]string{"n"}), command.AsInt))
	whole := redisx.Queue(p, command.New(script.Eval([]string{"n"}), command.AsInt))
	p.Exec(ctx)
	if _, err := blind.Result(); !command.IsCode(err, "NOSCRIPT") || !redisx.SafeToRetry(err) {
		t.Errorf("before it was loaded: %v, want NOSCRIPT, safe to retry", err)
	}
	for i, f := range []redisx.Future[int64]{known, whole} {
		if n, err := f.Result(); err != nil || n != int64(i+1) {
			t.Errorf("call %d: %d, %v", i, n, err)
		}
	}
}

func TestAFunctionRunsOnAServerThatHasNeverSeenIt(t *testing.T) {
	const code = `#!lua name=counters
redis.register_function('count', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)
redis.register_function{function_name='look', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}`
	serverstest.Each(t, func(t *testing.T, f servers.Flavor) {
		ctx := t.Context()
		client := connected(t, f)
		library := redisx.NewLibrary(code)
		count, look := library.Function("count"), library.FunctionRO("look")
		for _, want := range []int64{5, 10} {
			if n, err := redisx.Run(ctx, client, count, command.AsInt, []string{"n"}, 5); err != nil || n != want {
				t.Errorf("count: %d, %v, want %d", n, err, want)
			}
		}
		if v, err := look.Run(ctx, client, []string{"n"}); err != nil || v.Text() != "10" {
			t.Errorf("look: %v, %v", v, err)
		}
		if _, err := redisx.Do(ctx, client, command.FunctionFlush(command.SYNC)); err != nil {
			t.Fatal(err)
		}
		if v, err := look.Run(ctx, client, []string{"n"}); err != nil || v.Text() != "10" {
			t.Errorf("after FUNCTION FLUSH: %v, %v", v, err)
		}

		// A newer version of the library does not push out the one that runs.
		newer := redisx.NewLibrary(code + "\nredis.register_function('twice', function(keys) return 2 end)")
		if _, err := newer.Function("twice").Run(ctx, client, nil); err == nil {
			t.Error("running a function replaced a library")
		}
		if _, err := redisx.Do(ctx, client, newer.Replace()); err != nil {
			t.Fatal(err)
		}
		if n, err := redisx.Run(ctx, client, newer.Function("twice"), command.AsInt, nil); err != nil || n != 2 {
			t.Errorf("after Replace: %d, %v", n, err)
		}
		libraries, err := client.FunctionListCode(ctx, redisx.LIBRARYNAME("count*"))
		if err != nil || len(libraries) != 1 || libraries[0].Code != newer.Code() || len(libraries[0].Functions) != 3 {
			t.Errorf("FUNCTION LIST WITHCODE: %+v, %v", libraries, err)
		}

		dump, err := client.FunctionDumpBytes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := redisx.Do(ctx, client, command.FunctionRestoreBytes(dump, command.FLUSH)); err != nil {
			t.Errorf("FUNCTION RESTORE: %v", err)
		}
		if n, err := redisx.Run(ctx, client, newer.Function("twice"), command.AsInt, nil); err != nil || n != 2 {
			t.Errorf("after FUNCTION RESTORE: %d, %v", n, err)
		}
	})
}
