package limitlab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/limiter"
)

// brute says from all admissions before it whether an arrival fits. It shares
// nothing with the scripts, nor with the tally.
func brute(a limiter.Algorithm, r limiter.Rate, before []arrival, now arrival) bool {
	per, count := r.Per.Microseconds(), int64(r.Count)
	sum := int64(now.cost)
	switch a {
	case limiter.FixedWindow:
		for _, b := range before {
			if b.at/per == now.at/per {
				sum += int64(b.cost)
			}
		}
		return sum <= count
	case limiter.SlidingWindow:
		for _, b := range before {
			if b.at > now.at-per {
				sum += int64(b.cost)
			}
		}
		return sum <= count
	case limiter.TokenBucket:
		has, period := int64(r.Burst), int64(0)
		for _, b := range append(append([]arrival(nil), before...), arrival{now.at, 0}) {
			for has < int64(r.Burst) && period+per <= b.at {
				has, period = min(has+count, int64(r.Burst)), period+per
			}
			if has == int64(r.Burst) {
				period = b.at
			}
			has -= int64(b.cost)
		}
		return sum <= has
	}
	// Of GCRA: in every window that ends now, at most burst + time x rate.
	for i := len(before); ; i-- {
		if i < len(before) {
			sum += int64(before[i].cost)
			if (sum-int64(r.Burst))*per > (now.at-before[i].at)*count {
				return false
			}
		}
		if i == 0 {
			return sum <= int64(r.Burst) || len(before) > 0
		}
	}
}

// counted is what a tally should say, by brute force.
func counted(per int64, all []arrival, admitted []bool) (most, byCalendar, runMost int, runTook time.Duration) {
	for i, a := range all {
		window, date := 0, 0
		for j, b := range all {
			if !admitted[j] {
				continue
			}
			if b.at >= a.at && b.at < a.at+per {
				window += b.cost
			}
			if a.at/per == b.at/per {
				date += b.cost
			}
		}
		most, byCalendar = max(most, window), max(byCalendar, date)
		for j := i; j < len(all) && !admitted[j]; j++ {
			if n := j - i + 1; n > runMost {
				runMost, runTook = n, time.Duration(all[j].at-a.at)*time.Microsecond
			}
		}
	}
	return most, byCalendar, runMost, runTook
}

