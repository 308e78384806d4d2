package coord

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/explain"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/resp3"
)

// maxShards bounds the leases and goroutines of one member.
const maxShards = 1024

// reasonMoved is why a shard's context ends when another member is to have it.
const reasonMoved = "moved"

// Shard is one shard in our hands. Its methods may be called by many goroutines.
type Shard struct {
	index int
	lease *lease.Lease
}

// Index returns which one it is, from 0.
func (s *Shard) Index() int { return s.index }

// Token returns the fencing token: greater than that of everybody who has had
// this shard before. Whatever the shard writes to outside of this server must
// refuse smaller tokens than it has seen.
func (s *Shard) Token() int64 { return s.lease.Token() }

// Do is the fenced write: the server runs all commands if the shard is still
// ours with this token, or none. See lease.Lease.Do.
func (s *Shard) Do(ctx context.Context, commands ...command.Sendable) ([]resp3.Value, error) {
	return s.lease.Do(ctx, commands...)
}

// RunShards shares n shards, 1 to 1024, among all that run it under that name,
// and calls fn for each shard that is ours, on a goroutine of its own. Each
// shard is with one member at a time: a lease with a fencing token says so,
// while the members only say who asks for it.
//
// fn works until its context ends, and then returns soon. The context ends, with
// a cause, when another member is to have the shard or the membership is lost
// (a *LostError), when the shard's lease is lost (a *lease.LostError), and when
// ctx ends. What fn returns after that does not count. Except in the case of a
// lost lease, nobody else gets the shard before fn has returned; where it matters
// even then, fence. An fn that returns nil while the shard is ours is not called
// again until the shard has been away; an error ends RunShards, which returns it.
//
// RunShards goes on over losses, and over a server that is away, until ctx ends.
// It returns the cause of ctx, the error of fn, or an error that asking again
// does not mend, such as NOPERM, a *MismatchError or an *UnsafeServerError; always
// only after every fn has returned and the others have been told, for which it
// takes up to 4 s where the server does not answer.
//
// A shard goes to a member that comes, and from one that leaves, as soon as fn
// has returned there; from one that has died, after the TTL. Name, Meta, Weight,
// TTL, Namespace and AllowEviction count, as with Join.
func RunShards(ctx context.Context, d command.Doer, name string, n int, fn func(ctx context.Context, s *Shard) error, opts ...Option) error {
	o, err := build("shards", name, opts)
	if err != nil {
		return err
	}
	if n < 1 || n > maxShards {
		return fmt.Errorf("coord: shards %s: %d shards are not within 1 and %d", name, n, maxShards)
	}
	own, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &shardRunner{d: d, name: name, n: n, o: o, fn: fn, fail: cancel, mine: map[int]context.CancelCauseFunc{}}
	for own.Err() == nil {
		err := r.term(own)
		var other *MismatchError
		switch {
		case own.Err() != nil: // the loop looks at it
		case !passes(err) || errors.As(err, &other):
			return err
		case isClosed(d):
			return wrap("shards", name, owned.ErrClosed)
		default:
			sleep(own, rand.N(2*askAgain))
		}
	}
	return wrap("shards", name, wait.Because(ctx, context.Cause(own)))
}

// shardRunner is one RunShards.
type shardRunner struct {
	d    command.Doer
	name string
	n    int
	o    options
	fn   func(ctx context.Context, s *Shard) error
	fail context.CancelCauseFunc // ends it with an error

	wg   sync.WaitGroup                  // a goroutine for each shard that is or was ours
	mine map[int]context.CancelCauseFunc // the shards that are to be ours
}

// term is one membership: it runs what is ours until the membership is lost.
func (r *shardRunner) term(ctx context.Context) (err error) {
	m, err := join(ctx, r.d, groupOf("shards", r.o.namespace, r.name, r.n), r.o)
	if err != nil {
		return err
	}
	defer func() {
		// The end of the membership is on its way to the shards, and slower than
		// this may be.
		why := err
		if cause := context.Cause(m.Context()); cause != nil {
			why = cause
		}
		for index := range r.mine {
			r.end(index, why)
		}
		// First, so that the others wait for our leases while fn comes to its
		// end. Without an answer we lapse.
		goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), owned.AfterTimeout)
		defer cancel()
		_ = m.Leave(goodbye)
		r.wg.Wait()
	}()
	for i, err := range m.g.watch(m.Context(), r.d) {
		if err != nil {
			return err
		}
		r.follow(m.Context(), assign(r.n, i.Members))
	}
	return nil
}

// follow starts and ends what an assignment says.
func (r *shardRunner) follow(ctx context.Context, owners []string) {
	for index, owner := range owners {
		_, running := r.mine[index]
		switch {
		case owner == r.o.name && !running:
			own, cancel := context.WithCancelCause(ctx)
			r.mine[index] = cancel
			r.wg.Go(func() { r.keep(own, index) })
		case owner != r.o.name && running:
			r.end(index, &LostError{Kind: "shard", Name: shardName(r.name, index), Reason: reasonMoved})
		}
	}
}

// end ends what runs of a shard of ours.
func (r *shardRunner) end(index int, why error) {
	r.mine[index](why)
	delete(r.mine, index)
}

func shardName(name string, index int) string { return name + "/" + strconv.Itoa(index) }

