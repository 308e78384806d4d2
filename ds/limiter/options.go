package limiter

import (
	"fmt"
	"time"
)

const (
	defaultMaxWait  = time.Minute
	maxMaxWait      = time.Hour
	defaultLapse    = time.Minute
	minLapse        = 100 * time.Millisecond
	maxLapse        = 24 * time.Hour
	defaultPatience = 100 * time.Millisecond
)

// Option tunes a Limiter or a Group.
type Option func(*options)

type options struct {
	namespace string
	burst     int // 0: as the rate says
	algorithm Algorithm
	fallback  Fallback
	patience  time.Duration
	maxWait   time.Duration
	lapse     time.Duration
	shadow    bool

	err error // the first option that cannot be used
}

func build(opts []Option) options {
	o := options{algorithm: GCRA, patience: defaultPatience, maxWait: defaultMaxWait, lapse: defaultLapse}
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case o.err != nil:
	case o.patience <= 0:
		o.err = fmt.Errorf("limiter: a patience of %v", o.patience)
	case o.maxWait < 0 || o.maxWait > maxMaxWait:
		o.err = fmt.Errorf("limiter: a longest wait of %v is not within 0 and %v", o.maxWait, maxMaxWait)
	case o.lapse < minLapse || o.lapse > maxLapse:
		o.err = fmt.Errorf("limiter: a lapse of %v is not within %v and %v", o.lapse, minLapse, maxLapse)
	}
	return o
}

// Burst sets how many calls a full bucket holds: at least 1. It wins over a
// burst in the rate's text. The default is the rate's count. Windows have none;
// the rules of a Group have theirs in their text.
func Burst(n int) Option {
	return func(o *options) {
		if n < 1 && o.err == nil {
			o.err = &RateError{Rate: fmt.Sprint("burst ", n), Reason: "the burst must be a whole number, at least 1"}
		}
		o.burst = n
	}
}

// Using sets the algorithm, of a Group that of rules which name none. The
// default is GCRA. Each counts apart: who changes the algorithm of a key begins
// anew.
func Using(a Algorithm) Option { return func(o *options) { o.algorithm = a } }

// Namespace sets the first part of the keys' names, to keep applications on one
// server apart. The default is "redisx".
func Namespace(name string) Option { return func(o *options) { o.namespace = name } }

// MaxWait bounds how long Wait waits for its slot: 0 to 1 h, the default is
// 1 min. A context that ends earlier bounds it, too. Very high rates cannot be
// counted exactly that far ahead and are bounded to less: 2^52 calls.
func MaxWait(d time.Duration) Option { return func(o *options) { o.maxWait = d } }

// Lapse sets for how long the server keeps a reservation for who may have died:
// 100 ms to 24 h, the default is 1 min. One that lapses counts as used in full.
func Lapse(d time.Duration) Option { return func(o *options) { o.lapse = d } }

// OnError sets what happens when the server cannot decide: it does not answer
// within Patience, or with an error. The default is that the call returns the
// error. The end of the caller's context by cancellation is always returned.
func OnError(f Fallback) Option {
	return func(o *options) {
		if f.err != nil && o.err == nil {
			o.err = f.err
		}
		o.fallback = f
	}
}

// Patience bounds how long the server is given to decide before OnError does:
// the default is 100 ms, and never more than 9/10 of what the context leaves.
// Without OnError it has no effect: then the context is the bound.
func Patience(d time.Duration) Option { return func(o *options) { o.patience = d } }

// Shadow makes the limiter decide and count as ever, but admit every call, to
// see what a rule would do: Decision.Shadowed and Stats tell what it would have
// refused. Wait does not wait then.
func Shadow() Option { return func(o *options) { o.shadow = true } }
