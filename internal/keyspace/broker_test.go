package keyspace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/pubsub"
	"github.com/redisx/redisx/internal/pubsub/pubsubtest"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker is a RESP2 server in memory that answers CONFIG GET as a Doer. What is
// its own changes within Set, too.
type broker struct {
	pubsubtest.Broker
	letters string        // notify-keyspace-events
	refuse  error         // of CONFIG GET
	slow    time.Duration // CONFIG GET takes that long
	asked   int           // CONFIG GET that came
}

func (b *broker) Do(ctx context.Context, _ command.Request) (command.Reply, error) {
	var letters string
	var refuse error
	var slow time.Duration
	b.Set(func() {
		b.asked++
		letters, refuse, slow = b.letters, b.refuse, b.slow
	})
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return command.Reply{}, ctx.Err()
	}
	if refuse != nil {
		return command.Reply{}, refuse
	}
	frame := resp3.AppendBulk(resp3.AppendBulk([]byte("*2\r\n"), name), letters)
	v := resp3.NewView(frame)
	return command.NewReply(&v, nil), nil
}

// event publishes one event of a key of database 3. It returns how many
// connections it went to.
func (b *broker) event(key, event string) int { return b.Publish("__keyspace@3__:"+key, event) }

// noEntry makes the broker refuse subscriptions to a key, or none.
func (b *broker) noEntry(key, text string) {
	b.Set(func() { b.Refuse = map[string]string{"__keyspace@3__:" + key: text} })
}

func (b *broker) questions() (n int) {
	b.Set(func() { n = b.asked })
	return n
}

// inBubble runs f with a hub whose server publishes everything.
func inBubble(t *testing.T, f func(t *testing.T, h *Hub, b *broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &broker{Broker: pubsubtest.Broker{RESP2: true, Latency: time.Millisecond}, letters: "AKE"}
		cfg := session.Config{Node: "broker:1"}
		node := pool.New(pool.Config{Dial: b.Dial, Session: cfg, Hello: session.Hello{RESP2: true}})
		ps := pubsub.New(node, cfg)
		h := New(b, ps, 3)
		f(t, h, b)
		h.Close()
		ps.Close()
		node.Close()
		b.Close()
		synctest.Wait()
		if h.n != 0 || len(h.keys) != 0 || h.bytes != 0 {
			t.Errorf("left: %d watches of %d keys, %d bytes", h.n, len(h.keys), h.bytes)
		}
	})
}

// watching returns a watch that must be had.
func watching(t *testing.T, h *Hub, key string) command.Watch {
	t.Helper()
	w, err := h.Watch(t.Context(), key, "g$e")
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	return w
}

// told reports whether a watch was told, once all that is under way has
// arrived.
func told(w command.Watch) bool {
	time.Sleep(100 * time.Millisecond)
	select {
	case <-w.Changed():
		return true
	default:
		return false
	}
}