// keep has a shard until ctx ends, or fn is done with it.
func (r *shardRunner) keep(ctx context.Context, index int) {
	for {
		l, err := r.acquire(ctx, index)
		var again bool
		if err == nil {
			again, err = r.run(ctx, l, index)
		} else {
			again = passes(err)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !again:
			r.fail(err)
			return
		case !again:
			return
		}
		if !sleep(ctx, rand.N(askAgain)) {
			return
		}
	}
}

// acquire waits for the shard's lease. ctx bounds the wait, but not the lease:
// it must last until fn has returned, which may be after ctx has ended.
func (r *shardRunner) acquire(ctx context.Context, index int) (*lease.Lease, error) {
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	opts := []lease.Option{lease.TTL(r.o.ttl), lease.Owner(r.o.name), lease.Namespace(r.o.namespace)}
	if r.o.allowEviction {
		opts = append(opts, lease.AllowEviction())
	}
	l, err := lease.Acquire(own, r.d, "shard:"+shardName(r.name, index), opts...)
	if !stop() && err == nil {
		// ctx ended after the grant, and its end has stopped the renewals.
		r.release(ctx, l)
		return nil, context.Cause(ctx)
	}
	return l, err
}

// release gives a lease back. Without an answer it lapses.
func (r *shardRunner) release(ctx context.Context, l *lease.Lease) {
	goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), owned.AfterTimeout)
	defer cancel()
	_ = l.Release(goodbye)
}

// run calls fn for a shard, and releases it. It reports whether to have the
// shard again.
func (r *shardRunner) run(ctx context.Context, l *lease.Lease, index int) (again bool, err error) {
	defer r.release(ctx, l)
	own, cancel := context.WithCancelCause(l.Context())
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()

	err = r.fn(shardContext{own, l}, &Shard{index: index, lease: l})
	switch {
	case own.Err() != nil:
		return true, nil
	case err != nil:
		return false, fmt.Errorf("shard %d: %w", index, err)
	}
	return false, nil
}

// shardContext is the context of fn. It looks at the lease on every use, as the
// lease's own context does: what is derived from that one alone would end only
// when the runtime gets to it after a pause of the process.
type shardContext struct {
	context.Context
	l *lease.Lease
}

// Done returns the channel that is closed at the end.
func (c shardContext) Done() <-chan struct{} {
	c.l.Remaining()
	return c.Context.Done()
}

// Err returns nil until the end.
func (c shardContext) Err() error {
	c.l.Remaining()
	return c.Context.Err()
}

// Value returns the parent's value. context.Cause asks for one, too.
func (c shardContext) Value(key any) any {
	c.l.Remaining()
	return c.Context.Value(key)
}

// ShardsInfo is who has which shard, at about one moment.
type ShardsInfo struct {
	Name    string      `json:"name"`
	Members []Member    `json:"members"` // sorted by name
	Shards  []ShardInfo `json:"shards"`  // one for each, by index
}

// ShardInfo is one shard.
type ShardInfo struct {
	Index  int    `json:"index"`
	Member string `json:"member"` // who is to have it
	// Owner is who has it, "" when nobody does. While a shard moves it is not
	// Member.
	Owner string    `json:"owner"`
	Token int64     `json:"token"`          // the owner's, or the last
	Since time.Time `json:"since,omitzero"` // when Owner got it, by the server's clock
}

// InspectShards returns who has which shard of that name. It asks once for the
// members and once for each shard. Of the options only Namespace counts. Where
// nobody runs them there are none.
func InspectShards(ctx context.Context, d command.Doer, name string, opts ...Option) (ShardsInfo, error) {
	o, err := build("shards", name, opts)
	if err != nil {
		return ShardsInfo{}, err
	}
	m, err := groupOf("shards", o.namespace, name, 0).list(ctx, d)
	if err != nil {
		return ShardsInfo{}, wrap("shards", name, wait.Because(ctx, err))
	}
	i := ShardsInfo{Name: name, Members: m.Members, Shards: make([]ShardInfo, 0, m.shards)}
	for index, member := range assign(m.shards, m.Members) {
		held, err := lease.Inspect(ctx, d, "shard:"+shardName(name, index), lease.Namespace(o.namespace))
		if err != nil {
			return ShardsInfo{}, wrap("shards", name, wait.Because(ctx, err))
		}
		i.Shards = append(i.Shards, ShardInfo{Index: index, Member: member, Owner: held.Owner, Token: held.Token, Since: held.Since})
	}
	return i, nil
}

// Explain says how the shards are spread, and which are on their way, in one
// line; of many members the first ten.
func (i ShardsInfo) Explain() string {
	if len(i.Members) == 0 {
		return "nobody runs them"
	}
	had := map[string]int{}
	moving := 0
	for _, s := range i.Shards {
		had[s.Owner]++
		if s.Owner != s.Member {
			moving++
		}
	}
	text := fmt.Sprintf("%d shards: ", len(i.Shards)) + explain.List(len(i.Members), func(n int) string {
		return fmt.Sprintf("%s has %d", i.Members[n].Name, had[i.Members[n].Name])
	})
	if moving > 0 {
		text += fmt.Sprintf(", %d on their way", moving)
	}
	return text
}
