package coord_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// Whatever waits returns when its context ends, and says so in both ways: by
// the context's error and by its cause.
func TestTheEndOfAContextIsToldWithItsCause(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		join(t, c, "ended", coord.Name("taken"))
		campaign(t, c)
		for what, wait := range map[string]func(ctx context.Context) error{
			"Await": func(ctx context.Context) error {
				_, err := coord.NewBarrier(c, "ended", 2).Await(ctx)
				return err
			},
			"Wait": func(ctx context.Context) error { return coord.NewLatch(c, "ended").Wait(ctx) },
			"Join": func(ctx context.Context) error {
				_, err := coord.Join(ctx, c, "ended", coord.Name("taken"))
				return err
			},
			"WatchMembers": func(ctx context.Context) (last error) {
				for _, last = range coord.WatchMembers(ctx, c, "ended") {
				}
				return last
			},
			"RunShards": func(ctx context.Context) error {
				return coord.RunShards(ctx, c, "ended", 1, func(ctx context.Context, _ *coord.Shard) error { <-ctx.Done(); return nil })
			},
			"Campaign": func(ctx context.Context) error {
				_, err := coord.NewElection(c, "cron").Campaign(ctx)
				return err
			},
			"Lead": func(ctx context.Context) error {
				return coord.NewElection(c, "cron", coord.Again()).Lead(ctx, nil)
			},
			"Observe": func(ctx context.Context) (last error) {
				for _, last = range coord.NewElection(c, "cron").Observe(ctx) {
				}
				return last
			},
		} {
			for _, after := range []time.Duration{0, 50 * time.Millisecond} {
				why := errors.New("enough")
				ctx, cancel := context.WithCancelCause(t.Context())
				if after == 0 {
					cancel(why)
				} else {
					time.AfterFunc(after, func() { cancel(why) })
				}
				told := make(chan error, 1)
				go func() { told <- wait(ctx) }()
				select {
				case err := <-told:
					if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
						t.Errorf("%s, cancelled after %v: %v", what, after, err)
					}
				case <-time.After(soon):
					t.Fatalf("%s, cancelled after %v, goes on", what, after)
				}
			}
		}
	})
}

// full is a client whose next connections the server refuses, as it has too many.
type full struct {
	bare
	refusals *atomic.Int64
}

func (f full) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	if f.refusals.Add(-1) < 0 {
		return f.bare.Do(ctx, r)
	}
	return command.Reply{}, &command.Error{
		Command: r.Name(), Phase: "dial", Outcome: command.NotSent, Err: resp3.ServerError("ERR max number of clients reached"),
	}
}

