package limitlab

import (
	"time"

	"github.com/redisx/redisx/ds/limiter"
)

// tally counts what one algorithm does. It knows the rule, and nothing of how
// the algorithm decides by it.
type tally struct {
	rate      limiter.Rate
	algorithm limiter.Algorithm

	admitted, denied, neverFits int
	cost                        int // of what was admitted
	retries                     int // denials that said when to come again
	retrySum, retryLongest      time.Duration

	run      int   // denials since the last admission
	runFrom  int64 // when the first of them was
	runMost  int
	runTook  time.Duration // from the first to the last of the longest run
	recent   []arrival     // admissions within the last period
	inRecent int
	most     peak // in a period, wherever it begins

	calendar   int64 // number of the window by the calendar
	inCalendar int
	mostByDate peak // in a window by the calendar

	plot histogram
}

// peak is the most that was admitted in a window, and when the last of it was.
type peak struct {
	calls int
	at    int64
}

func (p *peak) see(calls int, at int64) {
	if calls > p.calls {
		*p = peak{calls, at}
	}
}

func (y *tally) admit(a arrival) {
	y.admitted++
	y.cost += a.cost
	y.run = 0
	y.plot.add(a.at, 1)

	// A window is as long as the period, without its end: a call that is exactly
	// a period old is outside.
	per := y.rate.Per.Microseconds()
	gone := 0
	for gone < len(y.recent) && y.recent[gone].at <= a.at-per {
		y.inRecent -= y.recent[gone].cost
		gone++
	}
	y.recent = y.recent[gone:]
	if n := len(y.recent); n > 0 && y.recent[n-1].at == a.at {
		y.recent[n-1].cost += a.cost
	} else {
		y.recent = append(y.recent, a)
	}
	y.inRecent += a.cost
	y.most.see(y.inRecent, a.at)

	if window := a.at / per; window != y.calendar {
		y.calendar, y.inCalendar = window, 0
	}
	y.inCalendar += a.cost
	y.mostByDate.see(y.inCalendar, a.at)
}

// deny counts a denial, which said when to come again, or nothing if that would
// never help.
func (y *tally) deny(a arrival, retryAfter time.Duration) {
	y.denied++
	y.plot.add(a.at, 0)
	if y.run == 0 {
		y.runFrom = a.at
	}
	if y.run++; y.run > y.runMost {
		y.runMost, y.runTook = y.run, time.Duration(a.at-y.runFrom)*time.Microsecond
	}
	if retryAfter > 0 {
		y.retries++
		y.retrySum += retryAfter
		y.retryLongest = max(y.retryLongest, retryAfter)
	}
}

// bound returns what the manual of ds/limiter says may be admitted at most in a
// window of the rule's period, wherever it begins.
func (y *tally) bound() int {
	switch y.algorithm {
	case limiter.TokenBucket:
		return y.rate.Burst + 2*y.rate.Count
	case limiter.FixedWindow:
		return 2 * y.rate.Count
	case limiter.SlidingWindow:
		return y.rate.Count
	}
	return y.rate.Burst + y.rate.Count
}

// holds reports whether no window had more. Of a FixedWindow the manual says
// what is admitted in windows by the calendar, too.
func (y *tally) holds() bool {
	return y.most.calls <= y.bound() && (y.algorithm != limiter.FixedWindow || y.mostByDate.calls <= y.rate.Count)
}

func (y *tally) retryMean() time.Duration {
	return (y.retrySum / time.Duration(y.retries)).Round(time.Microsecond)
}

// histogram counts arrivals, and those admitted, in buckets from the first one
// on. The buckets grow, so that there are never many.
type histogram struct {
	from    int64 // µs; 0 means when the first one arrives
	widths  int   // index of bucketWidths
	buckets []bucket
}

type bucket struct{ arrived, admitted int }

const (
	maxBuckets = 4096 // so that the widest hold maxSpan
	// maxColumns is what a terminal of 80 columns has beside the scale.
	maxColumns = 70
)

// bucketWidths are what buckets may be wide, each a multiple of the one before.
var bucketWidths = []time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, day,
}

// columnWidths are what columns may be wide.
var columnWidths = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	day, 2 * day, 7 * day, 14 * day, 28 * day, 56 * day, 112 * day,
}

const day = 24 * time.Hour

func (h *histogram) add(at int64, admitted int) {
	if h.buckets == nil && h.from == 0 {
		h.from = at
	}
	i := (at - h.from) / bucketWidths[h.widths].Microseconds()
	for ; i >= maxBuckets; i = (at - h.from) / bucketWidths[h.widths].Microseconds() {
		n := int(bucketWidths[h.widths+1] / bucketWidths[h.widths])
		h.widths++
		h.buckets = joined(h.buckets, n)
	}
	for int64(len(h.buckets)) <= i {
		h.buckets = append(h.buckets, bucket{})
	}
	h.buckets[i].arrived++
	h.buckets[i].admitted += admitted
}

// columns returns the histogram in few columns of a round width.
func (h *histogram) columns(span time.Duration) (time.Duration, []bucket) {
	have := bucketWidths[h.widths]
	for _, width := range columnWidths {
		n := int((span + width - 1) / width)
		if width%have != 0 || n > maxColumns {
			continue
		}
		columns := joined(h.buckets, int(width/have))
		for len(columns) < n {
			columns = append(columns, bucket{})
		}
		return width, columns
	}
	return have, h.buckets
}

// joined returns buckets each of which holds n.
func joined(buckets []bucket, n int) []bucket {
	wide := make([]bucket, 0, (len(buckets)+n-1)/n)
	for i, b := range buckets {
		if i%n == 0 {
			wide = append(wide, bucket{})
		}
		wide[len(wide)-1].arrived += b.arrived
		wide[len(wide)-1].admitted += b.admitted
	}
	return wide
}
