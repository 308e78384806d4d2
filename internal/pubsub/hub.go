package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
)

// Dialer opens and drops connections; a *pool.Node is one.
type Dialer interface {
	Dial(ctx context.Context, cfg session.Config) (*session.Conn, error)
	Drop(c *session.Conn)
}

const (
	maxTopics = 1 << 20 // on one connection
	maxOwn    = 256     // connections of subscriptions that block
)

var (
	errClient    = fmt.Errorf("redisx: %w", pool.ErrClosed)
	errNoTopic   = errors.New("redisx: a subscription needs a channel, a pattern or a shard channel")
	errTopics    = fmt.Errorf("redisx: more than %d topics subscribed to", maxTopics)
	errTooMany   = fmt.Errorf("redisx: more than %d subscriptions with a connection of their own", maxOwn)
	errUnplanned = errors.New("the server ended the subscription")
)

// Hub is all the subscriptions of one client.
type Hub struct {
	dialer  Dialer
	cfg     session.Config
	timeout time.Duration                    // of a subscription whose context has no deadline
	backoff func(failures int) time.Duration // before another connection

	wg sync.WaitGroup // keepers

	shared *feed
	mu     sync.Mutex // after feed.mu
	own    map[*feed]struct{}
	closed bool
}

// New returns a hub that connects on first use, with cfg as far as a connection
// of this kind leaves the choice.
func New(d Dialer, cfg session.Config) *Hub {
	h := &Hub{dialer: d, cfg: cfg, timeout: cfg.Timeout, backoff: pool.Backoff, own: map[*feed]struct{}{}}
	if h.timeout <= 0 {
		h.timeout = 5 * time.Second
	}
	h.shared = newFeed(h, false)
	return h
}

// Subscribe returns a subscription that the server has confirmed: what is
// published from now on is in it, or in one of its gaps.
func (h *Hub) Subscribe(ctx context.Context, topics []Topic, o Options) (*Subscription, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(topics) == 0 {
		return nil, errNoTopic
	}
	f := h.shared
	if o.Overflow == BlockOnOverflow {
		f = newFeed(h, true)
		if err := h.adopt(f); err != nil {
			return nil, err
		}
	}
	s := newSubscription(f, o)
	if err := f.add(ctx, s, topics); err != nil {
		s.end(err)
		f.detach(s)
		return nil, err
	}
	return s, nil
}

// adopt notes a feed with one subscription.
func (h *Hub) adopt(f *feed) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return errClient
	case len(h.own) >= maxOwn:
		return errTooMany
	}
	h.own[f] = struct{}{}
	return nil
}

func (h *Hub) disown(f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.own, f)
}

// Close ends all subscriptions and their connections, and waits for the
// keepers. The Dialer must live until it has returned.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	feeds := []*feed{h.shared}
	for f := range h.own {
		feeds = append(feeds, f)
	}
	h.mu.Unlock()
	for _, f := range feeds {
		f.close()
	}
	h.wg.Wait()
	return nil
}
