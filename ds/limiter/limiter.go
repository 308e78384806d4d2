package limiter

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/resp3"
)

//go:embed allow.lua
var allowSource string

var allowScript = command.NewScript(allowSource)

// Limiter holds one rule, applied to each key by itself.
type Limiter struct {
	d         command.Doer
	namespace string
	rate      Rate
	rule      string // as the script takes it
	err       error  // a rule that cannot be used
}

// Option tunes a Limiter.
type Option func(*Limiter)

// Burst sets how many calls a full bucket holds: at least 1. It wins over a
// burst in the rate's text. The default is the rate's count.
func Burst(n int) Option {
	return func(l *Limiter) {
		if n < 1 {
			l.fail(fmt.Sprint("burst ", n), "the burst must be a whole number, at least 1")
		}
		l.rate.Burst = n
	}
}

// Namespace sets the first part of the keys' names, to keep applications on one
// server apart. The default is "redisx".
func Namespace(name string) Option {
	return func(l *Limiter) { l.namespace = name }
}

// New returns a limiter by a rule that ParseRate reads. It sends nothing. With
// a rule that cannot be used every call returns the *RateError.
func New(d command.Doer, rate string, opts ...Option) *Limiter {
	l := &Limiter{d: d}
	l.rate, l.err = ParseRate(rate)
	for _, o := range opts {
		o(l)
	}
	if l.err == nil {
		rule, err := l.rate.check()
		if err != nil {
			l.fail(l.rate.String(), err.Error())
		}
		l.rule = rule
	}
	return l
}

func (l *Limiter) fail(rate, reason string) {
	if l.err == nil {
		l.err = &RateError{Rate: rate, Reason: reason}
	}
}

// Rate returns the rule, with its burst. Of a rule that cannot be used it is
// meaningless.
func (l *Limiter) Rate() Rate {
	r := l.rate
	r.Burst = r.burst()
	return r
}

// Decision is the answer to one call. Its times are durations on the server's
// clock, rounded up to a microsecond.
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
	// when Allowed.
	RetryAfter time.Duration
	// ResetAfter is how long until the bucket is full again if nobody calls.
	ResetAfter time.Duration
	// At is the server's time of the decision. For one key it never falls,
	// unless the server's clock steps back further than the bucket fills.
	At time.Time

	key  string
	rate Rate
}

// Err returns nil if the call was admitted and a *LimitedError if not.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	return &LimitedError{Key: d.key, Rate: d.rate, RetryAfter: d.RetryAfter}
}

// Allow decides a call of cost 1. See AllowN.
func (l *Limiter) Allow(ctx context.Context, key string) (Decision, error) {
	return l.AllowN(ctx, key, 1)
}

// AllowN decides a call that counts as cost calls: all of them or none. Being
// denied is an answer, not an error. A cost of 0 is a Peek, a negative one is
// ErrCost, one above the burst is *NeverFitsError; the last two are found
// before anything is sent. Other errors are the client's; unless
// command.SafeToRetry clears them, the call may have been charged.
func (l *Limiter) AllowN(ctx context.Context, key string, cost int) (Decision, error) {
	switch {
	case l.err != nil:
		return Decision{}, l.err
	case cost < 0:
		return Decision{}, fmt.Errorf("%w: %d for %s", ErrCost, cost, key)
	case cost > l.rate.burst():
		return Decision{}, &NeverFitsError{Key: key, Cost: cost, Rate: l.Rate()}
	}
	k := [1]string{keys.Prefix(l.namespace, "limiter", key) + "bucket"}
	a, err := l.ask(ctx, k[:], cost)
	if err != nil {
		return Decision{}, fmt.Errorf("limiter: %s: %w", key, err)
	}
	return Decision{
		Allowed:    a[0] == 1,
		Limit:      l.rate.burst(),
		Remaining:  int(a[1]),
		RetryAfter: time.Duration(a[2]) * time.Microsecond,
		ResetAfter: time.Duration(a[3]) * time.Microsecond,
		At:         time.UnixMicro(a[4]),
		key:        key,
		rate:       l.Rate(),
	}, nil
}

// ask runs the script. The usual cost is left out: the request then fits
// without allocating.
func (l *Limiter) ask(ctx context.Context, keys []string, cost int) (answer, error) {
	if cost == 1 {
		return command.RunScript(ctx, l.d, allowScript, decode, keys, command.Str(l.rule))
	}
	return command.RunScript(ctx, l.d, allowScript, decode, keys, command.Str(l.rule), command.Int(int64(cost)))
}

// Peek returns what a call of cost 1 would get, and charges nothing.
func (l *Limiter) Peek(ctx context.Context, key string) (Decision, error) {
	return l.AllowN(ctx, key, 0)
}

// answer is what the script returns: admitted, calls left, µs until it fits, µs
// until full again, now in µs.
type answer [5]int64

var errAnswer = errors.New("limiter: want five integers from the script")

func decode(v resp3.View) (answer, error) {
	var a answer
	if v.Kind() != resp3.Array || v.Len() != len(a) {
		return a, errAnswer
	}
	c := v.Cursor()
	for i := range a {
		e, _ := c.Next()
		n, err := e.Int()
		if err != nil {
			return a, err
		}
		a[i] = n
	}
	return a, nil
}