// What a server says to a connection is not its word about the request.
func TestAServerThatIsFullEndsNoWait(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	if err := coord.NewLatch(c, "open").Create(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for what, wait := range map[string]func(d command.Doer) error{
		"Lead": func(d command.Doer) error {
			return coord.NewElection(d, "cron", coord.Again(), coord.AllowEviction(), coord.TTL(time.Second)).Lead(t.Context(), func(context.Context, *coord.Term) error { return nil })
		},
		"Wait": func(d command.Doer) error { return coord.NewLatch(d, "open").Wait(t.Context()) },
		"WatchMembers": func(d command.Doer) error {
			for _, err := range coord.WatchMembers(t.Context(), d, "nobody") {
				return err
			}
			return nil
		},
		"RunShards": func(d command.Doer) error {
			ctx, cancel := context.WithCancelCause(t.Context())
			ran := errors.New("ran")
			err := coord.RunShards(ctx, d, "full", 1, func(ctx context.Context, _ *coord.Shard) error {
				cancel(ran)
				return nil
			}, coord.AllowEviction())
			if errors.Is(err, ran) {
				return nil
			}
			return err
		},
	} {
		d := full{bare{c}, new(atomic.Int64)}
		d.refusals.Store(3)
		if err := wait(d); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The context ends when the server has granted a name that was taken before: the
// error must not say that somebody has it.
func TestANameThatCameTooLateIsNotTaken(t *testing.T) {
	t.Parallel()
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		server := serverstest.Start(t, servers.Options{Flavor: f})
		c := dstest.Connect(t, server)
		first := join(t, c, "late", coord.Name("n"))
		owner := func() string {
			i, err := coord.Members(context.Background(), c, "late")
			if err != nil || len(i.Members) == 0 {
				return ""
			}
			return i.Members[0].ID
		}
		of := owner()
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan struct{}, 100)
		d := &dstest.Lossy{Client: dstest.Connect(t, server), Lose: func(r command.Request) bool {
			if dstest.Runs(r, coord.MembersJoin) {
				asked <- struct{}{}
				if is := owner(); is != of && is != "" {
					cancel()
				}
			}
			return false
		}}
		joined := make(chan error, 1)
		go func() {
			_, err := coord.Join(ctx, d, "late", coord.Name("n"))
			joined <- err
		}()
		<-asked // and told that it is taken
		<-asked // again, as it watches now
		if err := first.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		var taken *coord.NameTakenError
		if err := <-joined; !errors.Is(err, context.Canceled) || errors.As(err, &taken) {
			t.Errorf("Join: %v", err)
		}
		dstest.Eventually(t, soon, "the name is given back", func() bool { return owner() == "" })
	})
}

// What the server tells of members may be anything.
func TestStrangeMembersDoNoHarm(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	end := dstest.Int(t, c, "EVAL", "return redis.call('TIME')[1] * 1000 + 60000", 0)
	for _, shards := range []any{-5, 1 << 60, "many"} {
		dstest.Cmd(t, c, "HSET", "{redisx:shards:strange}:members", "shards", shards)
		dstest.Cmd(t, c, "ZADD", "{redisx:shards:strange}:beats", end, "a")
		dstest.Cmd(t, c, "HSET", "{redisx:shards:strange}:about", "a", `{"id":"1","weight":"-7","meta":"","since":"1"}`)
		i, err := coord.InspectShards(t.Context(), c, "strange")
		if (err != nil) != (shards == "many") || len(i.Shards) > 1024 {
			t.Errorf("%v shards: %d, %v", shards, len(i.Shards), err)
		}
	}
}

// The contexts of shards end with what ended them all, not as if each had moved.
func TestShardsEndWithTheCauseOfTheEnd(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
		c := dstest.Start(t, f)
		for what, end := range map[string]func(cancel context.CancelCauseFunc){
			"the context": func(cancel context.CancelCauseFunc) { cancel(enough) },
			"the server's word": func(context.CancelCauseFunc) {
				dstest.Cmd(t, c, "SET", "{redisx:shards:cause}:beats", "of another type")
				dstest.Cmd(t, c, "HSET", "{redisx:shards:cause}:members", "changed", "1") // so that they are looked at
			},
		} {
			const n = 64
			ctx, cancel := context.WithCancelCause(t.Context())
			var running, wrong atomic.Int64
			err := coord.RunShards(ctx, c, "cause", n, func(ctx context.Context, _ *coord.Shard) error {
				if running.Add(1) == n {
					end(cancel)
				}
				<-ctx.Done()
				if cause := context.Cause(ctx); cause != enough && !command.IsCode(cause, "WRONGTYPE") {
					wrong.Add(1)
				}
				return nil
			})
			if !errors.Is(err, enough) && !command.IsCode(err, "WRONGTYPE") || wrong.Load() > 0 {
				t.Errorf("ended by %s: %d of %d shards ended for another reason; RunShards: %v", what, wrong.Load(), n, err)
			}
			cancel(nil)
			dstest.Cmd(t, c, "DEL", "{redisx:shards:cause}:beats", "{redisx:shards:cause}:members", "{redisx:shards:cause}:about")
		}
	})
}
