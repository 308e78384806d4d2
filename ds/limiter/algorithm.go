package limiter

import (
	"strconv"
	"time"
)

// Algorithm is how a rule counts.
type Algorithm string

// The algorithms. A burst is as in Rate; windows have none beyond their count.
const (
	// GCRA drains all the time: after a burst of calls, one fits each Per/Count.
	// A window of length T admits Burst + T·Count/Per calls at most. It is the
	// default.
	GCRA Algorithm = "gcra"
	// TokenBucket gets Count tokens at the end of each Per, from the first call
	// of a full bucket on, and holds Burst, which is at least Count. A window of length T admits
	// Burst + Count·(T/Per + 1) at most.
	TokenBucket Algorithm = "token bucket"
	// FixedWindow admits Count calls in each Per by the calendar: the minutes
	// of the server's clock, days of UTC. Any other window of that length
	// admits 2·Count at most, at the turn of two.
	FixedWindow Algorithm = "fixed window"
	// SlidingWindow admits Count calls in any window of length Per, wherever it
	// begins. It remembers each call; above 1000 calls a period those within a
	// 1000th of it leave the window together, with the last of them.
	SlidingWindow Algorithm = "sliding window"
)

// way is what an algorithm is called in scripts and in keys.
type way struct{ script, part string }

var ways = map[Algorithm]way{
	GCRA:          {"gcra", "bucket"},
	TokenBucket:   {"tokens", "tokens"},
	FixedWindow:   {"fixed", "window"},
	SlidingWindow: {"sliding", "log"},
}

// rule is one rule as calls are decided by it.
type rule struct {
	name      string // "" of a Limiter
	rate      Rate   // with its burst
	algorithm Algorithm
	part      string        // what the keys of its state end with
	text      string        // as the scripts take it
	longest   time.Duration // that a call may wait for it and be counted exactly
}

// ruleOf returns the rule, or a *RateError.
func ruleOf(name string, rate Rate, a Algorithm) (rule, error) {
	w, ok := ways[a]
	if !ok {
		return rule{}, &RateError{Rate: rate.String(), Reason: "there is no algorithm " + strconv.Quote(string(a))}
	}
	count, per, err := rate.check(a)
	if err != nil {
		return rule{}, &RateError{Rate: rate.String(), Reason: err.Error()}
	}
	rate.Burst = rate.burst()
	text := make([]byte, 0, 64)
	text = append(append(text, w.script...), ' ')
	text = append(strconv.AppendInt(text, count, 10), ' ')
	text = append(strconv.AppendInt(text, per, 10), ' ')
	text = strconv.AppendInt(text, int64(rate.Burst), 10)
	longest := maxMaxWait
	if most := maxSize / count; most < longest.Microseconds() {
		longest = time.Duration(most) * time.Microsecond
	}
	return rule{name: name, rate: rate, algorithm: a, part: w.part, text: string(text), longest: longest}, nil
}
