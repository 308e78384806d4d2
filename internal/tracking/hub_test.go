package tracking

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

func newNode(t *testing.T, addr string, h session.Hello) *pool.Node {
	t.Helper()
	n := pool.New(pool.Config{
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		},
		Session: session.Config{Node: addr},
		Hello:   h,
	})
	t.Cleanup(func() { n.Close() })
	return n
}

func setup(t *testing.T) (*Hub, *pool.Node) {
	t.Helper()
	srv := serverstest.Start(t)
	n := newNode(t, srv.Addr, session.Hello{})
	return New(n, session.Config{Node: srv.Addr}, Config{}), n
}

func run(t *testing.T, n *pool.Node, name string, args ...string) {
	t.Helper()
	r := command.NewRequest(command.NewSpec(command.Spec{Name: name, Arity: -1}))
	for _, a := range args {
		r.Add(command.Str(a))
	}
	reply, err := n.Do(bg, &r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	reply.Release()
}

func watchKey(t *testing.T, h *Hub, key string) command.Watch {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	w, err := h.Watch(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

func wake(t *testing.T, w command.Watch, why string) {
	t.Helper()
	select {
	case <-w.Changed():
	case <-time.After(5 * time.Second):
		t.Errorf("%s did not wake the watch", why)
	}
}

func asleep(t *testing.T, w command.Watch, why string) {
	t.Helper()
	select {
	case <-w.Changed():
		t.Errorf("%s woke the watch", why)
	default:
	}
}

func TestAWatchWakesOnWhateverMayChangeItsKey(t *testing.T) {
	h, n := setup(t)
	for _, tt := range []struct {
		name   string
		change func()
	}{
		{"SET of an absent key", func() { run(t, n, "SET", "k", "1") }},
		{"SET", func() { run(t, n, "SET", "k", "2") }},
		{"DEL", func() { run(t, n, "DEL", "k") }},
		{"a key that appears with a life", func() { run(t, n, "SET", "k", "3", "PX", "60000") }},
		{"FLUSHALL", func() { run(t, n, "FLUSHALL") }},
		{"a change made by the watcher's own client", func() { run(t, n, "LPUSH", "k", "x") }},
		{"the loss of the connection", func() { run(t, n, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, other := watchKey(t, h, "k"), watchKey(t, h, "other:"+tt.name)
			asleep(t, w, "nothing")
			tt.change()
			wake(t, w, tt.name)
			if tt.name != "FLUSHALL" && tt.name != "the loss of the connection" {
				asleep(t, other, "a change of another key")
			}
			w.Stop()
			other.Stop()
		})
	}
	if got := h.Watches(); got != 0 {
		t.Errorf("%d watches are left", got)
	}
}

func TestAWatchWakesAtTheEndOfItsKeysLife(t *testing.T) {
	h, n := setup(t)
	for life := 50; ; life *= 2 {
		run(t, n, "SET", "k", "v", "PX", fmt.Sprint(life))
		w := watchKey(t, h, "k")
		r := command.Exists("k").Request()
		reply, err := n.Do(bg, &r)
		if err != nil {
			t.Fatal(err)
		}
		there, _ := reply.View().Int()
		reply.Release()
		if there == 1 { // else its life was over before the watch began
			wake(t, w, "the end of its life")
			return
		}
	}
}

func TestNoChangeAfterWatchIsLost(t *testing.T) {
	h, n := setup(t)
	for i := range 300 {
		w := watchKey(t, h, "counter")
		run(t, n, "INCR", "counter") // at once
		wake(t, w, fmt.Sprint("change ", i))
	}
}

func TestAThousandWatches(t *testing.T) {
	h, n := setup(t)
	var all []command.Watch
	for i := range 1000 {
		all = append(all, watchKey(t, h, fmt.Sprint("key", i%500)))
	}
	if got := h.Watches(); got != 1000 {
		t.Errorf("%d watches", got)
	}
	for i := range 250 {
		run(t, n, "SET", fmt.Sprint("key", i), "x")
	}
	for i, w := range all {
		if i%500 < 250 {
			wake(t, w, "SET")
		} else {
			asleep(t, w, "nothing")
			w.Stop()
			w.Stop()
			asleep(t, w, "Stop")
		}
	}
	if got := h.Watches(); got != 0 {
		t.Errorf("%d watches are left", got)
	}
}

func TestWithoutPushAWatchIsRefused(t *testing.T) {
	srv := serverstest.Start(t)
	t.Run("over RESP2", func(t *testing.T) {
		n := newNode(t, srv.Addr, session.Hello{RESP2: true})
		h := New(n, session.Config{}, Config{})
		for range 2 {
			if _, err := h.Watch(bg, "k"); !errors.Is(err, ErrNoPush) {
				t.Errorf("error %v", err)
			}
		}
	})
	t.Run("for a user who may not track", func(t *testing.T) {
		n := newNode(t, srv.Addr, session.Hello{})
		run(t, n, "ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-client|tracking")
		h := New(newNode(t, srv.Addr, session.Hello{Username: "bob", Password: "pw"}), session.Config{}, Config{})
		if _, err := h.Watch(bg, "k"); !errors.Is(err, ErrNoPush) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAServerIsAskedAnewAfterAReconnect(t *testing.T) {
	srv := serverstest.Start(t)
	admin := newNode(t, srv.Addr, session.Hello{})
	run(t, admin, "ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-client|tracking")
	n := newNode(t, srv.Addr, session.Hello{Username: "bob", Password: "pw"})
	h := New(n, session.Config{}, Config{})
	if _, err := h.Watch(bg, "k"); !errors.Is(err, ErrNoPush) || !h.NoPush() {
		t.Errorf("error %v", err)
	}
	run(t, admin, "ACL", "SETUSER", "bob", "+client|tracking")
	if _, err := h.Watch(bg, "k"); !errors.Is(err, ErrNoPush) {
		t.Errorf("on the same connection: %v", err)
	}
	before := n.Generation()
	run(t, admin, "CLIENT", "KILL", "USER", "bob")
	ping := command.Ping().Request()
	for deadline := time.Now().Add(10 * time.Second); n.Generation() == before; time.Sleep(time.Millisecond) {
		if reply, err := n.Do(bg, &ping); err == nil { // or the loss is being noticed
			reply.Release()
		}
		if time.Now().After(deadline) {
			t.Fatal("no reconnect")
		}
	}
	watchKey(t, h, "k").Stop()
	if h.NoPush() {
		t.Error("the server pushes, and counts as one that does not")
	}
}

func TestWatchObeysItsContextAndClose(t *testing.T) {
	h, n := setup(t)
	ended, cancel := context.WithCancel(bg)
	cancel()
	if _, err := h.Watch(ended, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	w := watchKey(t, h, "k")
	n.Close()
	wake(t, w, "Close")
	if _, err := h.Watch(bg, "k"); !errors.Is(err, pool.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
