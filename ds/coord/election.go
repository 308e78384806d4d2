package coord

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/ds/lease"
)

// maxWhy bounds the reason given to StepDown, in bytes.
const maxWhy = 256

// Healthy sets what decides whether this process is fit to lead. A candidate
// for which it returns an error does not stand; a leader's term ends, with
// reason unhealthy. It is asked before each attempt to lead, so whenever the
// leadership may have changed, and every third of the TTL while leading, with a
// context that ends after a third of the TTL; one that has not answered then
// counts as unhealthy, and so does a panic. It must return when its context
// ends: the client's Close waits for it.
func Healthy(check func(ctx context.Context) error) Option {
	return func(o *options) { o.healthy = check }
}

// Again makes Lead campaign anew after a term was lost, and after an error that
// may pass, for as long as its context lasts. It counts in elections only.
func Again() Option { return func(o *options) { o.again = true } }

// Replicas makes an election, and each renewal of a term, count only when n
// replicas have confirmed it within that time, at most a quarter of the TTL: see
// Replicas of package lease. It counts in elections only.
func Replicas(n int, within time.Duration) Option {
	return func(o *options) { o.replicated, o.replicas, o.within = true, n, within }
}

// Election is one candidate's view of the election of a leader. Its methods may
// be called by many goroutines.
//
// An election is the lease "leader:NAME" of package lease: a term is a grant of
// it, and its number the fencing token. So what works on leases works on it,
// such as lease.Inspect and a forced take-over.
type Election struct {
	d    command.Doer
	name string
	o    options
	err  error // of the options
	keys electionKeys
}

type electionKeys struct{ lease, candidates, stepdown string }

// NewElection returns the election of that name. It asks the server nothing;
// wrong options are the error of the first call.
//
// The options that count are TTL, Name, Meta, Weight, Healthy, Again, Replicas,
// Namespace and AllowEviction.
func NewElection(d command.Doer, name string, opts ...Option) *Election {
	o, err := build("election", name, opts)
	p := keys.Prefix(o.namespace, "lease", leaseName(name))
	return &Election{
		d: d, name: name, o: o, err: err,
		keys: electionKeys{lease: p + "lease", candidates: p + "candidates", stepdown: p + "stepdown"},
	}
}

// leaseName names the lease below an election.
func leaseName(name string) string { return "leader:" + name }

func (e *Election) leaseOptions() []lease.Option {
	opts := []lease.Option{lease.TTL(e.o.ttl), lease.Owner(e.o.name), lease.Namespace(e.o.namespace)}
	if e.o.meta != "" {
		opts = append(opts, lease.Meta(e.o.meta))
	}
	if e.o.replicated {
		opts = append(opts, lease.Replicas(e.o.replicas, e.o.within))
	}
	if e.o.allowEviction {
		opts = append(opts, lease.AllowEviction())
	}
	return opts
}

// Campaign waits until this candidate leads. The term is kept until Resign or
// its loss, or until ctx ends: ctx bounds the wait and is the parent of the
// term's context.
//
// When ctx ends first, the error is a *NotLeaderError with the cause of ctx in
// it if somebody else was seen to lead, wraps ErrUnhealthy if this process was
// not fit to, and wraps the cause in any case. It is an *UnsafeServerError where
// the server may evict keys, lease.ErrReentrant where ctx belongs to a term of
// this very election, a *lease.NotReplicatedError where too few replicas
// confirmed, and otherwise what the server or the connection said.
// Whatever the error, this candidate does not lead and stands no more.
func (e *Election) Campaign(ctx context.Context) (*Term, error) { return e.campaign(ctx, e.o.weight) }

// Lead waits until this candidate leads, runs fn, and resigns, also when fn
// panics. The context of fn ends before anybody else can lead, with a
// *LostError as context.Cause; fn should return then, as the term ends on the
// server only when fn has returned, or after the TTL. ctx bounds the wait, too.
//
// It returns what fn returned. If the term was lost before it was resigned, the
// *LostError is joined to it, even when fn returned nil: fn may have run beside
// another leader. With Again it campaigns anew instead, and returns only when fn
// has returned without a loss, when ctx has ended, when the client is closed, or
// for an error that asking again does not mend, such as NOPERM. If ctx ends
// while others lead, the error is that of Campaign. A resignation without an
// answer is no error: others lead after the TTL.
func (e *Election) Lead(ctx context.Context, fn func(ctx context.Context, t *Term) error) error {
	if e.err != nil {
		return e.err
	}
	weight := e.o.weight
	for {
		t, err := e.campaign(ctx, weight)
		var lost *LostError
		if err == nil {
			lost, err = serve(ctx, t, fn)
			if lost == nil {
				return err
			}
		}
		switch {
		case !e.o.again || ctx.Err() != nil:
			return err
		case lost == nil && !passes(err), lost != nil && lost.Reason == reasonClosed:
			return err
		case lost == nil && !sleep(ctx, e.pause()):
			return err
		}
		weight = e.o.weight
		if lost != nil && lost.Reason == reasonAsked {
			weight = 0 // somebody wants another leader, if there is one
		}
	}
}

// serve runs fn for a term and resigns. It returns the loss of the term, if it
// was lost, and what fn returned with the loss joined to it.
func serve(ctx context.Context, t *Term, fn func(ctx context.Context, t *Term) error) (lost *LostError, err error) {
	defer func() {
		// Asked before Resign: that one may get no answer, and then says
		// nothing of a loss. fn may have resigned itself.
		cause := context.Cause(t.Context())
		resigned := t.Resign(ctx)
		for _, end := range []error{cause, resigned} {
			var e *LostError
			if lost == nil && errors.As(end, &e) && e.Token == t.Token() && e.Reason != reasonResigned {
				lost = e
			}
		}
		if lost != nil && !errors.Is(err, ErrLost) {
			err = errors.Join(err, lost)
		}
	}()
	return nil, fn(t.Context(), t)
}

// pause returns how long to wait before the next campaign after one that failed.
func (e *Election) pause() time.Duration {
	d := min(max(e.o.ttl/10, 50*time.Millisecond), time.Second)
	return d/2 + rand.N(d)
}

// StepDown asks whoever leads to resign, and returns when that term has ended:
// at once if nobody leads. The leader's context ends with reason asked, and why
// is told to it, at most 256 bytes; its function should return then. A leader
// that goes on regardless is not renewed, so its term ends after its TTL at the
// latest. If it campaigns again by itself, it lets all others go first.
//
// The request is for the term that runs: a later one is not asked. If ctx ends
// first, the request stands and the error wraps the cause of ctx. Any process
// may ask, candidate or not.
func (e *Election) StepDown(ctx context.Context, why string) error {
	switch {
	case e.err != nil:
		return e.err
	case len(why) > maxWhy:
		return wrap("election", e.name, fmt.Errorf("a reason of %d bytes is longer than %d", len(why), maxWhy))
	}
	term, err := command.RunScript(ctx, e.d, stepdownScript, command.AsInt,
		[]string{e.keys.lease, e.keys.stepdown}, command.Str(e.o.name), command.Str(why))
	if err != nil {
		return wrap("election", e.name, wait.Because(ctx, err))
	}
	if term == 0 {
		return nil
	}
	err = wait.Until(ctx, e.d, e.keys.lease, func(ctx context.Context) (bool, time.Duration, error) {
		info, err := e.leader(ctx)
		return !info.Led || info.Term != term, info.next(), err
	})
	if err != nil {
		return wrap("election", e.name, wait.Because(ctx, err))
	}
	return nil
}
