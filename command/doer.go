package command

import (
	"context"
	"io"

	"github.com/redisx/redisx/resp3"
)

// Doer runs commands. A client, a session, a wrapper and a fake all are one;
// the distributed primitives need nothing more.
//
// Do sends one request and returns the server's reply. A reply that is an
// error comes back as err, a *Error that wraps a resp3.ServerError. The caller
// calls Release on the reply when it has read it.
type Doer interface {
	Do(ctx context.Context, r Request) (Reply, error)
}

// Batcher is a Doer that can send several requests in one go, on one
// connection, in order.
//
// DoBatch calls got once for each request, in order, on the caller's goroutine,
// with the reply in place or with the error of that request; replies must not
// be kept. It returns the first of those errors that is not a server's reply.
type Batcher interface {
	DoBatch(ctx context.Context, rs []Request, got func(i int, v resp3.View, err error)) error
}

// Watcher is a Doer that can be told of changes by push.
//
// Watch returns once the server has noted the interest. From then on any
// change of the key that may have happened (also: a lost connection) closes
// Changed. So the order watch, then read, then wait on Changed loses nothing.
// One Watch tells of one change; Stop ends it early and is always called.
type Watcher interface {
	Watch(ctx context.Context, key string) (Watch, error)
}

// Tracker is a Watcher that reads on the connection on which it is told of
// changes, so that one read is the look at a key and the interest in its next
// change, in one step of the server.
//
// Track runs r, a read with one key. Any change of the key that may have
// happened since the server ran r closes Changed. The Watch is there, and must
// be stopped, whenever the server has answered, be it with an error.
type Tracker interface {
	Track(ctx context.Context, r Request) (Reply, Watch, error)
}

// EventWatcher is a Doer that can be told of changes by the server's keyspace
// events. It is the rung below Watcher.
//
// WatchEvents is Watch for changes of the given classes, in the letters of the
// setting notify-keyspace-events without K and E: "g$e". It fails where the
// server does not publish all of them, where nobody may ask or subscribe, and
// where Watch serves or is expected to serve again; it changes no setting. What
// no event tells of, such as FLUSHALL and a life that has ended but was not
// noticed, the caller has to look for.
//
// The subscription to a key lasts as long as any watch of it is not stopped: who
// goes on watching takes the next watch before it stops the last one.
type EventWatcher interface {
	WatchEvents(ctx context.Context, key, classes string) (Watch, error)
}

// Watch is one interest in one key.
type Watch interface {
	// Changed is closed when the key may have changed since Watch returned.
	Changed() <-chan struct{}
	// Stop forgets the interest. It may be called more than once.
	Stop()
}

// Attacher is a Doer that owns what primitives share: a renewer of leases, a
// hub of waiters. Attach returns the thing stored under key, making it on
// first use; the client's Close closes it and waits for that.
type Attacher interface {
	Attach(key any, make func() io.Closer) (io.Closer, error)
}

// Reply is one reply, owned by its receiver until Release.
type Reply struct {
	view  *resp3.View // a pointer, so that a Reply travels in registers
	owner Releaser
}

// Releaser takes back the memory of a reply.
type Releaser interface{ Release() }

// NewReply returns a reply over v, which must not change before owner releases
// it. owner may be nil.
func NewReply(v *resp3.View, owner Releaser) Reply { return Reply{view: v, owner: owner} }

// View returns the frame. It must not be used after Release, nor anything
// that aliases it.
func (r Reply) View() resp3.View {
	if r.view == nil {
		return resp3.View{}
	}
	return *r.view
}

// Release gives the reply's memory back.
func (r Reply) Release() {
	if r.owner != nil {
		r.owner.Release()
	}
}
