package pubsub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/pubsub/pubsubtest"
	"github.com/redisx/redisx/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// world is a hub and its broker in virtual time.
type world struct {
	*testing.T
	*pubsubtest.Broker
	hub *Hub
}

// each runs f with RESP3 and RESP2.
func each(t *testing.T, f func(w *world)) {
	t.Helper()
	for _, resp2 := range []bool{false, true} {
		name := "RESP3"
		if resp2 {
			name = "RESP2"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &pubsubtest.Broker{RESP2: resp2, Refuse: map[string]string{}}
				cfg := session.Config{Node: "broker:1"}
				node := pool.New(pool.Config{Dial: b.Dial, Session: cfg, Hello: session.Hello{RESP2: resp2}})
				w := &world{t, b, New(node, cfg)}
				f(w)
				w.hub.Close()
				node.Close()
				b.Close()
				w.empty()
			})
		})
	}
}

// subscribers returns how many connections subscribed to something.
func (w *world) subscribers() int {
	_, conns := w.Topics()
	return conns
}

// empty checks that the hub has let go of everything.
func (w *world) empty() {
	w.Helper()
	f := w.hub.shared
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count != 0 || f.members != 0 || len(f.todo) != 0 || len(f.subs) != 0 || f.keeping || len(f.entries[0])+len(f.entries[1])+len(f.entries[2]) != 0 {
		w.Errorf("left: %d entries, %d members, %d to do, %d subscriptions, keeping %v", f.count, f.members, len(f.todo), len(f.subs), f.keeping)
	}
	if len(w.hub.own) != 0 {
		w.Errorf("left: %d feeds", len(w.hub.own))
	}
}

func channels(names ...string) []Topic { return topics(Channel, names) }
func patterns(names ...string) []Topic { return topics(Pattern, names) }
func shards(names ...string) []Topic   { return topics(Shard, names) }

func topics(k Kind, names []string) (all []Topic) {
	for _, n := range names {
		all = append(all, Topic{k, n})
	}
	return all
}

func (w *world) subscribe(ts []Topic) *Subscription { return w.with(Options{}, ts) }

func (w *world) with(o Options, ts []Topic) *Subscription {
	w.Helper()
	s, err := w.hub.Subscribe(bg, ts, o)
	if err != nil {
		w.Fatalf("Subscribe: %v", err)
	}
	return s
}

// text shows a message as the tests write it: "channel:payload",
// "pattern>channel:payload" or "gap 3 reconnected".
func text(m Message) string {
	switch {
	case m.Gap != nil:
		s := fmt.Sprintf("gap %d", m.Gap.Dropped)
		if m.Gap.Reconnected {
			s += " reconnected"
		}
		return s
	case m.Pattern != "":
		return m.Pattern + ">" + m.Channel + ":" + m.Payload
	}
	return m.Channel + ":" + m.Payload
}

// want reads exactly these from s, and checks that nothing else is there.
func (w *world) want(s *Subscription, items ...string) {
	w.Helper()
	synctest.Wait()
	var got []string
	ctx, cancel := context.WithTimeout(bg, time.Nanosecond)
	defer cancel()
	for {
		m, err := s.Next(ctx)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("Next: %v", err)
			}
			break
		}
		got = append(got, text(m))
	}
	if !slices.Equal(got, items) {
		w.Errorf("got %q, want %q", got, items)
	}
}

// wantSent checks the subscribing commands that the broker got.
func (w *world) wantSent(commands ...string) {
	w.Helper()
	synctest.Wait()
	if got := w.Sent(); !slices.Equal(got, commands) {
		w.Errorf("the server was sent %q, want %q", got, commands)
	}
}
