package limitlab

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx/ds/limiter"
)

// synthetic is when traffic that is made up begins: at the turn of every window
// by the calendar that divides a day.
var synthetic = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

const maxSources = 16

// source is one part of traffic that is made up.
type source struct {
	kind   string        // steady, poisson or burst
	rate   limiter.Rate  // of steady and poisson
	calls  int           // of a burst, at once
	at     time.Duration // of a burst, from the beginning on
	repeat time.Duration // between bursts; 0 means there is one
}

// sourcesOf reads traffic such as "steady:3/s,poisson:2/s,burst:50@10s,burst:5@0s/1m",
// that lasts so long and brings no more than a replay takes.
func sourcesOf(text string, span time.Duration) ([]source, error) {
	parts := strings.Split(text, ",")
	if len(parts) > maxSources {
		return nil, fmt.Errorf("limit lab: %d kinds of traffic, %d at most", len(parts), maxSources)
	}
	var sources []source
	sum := 0.0
	for _, part := range parts {
		s, err := sourceOf(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("limit lab: traffic %q: %w", part, err)
		}
		if s.kind == "burst" && s.at >= span {
			return nil, fmt.Errorf("limit lab: traffic %q: it comes after the end, at %v", part, span)
		}
		sources = append(sources, s)
		sum += s.expected(span)
	}
	if sum > maxArrivals {
		return nil, fmt.Errorf("limit lab: %s brings some %.0f arrivals in %v: %d are the most; take less of it with --for", text, sum, span, maxArrivals)
	}
	return sources, nil
}

func sourceOf(text string) (s source, err error) {
	kind, what, _ := strings.Cut(text, ":")
	s.kind = kind
	switch kind {
	case "steady", "poisson":
		if strings.Contains(what, "burst") {
			return s, fmt.Errorf("want a rate such as 3/s")
		}
		s.rate, err = limiter.ParseRate(what)
		return s, err
	case "burst":
		calls, at, ok := strings.Cut(what, "@")
		at, repeat, repeats := strings.Cut(at, "/")
		s.calls, err = strconv.Atoi(calls)
		if err != nil || !ok || s.calls < 1 {
			return s, fmt.Errorf("want calls and when they come, such as burst:50@10s")
		}
		if s.at, err = time.ParseDuration(at); err != nil || s.at < 0 {
			return s, fmt.Errorf("%q is no time from the beginning on, such as 10s", at)
		}
		if repeats {
			if s.repeat, err = time.ParseDuration(repeat); err != nil || s.repeat < time.Microsecond {
				return s, fmt.Errorf("%q is no time between bursts, such as 1m", repeat)
			}
		}
		return s, nil
	}
	return s, fmt.Errorf("want steady:3/s, poisson:2/s or burst:50@10s")
}

// expected returns about how many arrivals it brings.
func (s source) expected(span time.Duration) float64 {
	switch {
	case s.kind != "burst":
		return float64(span) / float64(s.rate.Per) * float64(s.rate.Count)
	case s.repeat == 0:
		return float64(s.calls)
	}
	return float64(s.calls) * (1 + float64(span-s.at)/float64(s.repeat))
}

// times returns when its arrivals come, in µs from the beginning on: a function
// that returns one after the other.
func (s source) times(seed uint64, index int) func() int64 {
	per := s.rate.Per.Microseconds()
	n := int64(-1)
	switch s.kind {
	case "steady":
		count := int64(s.rate.Count)
		return func() int64 {
			n++
			hi, lo := bits.Mul64(uint64(n%count), uint64(per))
			part, _ := bits.Div64(hi, lo, uint64(count))
			return n/count*per + int64(part)
		}
	case "poisson":
		r := rand.New(rand.NewPCG(seed, uint64(index)))
		gap, at := float64(per)/float64(s.rate.Count), 0.0
		return func() int64 {
			at += float64(r.ExpFloat64() * gap) // float64 so that no machine fuses the two steps
			return int64(at)
		}
	}
	return func() int64 {
		n++
		burst := n / int64(s.calls)
		if burst > 0 && s.repeat == 0 {
			return math.MaxInt64
		}
		return s.at.Microseconds() + burst*s.repeat.Microseconds()
	}
}

func random(sources []source) bool {
	for _, s := range sources {
		if s.kind == "poisson" {
			return true
		}
	}
	return false
}

// played returns the arrivals of all sources in one order of time.
func played(sources []source, span time.Duration, seed uint64, cost int) arrivals {
	return func(yield func(arrival, error) bool) {
		next := make([]func() int64, len(sources))
		at := make([]int64, len(sources))
		for i, s := range sources {
			next[i] = s.times(seed, i)
			at[i] = next[i]()
		}
		for n := 0; ; n++ {
			first := 0
			for i := range at {
				if at[i] < at[first] {
					first = i
				}
			}
			switch {
			case at[first] >= span.Microseconds() && n == 0:
				yield(arrival{}, errNone("the traffic"))
				return
			case at[first] >= span.Microseconds():
				return
			case n == maxArrivals: // which only chance brings about
				yield(arrival{}, errTooMany("the traffic"))
				return
			}
			if !yield(arrival{synthetic.UnixMicro() + at[first], cost}, nil) {
				return
			}
			at[first] = next[first]()
		}
	}
}

func errNone(where string) error {
	return fmt.Errorf("limit lab: there are no arrivals in %s", where)
}

func errTooMany(where string) error {
	return fmt.Errorf("limit lab: more than %d arrivals in %s: replay a part of it", maxArrivals, where)
}
