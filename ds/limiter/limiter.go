package limiter

import (
	"context"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
)

// Limiter holds one rule, applied to each key by itself. Make it with New; it
// may be used by many goroutines.
type Limiter struct{ e *engine }

// New returns a limiter by a rule that ParseRate reads. It sends nothing. With
// a rule that cannot be used every call returns the *RateError.
func New(d command.Doer, rate string, opts ...Option) *Limiter {
	o := build(opts)
	parsed, err := ParseRate(rate)
	if o.burst > 0 {
		parsed.Burst = o.burst
	}
	var r rule
	if err == nil {
		r, err = ruleOf("", parsed, o.algorithm)
	}
	return &Limiter{newEngine(d, o, []rule{r}, err)}
}

// Rate returns the rule, with its burst. Of a rule that cannot be used it is
// meaningless.
func (l *Limiter) Rate() Rate { return l.e.rules[0].rate }

// Stats returns how the limiter has decided so far.
func (l *Limiter) Stats() Stats { return l.e.counted() }

// Decision is the answer to one call. Its times are durations on the server's
// clock, rounded up to a microsecond. Of a Group it tells of one rule: the one
// that denied (that which keeps the call waiting for longest), else the one with
// the fewest calls left.
type Decision struct {
	// Allowed reports whether the call was admitted and charged. Of Peek, it
	// reports whether a call of cost 1 would be.
	Allowed bool
	// Limit is the burst: how many calls a full bucket holds.
	Limit int
	// Remaining is how many calls would be admitted at once after this one.
	// Never negative.
	Remaining int
	// RetryAfter is how long until the call fits if nobody else calls. Zero
	// when Allowed, but for Shadowed. Where reservations of others leave no room, it is until
	// the first of them lapses; one that is settled makes room sooner.
	RetryAfter time.Duration
	// ResetAfter is how long until the bucket is full again if nobody calls.
	ResetAfter time.Duration
	// At is the server's time of the decision. For one key it never falls,
	// unless the server's clock steps back further than the bucket fills. It
	// is zero if Degraded.
	At time.Time
	// Rule is the name of the rule that this tells of, "" of a Limiter.
	Rule string
	// Degraded says that the server could not decide, and OnError did. Cause
	// says why; the call may have been charged unless command.SafeToRetry
	// clears it.
	Degraded bool
	Cause    error
	// Shadowed says that the call would have been denied but for Shadow.
	Shadowed bool

	key  string
	rate Rate
}

// Err returns nil if the call was admitted and a *LimitedError if not.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	return &LimitedError{Key: d.key, Rule: d.Rule, Rate: d.rate, RetryAfter: d.RetryAfter, Cause: d.Cause}
}

// Allow decides a call of cost 1. See AllowN.
func (l *Limiter) Allow(ctx context.Context, key string) (Decision, error) {
	return l.AllowN(ctx, key, 1)
}

// AllowN decides a call that counts as cost calls: all of them or none. Being
// denied is an answer, not an error. A cost of 0 is a Peek, a negative one is
// ErrCost, one above the burst is *NeverFitsError; the last two are found
// before anything is sent. Other errors are the client's, unless OnError is set;
// unless command.SafeToRetry clears them, the call may have been charged.
func (l *Limiter) AllowN(ctx context.Context, key string, cost int) (Decision, error) {
	k := l.keys(key)
	d, _, err := l.e.decide(ctx, []string{key}, k[:], ask{calls: cost})
	return d, err
}

// Peek returns what a call of cost 1 would get, and charges nothing.
func (l *Limiter) Peek(ctx context.Context, key string) (Decision, error) {
	return l.AllowN(ctx, key, 0)
}

// Wait returns when a call of cost 1 may be made. See WaitN.
func (l *Limiter) Wait(ctx context.Context, key string) error { return l.WaitN(ctx, key, 1) }

// WaitN returns when cost calls may be made. It asks the server once, which
// charges them at the time when they fit and says when that is: nobody polls,
// and who asks first goes first. A slot that would be later than MaxWait, or
// than ctx lasts, is not taken: that is a *LimitedError at once.
//
// When ctx ends before, the slot is given back if nobody has one behind it (of a
// SlidingWindow always); else it passes unused, and what is lost is the cost of
// the call, once. Reservations have no known end, so it does not wait for them:
// where they alone leave no room the error is a *LimitedError.
func (l *Limiter) WaitN(ctx context.Context, key string, cost int) error {
	k := l.keys(key)
	return l.e.wait(ctx, []string{key}, k[:], cost)
}

// Reserve takes cost calls out of the limit for something whose cost is known
// only when it is done: what it came to is told by Settle. It is a *LimitedError
// if they do not fit now. See Reservation.
func (l *Limiter) Reserve(ctx context.Context, key string, cost int) (*Reservation, error) {
	k := l.keys(key)
	return l.e.reserve(ctx, []string{key}, k[:], cost)
}

// keys returns the keys of a rule's state and of its reservations, in one piece
// of memory.
func (l *Limiter) keys(key string) [2]string {
	part := l.e.rules[0].part
	var b strings.Builder
	b.Grow(2*(len(l.e.o.namespace)+len(key)+len(part)) + len("{redisx:limiter:}:{redisx:limiter:}::reserved"))
	keys.Write(&b, l.e.o.namespace, "limiter", key)
	prefix := b.String()
	b.WriteString(part)
	end := b.Len()
	b.WriteString(prefix)
	b.WriteString(part)
	b.WriteString(":reserved")
	return [2]string{b.String()[:end], b.String()[end:]}
}
