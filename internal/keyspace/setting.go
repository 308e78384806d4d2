package keyspace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

const (
	// fresh is for how long the server is believed to publish what it did.
	fresh = 5 * time.Second
	// patience is how long a server may take to answer before nobody waits for
	// it, and how long it is left alone after that.
	patience = time.Second
	// afterRefusal is when a server that refused is asked again: a setting of
	// users or servers rarely changes, and refusals are logged (ACL LOG).
	afterRefusal = time.Minute
)

const name = "notify-keyspace-events"

var (
	// ErrNotPublished is returned for classes of events that the server does not
	// publish.
	ErrNotPublished = errors.New("keyspace: the server does not publish events of all the classes")
	errDown         = errors.New("keyspace: not subscribed just now")
)

// allClasses is what the letter A stands for.
const allClasses = "g$lshzxetd"

// setting is what the server publishes.
type setting struct {
	letters string // A written out
	asked   time.Time
}

// covers reports whether all classes are published on the keys' channels.
func (s *setting) covers(classes string) bool {
	for _, c := range classes {
		if !strings.ContainsRune(s.letters, c) {
			return false
		}
	}
	return strings.Contains(s.letters, "K")
}

// published asks, if need be, whether the server publishes the classes.
func (h *Hub) published(ctx context.Context, classes string) error {
	if known, err := h.known(classes); known {
		return err
	}
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if known, err := h.known(classes); known { // by another who asked meanwhile
		return err
	}
	asked := time.Now()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	values, err := command.Do(limited, h.doer, command.ConfigGet(name))
	if err != nil {
		return h.failed(ctx, err)
	}
	h.mu.Lock()
	h.setting = setting{letters: strings.ReplaceAll(values[name], "A", allClasses), asked: asked}
	h.mu.Unlock()
	_, err = h.known(classes)
	return err
}

// known reports whether the classes can be judged without asking, and how.
func (h *Hub) known(classes string) (known bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch now := time.Now(); {
	case h.closed:
		return true, errClosed
	case now.Before(h.until):
		return true, h.err
	case h.setting.asked.IsZero() || now.Sub(h.setting.asked) > fresh:
		return false, nil
	case !h.setting.covers(classes):
		return true, ErrNotPublished
	}
	return true, nil
}

// failed notes why the hub cannot serve for a while, unless only the caller
// has left.
func (h *Hub) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	pause := patience
	var said resp3.ServerError
	if errors.As(err, &said) && (said.Code() == "ERR" || said.Code() == "NOPERM") {
		pause = afterRefusal
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.until = fmt.Errorf("keyspace: %w", err), time.Now().Add(pause)
	return h.err
}
