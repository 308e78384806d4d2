package keyspace

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pubsub"
)

const (
	maxWatches = 100_000
	maxBytes   = 64 << 20 // of keys
	// linger is how long the last channel of all stays subscribed to, so that
	// waits that follow each other need not dial.
	linger = 10 * time.Second
)

// buffer is what has arrived and was not looked at. What is beyond becomes a
// gap, which costs one more read of all keys.
var buffer = pubsub.Options{Messages: 16 << 10, Bytes: 2 << 20}

// ErrOverloaded is returned beyond the bounds of a hub.
var ErrOverloaded = errors.New("keyspace: too many watches")

var errClosed = errors.New("keyspace: the client is closed")

// Hub is the keyspace events of one server and database, and those who wait for
// them. It may be used by many goroutines at once.
type Hub struct {
	doer   command.Doer // answers CONFIG GET
	pubsub *pubsub.Hub
	prefix string // of the channels

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the listener

	asking  chan struct{} // has room for one: CONFIG GET is under way
	opening chan struct{} // has room for one: the subscription is being made

	mu      sync.Mutex
	closed  bool
	setting setting
	err     error // why nobody is served before until
	until   time.Time
	sub     *pubsub.Subscription // nil before the first watch, and after it has ended
	keys    map[string]*watched
	n       int // watches
	bytes   int // of keys
	last    string
	staying *time.Timer // until the channel of last is given up; nil: there is none
}

// watched is one key and its watches.
type watched struct {
	n     int                 // not stopped
	quiet map[*watch]struct{} // not told
}

// New returns a hub that asks d for the server's setting, and subscribes on the
// connection of ps. It does neither before it is used.
func New(d command.Doer, ps *pubsub.Hub, db int) *Hub {
	h := &Hub{
		doer: d, pubsub: ps, prefix: "__keyspace@" + strconv.Itoa(db) + "__:", keys: map[string]*watched{},
		asking: make(chan struct{}, 1), opening: make(chan struct{}, 1),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Close tells every watch, and waits for what runs. It may be called more than
// once.
func (h *Hub) Close() error {
	h.cancel()
	h.mu.Lock()
	h.closed = true
	if h.staying != nil {
		h.staying.Stop()
	}
	sub := h.sub
	h.tellAll()
	h.mu.Unlock()
	if sub != nil {
		sub.Close()
	}
	h.wg.Wait()
	return nil
}

// subscribe returns when the server publishes to us what happens to key. The
// key has a watch already, or another could give its channel up meanwhile.
func (h *Hub) subscribe(ctx context.Context, key string) error {
	topics := []pubsub.Topic{{Kind: pubsub.Channel, Name: h.prefix + key}}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sub, err := h.open(limited, topics)
	if err == nil {
		err = sub.Add(limited, topics)
	}
	if err != nil {
		return h.failed(ctx, err)
	}
	if !sub.Stats().Connected {
		return errDown // its topics come back together; then a gap is told
	}
	return nil
}

// open returns the subscription, made with the topics if there is none.
func (h *Hub) open(ctx context.Context, topics []pubsub.Topic) (*pubsub.Subscription, error) {
	h.mu.Lock()
	sub := h.sub
	h.mu.Unlock()
	if sub != nil {
		return sub, nil
	}
	select {
	case h.opening <- struct{}{}:
		defer func() { <-h.opening }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	h.mu.Lock()
	sub = h.sub
	h.mu.Unlock()
	if sub != nil {
		return sub, nil
	}
	sub, err := h.pubsub.Subscribe(ctx, topics, buffer)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		sub.Close()
		return nil, errClosed
	}
	h.sub = sub
	h.wg.Go(func() { h.listen(sub) })
	return sub, nil
}

// listen tells the watches what the subscription tells it.
func (h *Hub) listen(sub *pubsub.Subscription) {
	defer sub.Close()
	for {
		m, err := sub.Next(h.ctx)
		h.mu.Lock()
		switch {
		case err != nil:
			h.sub = nil
			h.tellAll()
		case m.Gap != nil:
			h.tellAll()
		default:
			h.tell(h.keys[m.Channel[len(h.prefix):]])
		}
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// tellAll tells every watch. What the server publishes has to be asked again:
// it may be another one. It is called with mu held, as all below.
func (h *Hub) tellAll() {
	h.setting = setting{}
	for _, k := range h.keys {
		h.tell(k)
	}
}

func (h *Hub) tell(k *watched) {
	if k == nil {
		return
	}
	for w := range k.quiet {
		close(w.changed)
	}
	clear(k.quiet)
}

// stay keeps the channel of the last key of all for a while.
func (h *Hub) stay(key string) {
	h.last = key
	h.staying = time.AfterFunc(linger, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.unstay()
	})
}

// unstay gives that channel up, unless the key is watched again.
func (h *Hub) unstay() {
	if h.staying == nil {
		return
	}
	h.staying.Stop()
	h.staying = nil
	if h.keys[h.last] == nil {
		h.leave(h.last)
	}
	h.last = ""
}

// leave unsubscribes from the channel of a key.
func (h *Hub) leave(key string) {
	if h.sub != nil {
		h.sub.Remove([]pubsub.Topic{{Kind: pubsub.Channel, Name: h.prefix + key}})
	}
}