// give plays one arrival.
func give(t *testing.T, tr *trial, all ...arrival) {
	t.Helper()
	in := make(chan []arrival, 1)
	in <- all
	close(in)
	if err := tr.play(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func trialOf(t *testing.T, a algorithm, text string, burst int) *trial {
	t.Helper()
	rate, err := ruleOf(text, burst)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTrial(t.Context(), a, rateText(text), rate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.close)
	return tr
}

// drawn returns arrivals in clusters, with costs, over some periods.
func drawn(r *rand.Rand, per int64, n, most int) []arrival {
	at := synthetic.UnixMicro() + r.Int64N(per)
	all := make([]arrival, n)
	for i := range all {
		switch r.IntN(12) {
		case 0, 1, 2, 3: // at the same time
		case 4:
			at += r.Int64N(per)
		case 5:
			at += per - at%per // at the turn of a window
		default:
			at += r.Int64N(per / 30)
		}
		all[i] = arrival{at, 1 + r.IntN(most)}
	}
	return all
}

func TestEveryNumberIsThatOfABruteForceCount(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms {
		for seed, text := range []string{"7/s", "10/m burst 13", "3/10ms", "4/7s burst 5"} {
			t.Run(fmt.Sprintf("%s by %s", a.is, text), func(t *testing.T) {
				tr := trialOf(t, a, text, 0)
				per := tr.rate.Per.Microseconds()
				all := drawn(rand.New(rand.NewPCG(uint64(seed), 7)), per, 110, 3)
				var admissions []arrival
				admitted := make([]bool, len(all))
				var retries []time.Duration
				for i, now := range all {
					was, sum := tr.tally.admitted, tr.tally.retrySum
					give(t, tr, now)
					admitted[i] = tr.tally.admitted > was
					if want := brute(a.is, tr.rate, admissions, now); admitted[i] != want {
						t.Fatalf("arrival %d, %+v after %v: admitted %v, want %v", i, now, admissions, admitted[i], want)
					}
					if admitted[i] {
						admissions = append(admissions, now)
						continue
					}
					retry := tr.tally.retrySum - sum
					retries = append(retries, retry)
					soon, then := now, now
					soon.at += retry.Microseconds() - 1
					then.at += retry.Microseconds()
					if retry <= 0 || brute(a.is, tr.rate, admissions, soon) || !brute(a.is, tr.rate, admissions, then) {
						t.Fatalf("arrival %d, %+v after %v: it does not begin to fit after %v", i, now, admissions, retry)
					}
				}
				most, byCalendar, runMost, runTook := counted(per, all, admitted)
				y := &tr.tally
				if y.most.calls != most || y.mostByDate.calls != byCalendar || y.runMost != runMost || y.runTook != runTook {
					t.Errorf("most %d, by the calendar %d, in a row %d within %v; want %d, %d, %d, %v",
						y.most.calls, y.mostByDate.calls, y.runMost, y.runTook, most, byCalendar, runMost, runTook)
				}
				sum, longest, cost := time.Duration(0), time.Duration(0), 0
				for _, retry := range retries {
					sum, longest = sum+retry, max(longest, retry)
				}
				for _, a := range admissions {
					cost += a.cost
				}
				if y.admitted != len(admissions) || y.denied != len(retries) || y.cost != cost || y.retries != len(retries) || y.retrySum != sum || y.retryLongest != longest {
					t.Errorf("%+v, want %d admitted that cost %d, %d denied, retries of %v, %v at most", y, len(admissions), cost, len(retries), sum, longest)
				}
				if len(retries) < 8 || len(admissions) < 8 || !y.holds() {
					t.Errorf("%d admitted, %d denied, bound %d kept: %v", len(admissions), len(retries), y.bound(), y.holds())
				}
			})
		}
	}
}

// The bounds that can be reached are reached, so that a bound that is one too
// low or too high would show.
func TestTheBoundsAreThoseOfTheManual(t *testing.T) {
	t.Parallel()
	begin, m := synthetic.UnixMicro(), time.Minute.Microseconds()
	for _, tt := range []struct {
		algorithm algorithm
		burst     int
		from      int64 // four arrivals each 5 s for a minute, from then on
		most      int
		bound     int
	}{
		{algorithms[0], 2, begin, 11, 12}, // the 12th fits when the minute is over
		{algorithms[0], 0, begin, 19, 20},
		{algorithms[1], 15, begin, 15, 35},
		{algorithms[2], 0, begin + m/2, 20, 20},
		{algorithms[3], 0, begin + m/2, 10, 10},
	} {
		tr := trialOf(t, tt.algorithm, "10/m", tt.burst)
		var all []arrival
		for at := tt.from; at < tt.from+m; at += m / 12 {
			for range 4 {
				all = append(all, arrival{at, 1})
			}
		}
		give(t, tr, all...)
		y := &tr.tally
		if y.most.calls != tt.most || y.bound() != tt.bound || !y.holds() {
			t.Errorf("%s by %v: %d in a minute, at most %d, kept %v; want %d, %d", tt.algorithm.is, tr.rate, y.most.calls, y.bound(), y.holds(), tt.most, tt.bound)
		}
	}
}

func TestAnAlgorithmThatAdmitsTooMuchIsReported(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms {
		tr := trialOf(t, a, "40/m", 0)
		tr.tally.rate = limiter.Rate{Count: 10, Per: time.Minute, Burst: 10}
		var all []arrival
		for i := range int64(50) {
			all = append(all, arrival{synthetic.UnixMicro() + i, 1})
		}
		give(t, tr, all...)
		r := &Report{Rate: "10/m", Burst: 10}
		r.fill([]*trial{tr}, all[49].at)
		var text bytes.Buffer
		if err := r.writeText(&text, false); err != nil {
			t.Fatal(err)
		}
		err := r.err()
		if !errors.Is(err, ErrBound) || !strings.Contains(err.Error(), string(a.is)) || !strings.Contains(err.Error(), "40 calls") {
			t.Errorf("%s: %v, want that 40 calls were admitted", a.is, err)
		}
		if !strings.Contains(text.String(), "BROKEN") || strings.Contains(text.String(), "holds") {
			t.Errorf("%s: it is not told:\n%s", a.is, text.String())
		}
	}
}

// A FixedWindow that begins its windows anywhere keeps 2·count in any minute.
func TestAWindowByAnotherCalendarIsReported(t *testing.T) {
	t.Parallel()
	y := &tally{rate: limiter.Rate{Count: 2, Per: time.Minute, Burst: 2}, algorithm: limiter.FixedWindow}
	for _, s := range []int64{20, 25, 35, 40} {
		y.admit(arrival{synthetic.UnixMicro() + s*1e6, 1})
	}
	if y.holds() || y.most.calls > y.bound() {
		t.Errorf("4 calls in a minute by the calendar, of 2: kept %v", y.holds())
	}
}

func TestACostBeyondTheBurstNeverFitsAndIsNoRetry(t *testing.T) {
	t.Parallel()
	out, err := lab(t, Options{Rate: "5/s", Traffic: "steady:1/s", Cost: 6, For: 3 * time.Second, JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	for _, o := range r.Algorithms {
		if o.Admitted != 0 || o.Denied != 3 || o.NeverFits != 3 || o.RetryLongest != 0 || !o.MostAt.IsZero() || !o.Holds {
			t.Errorf("%+v", o)
		}
	}
}
