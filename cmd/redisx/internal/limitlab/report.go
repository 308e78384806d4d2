package limitlab

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Report is what came of a replay. Arrivals count as one each, what it calls
// calls by their cost.
type Report struct {
	Rate     string        `json:"rate"` // as given
	Burst    int           `json:"burst"`
	Source   string        `json:"source"`         // the traffic, or the file
	Seed     *uint64       `json:"seed,omitempty"` // of what is random in the traffic
	From     time.Time     `json:"from"`
	Span     time.Duration `json:"span_ns"`
	Arrivals int           `json:"arrivals"`
	Interval time.Duration `json:"interval_ns"` // of Arrived and Admitted
	Arrived  []int         `json:"arrived"`

	Algorithms []Outcome `json:"algorithms"`
}

// Outcome is what one algorithm did.
type Outcome struct {
	Algorithm string `json:"algorithm"`
	Rule      string `json:"rule"`           // by which it decided
	Note      string `json:"note,omitempty"` // why that is not the rule that was given
	Go        string `json:"go"`

	Admitted       int           `json:"admitted"`
	Denied         int           `json:"denied"`
	NeverFits      int           `json:"never_fits,omitempty"` // of the denied, as their cost is more than the burst
	Calls          int           `json:"calls"`                // the cost of what was admitted
	LongestRun     int           `json:"longest_run"`          // of denials
	LongestRunTook time.Duration `json:"longest_run_ns"`       // from the first to the last of them
	RetryMean      time.Duration `json:"retry_mean_ns"`        // RetryAfter, of denials that fit later
	RetryLongest   time.Duration `json:"retry_longest_ns"`

	// Most is the most calls in any window of the period, counted from what was
	// admitted, and MostAt when the last of them was. Bound is what the manual
	// allows, ByCalendar the most in a window by the calendar.
	Most       int       `json:"most"`
	MostAt     time.Time `json:"most_at,omitzero"`
	Bound      int       `json:"bound"`
	ByCalendar int       `json:"by_calendar"`
	Holds      bool      `json:"holds"`

	AdmittedIn []int `json:"admitted_in"` // each Interval
}

// fill takes what the trials have counted.
func (r *Report) fill(trials []*trial, last int64) {
	plot := &trials[0].tally.plot
	r.From = time.UnixMicro(plot.from).UTC()
	if r.Span == 0 {
		r.Span = time.Duration(last-plot.from+1) * time.Microsecond
	}
	for i, t := range trials {
		interval, columns := t.tally.plot.columns(r.Span)
		o := t.outcome()
		for _, c := range columns {
			o.AdmittedIn = append(o.AdmittedIn, c.admitted)
			if i == 0 {
				r.Arrived = append(r.Arrived, c.arrived)
			}
		}
		r.Interval, r.Arrivals = interval, o.Admitted+o.Denied
		r.Algorithms = append(r.Algorithms, o)
	}
}

func (t *trial) outcome() Outcome {
	y := &t.tally
	o := Outcome{
		Algorithm: string(t.algorithm.is), Rule: t.rate.String(), Note: t.note, Go: t.line,
		Admitted: y.admitted, Denied: y.denied, NeverFits: y.neverFits, Calls: y.cost,
		LongestRun: y.runMost, LongestRunTook: y.runTook, RetryLongest: y.retryLongest,
		Most: y.most.calls, Bound: y.bound(), ByCalendar: y.mostByDate.calls, Holds: y.holds(),
	}
	if y.most.calls > 0 {
		o.MostAt = time.UnixMicro(y.most.at).UTC()
	}
	if y.retries > 0 {
		o.RetryMean = y.retryMean()
	}
	return o
}

// err returns ErrBound if there is an algorithm that has not kept its bound.
func (r *Report) err() error {
	for _, o := range r.Algorithms {
		if !o.Holds {
			return fmt.Errorf("%w: %s by %s: %d calls until %v in a window, at most %d; %d in one by the calendar",
				ErrBound, o.Algorithm, o.Rule, o.Most, o.MostAt.Format(time.RFC3339Nano), o.Bound, o.ByCalendar)
		}
	}
	return nil
}

func (r *Report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}
