package pubsub

import (
	"errors"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/resp3"
)

const (
	batchNames = 1024     // names in one command
	batchBytes = 64 << 10 // their size
	healthy    = 10 * time.Second
)

// specs are the commands that subscribe to topics of a kind, and that
// unsubscribe.
var specs = [kinds][2]*command.Spec{
	Channel: {verb("SUBSCRIBE"), verb("UNSUBSCRIBE")},
	Pattern: {verb("PSUBSCRIBE"), verb("PUNSUBSCRIBE")},
	Shard:   {verb("SSUBSCRIBE"), verb("SUNSUBSCRIBE")},
}

func verb(name string) *command.Spec {
	spec, _ := command.Lookup(name)
	return spec
}

// keep is the keeper: it runs while anything is subscribed to, and makes the
// server know what is wanted.
func (f *feed) keep() {
	var l *link
	defer func() { f.drop(l) }()
	failures := 0
	for f.needed() {
		if l == nil {
			var err error
			if l, err = f.connect(); err != nil {
				f.offline(err)
				continue // the dialer makes the next try wait
			}
		}
		if f.tend(l) {
			continue
		}
		if time.Since(l.opened) > healthy {
			failures = 0
		}
		f.lost(l)
		l = nil
		failures++
		f.pause(f.hub.backoff(failures))
	}
}

// needed reports whether the keeper has anything to keep. If not, the next one
// who subscribes starts another.
func (f *feed) needed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members > 0 && f.ctx.Err() == nil {
		return true
	}
	f.keeping, f.link = false, nil
	for _, all := range f.entries { // what the connection takes with it
		for _, e := range all {
			e.state = off
			f.review(e)
		}
	}
	return false
}

// drop closes a connection that is of no use any more.
func (f *feed) drop(l *link) {
	if l != nil {
		f.hub.dialer.Drop(l.conn)
	}
}

// connect opens the feed's connection.
func (f *feed) connect() (*link, error) {
	l := &link{feed: f, dead: make(chan struct{}), opened: time.Now()}
	cfg := f.hub.cfg
	cfg.Role, cfg.Standing, cfg.Subscriber, cfg.PushWaits = "pubsub", true, true, f.block
	cfg.OnPush = l.push
	cfg.OnClose = func(err error) {
		l.err = err
		close(l.dead)
	}
	c, err := f.hub.dialer.Dial(f.ctx, cfg)
	if err != nil {
		return nil, err
	}
	l.conn = c
	f.mu.Lock()
	defer f.mu.Unlock()
	f.link = l
	return l, nil
}

// offline tells those who wait to join that there is no connection. Those who
// were subscribed wait on.
func (f *feed) offline(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastErr = err
	for s := range f.subs {
		for t, m := range s.topics {
			if m.state == joining {
				f.withdraw(m, f.failed([]Topic{t}, "dial", command.NotSent, err))
			}
		}
	}
}

// tend does what there is to do, or waits for it. It reports false when l is of
// no use any more.
func (f *feed) tend(l *link) bool {
	select {
	case <-l.dead:
		return false
	default:
	}
	f.mu.Lock()
	batch, r := f.next()
	f.mu.Unlock()
	if len(batch) == 0 {
		select {
		case <-f.work:
		case <-f.ctx.Done():
		case <-l.dead:
		}
		return true
	}
	err := l.conn.Subscribe(f.ctx, &r)
	var refused resp3.ServerError
	switch {
	case err == nil || f.ctx.Err() != nil:
		return true
	case !errors.As(err, &refused):
		return false
	}
	return f.refused(batch, refused, err)
}

// next takes entries that one command can change, and makes the command.
func (f *feed) next() ([]*entry, command.Request) {
	var batch []*entry
	var r command.Request
	size := 0
	for e := range f.todo {
		if len(batch) > 0 {
			if first := batch[0]; e.topic.Kind != first.topic.Kind || (e.state == off) != (first.state == subscribing) || e.alone {
				continue
			}
		} else {
			which := 0
			if e.state == on {
				which = 1
			}
			r = command.NewRequest(specs[e.topic.Kind][which])
		}
		if e.state == off {
			e.state = subscribing
		} else {
			e.state = unsubscribing
		}
		delete(f.todo, e)
		r.Add(command.Str(e.topic.Name))
		batch = append(batch, e)
		size += len(e.topic.Name)
		if e.alone || len(batch) == batchNames || size >= batchBytes {
			break
		}
	}
	return batch, r
}

// refused deals with the server's refusal of a command. Of several names the
// server does not say which it minds, so they are asked for one by one. It
// reports false when a later connection may have more luck.
func (f *feed) refused(batch []*entry, refusal resp3.ServerError, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	retry := false
	for _, e := range batch {
		switch {
		case e.state == unsubscribing:
			// The server goes on sending what nobody wants: it is thrown away.
			e.state = off
			f.review(e)
		case e.state != subscribing: // confirmed, though the rest was refused
		case len(batch) > 1:
			e.state, e.alone = off, true
			f.review(e)
		default:
			e.state = off
			retry = f.reject(e, passing[refusal.Code()], err)
			f.review(e)
		}
	}
	if retry {
		f.lastErr = err
	}
	return !retry
}

// passing are the codes of refusals that end by themselves.
var passing = map[string]bool{
	"LOADING": true, "BUSY": true, "MASTERDOWN": true, "CLUSTERDOWN": true, "TRYAGAIN": true,
}

// reject tells the members of e that the server refused it. Those who were
// subscribed before wait for a refusal that passes, else their subscriptions
// end. It reports whether anybody waits.
func (f *feed) reject(e *entry, passes bool, err error) (waits bool) {
	for i := len(e.members) - 1; i >= 0; i-- {
		m := e.members[i]
		switch {
		case m.state == joining:
			f.withdraw(m, err)
		case passes:
			waits = true
		default:
			m.sub.end(err)
			f.forget(m.sub)
			i = min(i, len(e.members)) // the subscription was a member once
		}
	}
	return waits
}

// lost takes a dead connection out: everything on it has to be subscribed to
// again.
func (f *feed) lost(l *link) {
	f.drop(l) // returns when what it had received is handed on
	f.mu.Lock()
	defer f.mu.Unlock()
	f.link = nil
	if l.err != nil && !errors.Is(l.err, session.ErrClosed) {
		f.lastErr = l.err
	}
	since := l.conn.Heard()
	for _, all := range f.entries {
		for _, e := range all {
			e.state = off
			for _, m := range e.members {
				m.lose(since)
			}
			f.review(e)
		}
	}
}

// pause waits, but not for nothing.
func (f *feed) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-f.ctx.Done():
			return
		case <-f.work:
			f.mu.Lock()
			idle := f.members == 0
			f.mu.Unlock()
			if idle {
				return
			}
		}
	}
}
