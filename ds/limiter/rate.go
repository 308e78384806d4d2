package limiter

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxSize bounds burst · per, so that Lua's doubles hold every sum exactly.
const maxSize = 1 << 52

// Rate is a rule: Count calls per Per, Burst of them at once.
type Rate struct {
	// Count is how many calls each Per brings. At least 1.
	Count int
	// Per is a whole number of microseconds. At least 1 µs.
	Per time.Duration
	// Burst is how many calls a full bucket holds. Zero means Count.
	Burst int
}

// units are the words that may stand for one of them: "100/m" is "100/1m".
var units = map[string]time.Duration{
	"us": time.Microsecond, "µs": time.Microsecond,
	"ms": time.Millisecond,
	"s":  time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hour": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour,
}

// ParseRate reads a rule as people write it: "100/m", "50/s", "10/hour",
// "5/500ms", "1/1h30m", "50/s burst 100". The period is a unit (us, ms, s, m,
// h, d, or sec, second, min, minute, hour, day) or a Go duration. It returns a
// *RateError for anything else, and for a rule too large to count exactly: burst
// times period, with count/period in lowest terms, may be 4.5e15 µs at most. At
// "1/d" that is a burst of 52 000, at "100/m" one of 7 billion.
func ParseRate(s string) (Rate, error) {
	rule, burst, hasBurst := strings.Cut(s, " burst ")
	count, period, ok := strings.Cut(rule, "/")
	if !ok {
		return Rate{}, &RateError{Rate: s, Reason: `want a form like "100/m"`}
	}
	var r Rate
	var err error
	if r.Count, err = strconv.Atoi(strings.TrimSpace(count)); err != nil || r.Count < 1 {
		return Rate{}, &RateError{Rate: s, Reason: "the count must be a whole number, at least 1"}
	}
	if r.Per, ok = parsePeriod(strings.TrimSpace(period)); !ok {
		return Rate{}, &RateError{Rate: s, Reason: `the period must be a unit ("s", "m", "h", "d") or a duration ("500ms")`}
	}
	if hasBurst {
		if r.Burst, err = strconv.Atoi(strings.TrimSpace(burst)); err != nil || r.Burst < 1 {
			return Rate{}, &RateError{Rate: s, Reason: "the burst must be a whole number, at least 1"}
		}
	}
	if _, _, err := r.check(GCRA); err != nil {
		return Rate{}, &RateError{Rate: s, Reason: err.Error()}
	}
	return r, nil
}

func parsePeriod(s string) (time.Duration, bool) {
	if d, ok := units[s]; ok {
		return d, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

// String returns the rule in the form that ParseRate reads, with its burst.
func (r Rate) String() string {
	return fmt.Sprintf("%d/%v burst %d", r.Count, r.Per, r.burst())
}

func (r Rate) burst() int {
	if r.Burst == 0 {
		return r.Count
	}
	return r.Burst
}

// check returns the count and the period in µs as the scripts take them, or what
// is wrong with the rule.
func (r Rate) check(a Algorithm) (count, per int64, err error) {
	switch {
	case r.Count < 1:
		return 0, 0, errors.New("the count must be at least 1")
	case r.Per < time.Microsecond || r.Per%time.Microsecond != 0:
		return 0, 0, errors.New("the period must be whole microseconds, at least 1")
	case r.Burst < 0:
		return 0, 0, errors.New("the burst must be at least 1")
	case (a == FixedWindow || a == SlidingWindow) && r.burst() != r.Count:
		return 0, 0, fmt.Errorf("a %s has no burst beyond its count", a)
	}
	if a == TokenBucket && r.burst() < r.Count {
		return 0, 0, errors.New("a token bucket must hold what one period brings")
	}
	count, per = int64(r.Count), r.Per.Microseconds()
	burst := int64(r.burst())
	if a == GCRA {
		d := gcd(count, per)
		count, per = count/d, per/d
	}
	if count > maxSize || burst > math.MaxInt64/per || burst*per > maxSize {
		return 0, 0, errors.New("too large to count exactly; take a shorter period or a smaller burst")
	}
	return count, per, nil
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
