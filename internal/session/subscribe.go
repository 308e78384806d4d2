package session

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

var errNotSubscriber = errors.New("session: the connection is not a subscriber")

// confirmations is what a command waits for that pushes answer: one for each of
// its names. An error reply answers it as a whole.
type confirmations struct {
	kind  string   // the first word of the pushes, such as "subscribe"
	names []string // not yet confirmed
}

// Subscribe sends a command that the server answers with a push for each name,
// as RESP2 and RESP3 do for SUBSCRIBE, UNSUBSCRIBE and their like for patterns
// and shards. It returns when every name is confirmed, in whatever order, or as
// Do does. OnPush has been given the confirmations before.
func (c *Conn) Subscribe(ctx context.Context, r *command.Request) error {
	if !c.cfg.Subscriber {
		return c.error(r, "build", command.NotSent, errNotSubscriber)
	}
	w := &confirmations{kind: strings.ToLower(r.Name()), names: make([]string, r.Len())}
	for i := range w.names {
		w.names[i] = r.Arg(i).Text()
	}
	reply, err := c.do(ctx, r, w, nil)
	reply.Release()
	return err
}

// Heard returns when the connection of a Subscriber last read anything: what
// the server sent before that has arrived.
func (c *Conn) Heard() time.Time { return time.Unix(0, c.heard.Load()) }

// confirmed returns the call that v is the last confirmation of, or nil. A
// confirmation that the oldest call does not wait for is the server's own
// doing, such as the end of a subscription whose slot has moved.
func (c *Conn) confirmed(v resp3.View) *call {
	if !c.cfg.Subscriber {
		return nil
	}
	e := v.Cursor()
	kind, _ := e.Next()
	name, ok := e.Next()
	if !ok || !bytes.HasSuffix(kind.Bytes(), []byte("subscribe")) {
		return nil // a message, mostly: it need not look for a call
	}
	k := c.front()
	if k == nil || k.awaits == nil || k.start >= c.begun || string(kind.Bytes()) != k.awaits.kind {
		return nil
	}
	names := k.awaits.names
	for i := range names {
		if names[i] == string(name.Bytes()) {
			// In the usual order the match is the first: nothing moves then.
			copy(names[1:i+1], names[:i])
			k.awaits.names = names[1:]
			break
		}
	}
	if len(k.awaits.names) > 0 {
		return nil
	}
	return k
}

// pushed reports whether v is what RESP3 would have sent as a push. The answer
// to PING is not, though RESP2 makes an array of it here as well.
func pushed(v resp3.View) bool {
	if v.Kind() != resp3.Array {
		return false
	}
	e := v.Cursor()
	kind, ok := e.Next()
	if !ok {
		return false
	}
	switch string(kind.Bytes()) {
	case "message", "pmessage", "smessage", "subscribe", "psubscribe", "ssubscribe",
		"unsubscribe", "punsubscribe", "sunsubscribe":
		return true
	}
	return false
}

// waits reports whether OnPush waits for its consumer at this moment.
func (c *Conn) waits() bool { return c.held.Load()&1 == 1 }
