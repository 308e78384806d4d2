package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

// noteTTL is how long a server's note of itself outlives the last client that
// asked: a month without any strict grant costs one TTL.
const noteTTL = 30 * 24 * time.Hour

// maxServers bounds how many servers a client remembers.
const maxServers = 64

// ErrUnsettled: the server has not been the one that grants for long enough. The
// error is an *UnsettledError.
var ErrUnsettled = errors.New("lease: the server has changed")

// Strict holds grants back for one TTL after the server has changed: after a
// failover, and after a restart. A holder whom the new server does not know has
// stopped by then, for want of a renewal. Everybody who uses the lease should
// ask for it, and for the same TTL.
//
// Acquire waits for it; what does not wait returns an *UnsettledError. A server
// counts as changed when its run_id is not the one that it has noted; the note
// is made when a strict grant is first asked for, so the very first ones on a
// server wait, too. Its clock counts, and no grant comes before it has passed
// the greatest token that this client has seen.
//
// It is no substitute for Replicas where the old primary goes on beside the new
// one: there two servers grant, and each is settled. It does not notice FLUSHALL.
// A strict grant takes a second round trip, which asks which server has it.
func Strict() Option { return func(o *options) { o.strict = true } }

// UnsettledError reports a server that has become the one that grants less than
// a TTL ago.
type UnsettledError struct {
	Name   string        // of the lease
	Server string        // the run_id of the server
	Left   time.Duration // until it may grant
	// Err is why waiting ended, the cause of the context; nil where nobody
	// waited.
	Err error
}

// Error names the lease and the time that is left.
func (e *UnsettledError) Error() string {
	s := fmt.Sprintf("lease: %s: no strict grants for another %v: the server has changed", e.Name, e.Left.Round(time.Millisecond))
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns ErrUnsettled and why waiting ended.
func (e *UnsettledError) Unwrap() []error { return sentinel(ErrUnsettled, e.Err) }

// Explain says what happened and what to do.
func (e *UnsettledError) Explain() string {
	return fmt.Sprintf("The server with run_id %s was promoted, restarted, or is new, and may not know who holds %q. Whoever does, stops within one TTL. "+
		"Acquire waits for that: here another %v.", e.Server, e.Name, e.Left.Round(time.Millisecond))
}

// servers is what a client knows of who grants. A client keeps it.
type servers struct {
	mu      sync.Mutex
	since   map[string]time.Time // by run_id: when it was settled, on our clock
	highest int64                // the greatest token seen
}

// errNoServer: a server that hides INFO cannot be told from another.
var errNoServer = errors.New("the server does not tell its run_id: Strict needs INFO")

// strictAttachment is where a client keeps its servers.
type strictAttachment struct{}

func newServers() io.Closer { return &servers{since: map[string]time.Time{}} }

// Close does nothing: the servers end with their client's memory.
func (*servers) Close() error { return nil }

// settle gives a grant back that a server has made too soon. It returns how long
// to wait, 0 when the grant may stay.
func (a *attempt) settle(ctx context.Context) (time.Duration, error) {
	g, err := a.granter(ctx)
	if err != nil {
		return 0, err
	}
	left := a.o.ttl // where another server answers than the one that granted
	if g.why == "" {
		if left, err = a.unsettled(ctx, g.server); left <= 0 || err != nil {
			return 0, err
		}
	}
	if _, err := leave(ctx, a.d, a.names, a.id, a.token); err != nil {
		return 0, err
	}
	a.granted = false
	a.quiet = &UnsettledError{Name: a.name, Server: g.server, Left: left}
	if !a.waits {
		return 0, a.quiet
	}
	return left, nil
}

// granter is which server has a grant, or why it has not.
type granter struct {
	server string
	why    hold.Reason
}

// granter renews the grant, for what a renewal tells.
func (a *attempt) granter(ctx context.Context) (granter, error) {
	row := (&Lease{names: a.names, id: a.id, token: a.token, ttl: a.o.ttl, share: a.o.shared}).row()
	parts, args := row.Append(nil, nil)
	return command.RunScript(ctx, a.d, row.Script(), func(v resp3.View) (g granter, err error) {
		f := script.Read(v)
		g.server = f.Text()
		if answer := f.Next(); f.Err() == nil {
			g.why, err = hold.AsReason(answer)
		}
		if g.server == "" && f.Err() == nil {
			err = errNoServer
		}
		return g, errors.Join(f.Err(), err)
	}, parts, args...)
}

// unsettled returns for how long the server must not grant yet.
func (a *attempt) unsettled(ctx context.Context, server string) (time.Duration, error) {
	known := &servers{since: map[string]time.Time{}} // of a client that keeps nothing
	if c, ok := a.d.(command.Attacher); ok {
		kept, err := c.Attach(strictAttachment{}, newServers)
		if err != nil {
			return 0, err
		}
		known = kept.(*servers)
	}
	since, ok := known.of(server, a.token)
	if !ok {
		note, err := command.RunScript(ctx, a.d, lua.strict, asNote, []string{keys.Prefix(a.o.namespace, "lease", "") + "server"}, command.Int(noteTTL.Milliseconds()))
		if err != nil {
			return 0, err
		}
		if note.server != server {
			return a.o.ttl, nil // it changes right now
		}
		known.note(note)
		since, _ = known.of(server, a.token)
	}
	return a.o.ttl - time.Since(since), nil
}

// of returns since when a server is the one that grants, if that is known. Then
// it notes a token that the server has granted.
func (s *servers) of(server string, token int64) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, ok := s.since[server]
	if ok {
		s.highest = max(s.highest, token)
	}
	return since, ok
}

// note keeps what a server has noted.
func (s *servers) note(n note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.since) >= maxServers {
		clear(s.since)
	}
	// Behind the clock of the one before, its tokens could come twice.
	behind := max(0, time.Duration(s.highest-n.now)*time.Microsecond)
	s.since[n.server] = time.Now().Add(behind - n.ago)
}

// note is what strict.lua returns.
type note struct {
	server string
	ago    time.Duration
	now    int64 // the server's clock, in µs
}

func asNote(v resp3.View) (note, error) {
	f := script.Read(v)
	n := note{server: f.Text(), ago: time.Duration(f.Int()) * time.Microsecond, now: f.Int()}
	return n, f.Err()
}
