package limitlab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/limiter"
)

// lab runs a lab and returns what it prints.
func lab(t *testing.T, o Options) (string, error) {
	t.Helper()
	var out bytes.Buffer
	o.Out = &out
	if o.Cost == 0 {
		o.Cost = 1
	}
	err := Run(t.Context(), o)
	return out.String(), err
}

const mixed = "steady:3/s,burst:50@5s,poisson:2/s"

func TestTheSameSeedIsTheSameReplay(t *testing.T) {
	t.Parallel()
	play := func(seed uint64) (string, Report) {
		out, err := lab(t, Options{Rate: "100/m", Burst: 20, Traffic: mixed, For: 10 * time.Second, Seed: seed, JSON: true})
		var r Report
		if err := errors.Join(err, json.Unmarshal([]byte(out), &r)); err != nil {
			t.Fatal(err)
		}
		return out, r
	}
	first, r := play(7)
	if again, _ := play(7); again != first {
		t.Errorf("%s\nand then\n%s", first, again)
	}
	if _, other := play(8); slices.Equal(other.Arrived, r.Arrived) {
		t.Error("another seed changes nothing")
	}
}

func TestTheReportFitsItsNumbers(t *testing.T) {
	t.Parallel()
	o := Options{Rate: "100/m", Burst: 20, Traffic: mixed, For: 20 * time.Second, Seed: 7, JSON: true}
	out, err := lab(t, o)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if n := sum(r.Arrived); n != r.Arrivals || r.Span != 20*time.Second || len(r.Arrived) != 40 || r.Interval != 500*time.Millisecond || *r.Seed != 7 {
		t.Errorf("%d arrivals, %d of them in %d columns of %v", r.Arrivals, n, len(r.Arrived), r.Interval)
	}
	for _, a := range r.Algorithms {
		if sum(a.AdmittedIn) != a.Admitted || a.Admitted+a.Denied != r.Arrivals || !a.Holds || a.Most > a.Bound || len(a.AdmittedIn) != len(r.Arrived) {
			t.Errorf("%+v", a)
		}
		for i, n := range a.AdmittedIn {
			if n > r.Arrived[i] {
				t.Errorf("%s: %d admitted of %d in column %d", a.Algorithm, n, r.Arrived[i], i)
			}
		}
	}

	o.JSON = false
	plain, err := lab(t, o)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(plain) {
		if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 80 && !strings.Contains(line, "instead of") {
			t.Errorf("more than 80 columns: %s", line)
		}
	}
	o.Color = true
	coloured, err := lab(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(coloured, "\x1b[32m") || strings.Contains(plain, "\x1b") || stripped(coloured) != plain {
		t.Errorf("colours are more than colours:\n%s\n%s", plain, stripped(coloured))
	}
}

func stripped(s string) string {
	for _, code := range []string{bold, red, green, "0"} {
		s = strings.ReplaceAll(s, "\x1b["+code+"m", "")
	}
	return s
}

func sum(numbers []int) int {
	n := 0
	for _, i := range numbers {
		n += i
	}
	return n
}

// client stands for one; nothing is asked of it.
var client command.Doer

// pasted are the lines of these rules, as a program has them.
var pasted = []*limiter.Limiter{
	limiter.New(client, "100/m", limiter.Burst(20)),
	limiter.New(client, "100/m", limiter.Using(limiter.TokenBucket)),
	limiter.New(client, "100/m", limiter.Using(limiter.FixedWindow)),
	limiter.New(client, "100/m", limiter.Using(limiter.SlidingWindow)),
	limiter.New(client, "5/500ms"),
	limiter.New(client, "5/500ms", limiter.Burst(9), limiter.Using(limiter.TokenBucket)),
}

func TestTheLinesToPasteAreGo(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("lab_test.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, tt := range []struct{ rate, names string }{
		{"100/m burst 20", "gcra,token,fixed,sliding"}, {"5/500ms", "gcra"}, {"5/500ms burst 9", "token"},
	} {
		out, err := lab(t, Options{Rate: tt.rate, Algorithms: strings.Split(tt.names, ","), Traffic: "burst:1@0s"})
		if err != nil {
			t.Fatal(err)
		}
		_, out, _ = strings.Cut(out, "To paste\n")
		for line := range strings.Lines(out) {
			if line, ok := strings.CutPrefix(line, "  "); ok {
				lines++
				if !bytes.Contains(source, []byte("\t"+strings.TrimSuffix(line, "\n")+",\n")) {
					t.Errorf("this program does not have %s", line)
				}
			}
		}
	}
	if lines != len(pasted) {
		t.Errorf("%d lines, want %d", lines, len(pasted))
	}
}

func TestWhatCannotBeReplayedIsSaid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"no rate", Options{Rate: "100"}, `want a form like "100/m"`},
		{"a negative burst", Options{Rate: "100/m", Burst: -1}, "a burst of -1"},
		{"an unknown algorithm", Options{Rate: "100/m", Algorithms: []string{"gcra", "leaky"}}, `no algorithm "leaky": there are gcra, token, fixed, sliding`},
		{"no cost", Options{Rate: "100/m", Cost: -1}, "a cost of -1"},
		{"unknown traffic", Options{Rate: "100/m", Traffic: "wave:3/s"}, "want steady:3/s, poisson:2/s or burst:50@10s"},
		{"traffic with no rate", Options{Rate: "100/m", Traffic: "steady:3"}, `want a form like`},
		{"traffic with a burst", Options{Rate: "100/m", Traffic: "steady:3/s burst 5"}, "want a rate such as 3/s"},
		{"a burst at no time", Options{Rate: "100/m", Traffic: "burst:50"}, "when they come"},
		{"a burst of nothing", Options{Rate: "100/m", Traffic: "burst:0@1s"}, "when they come"},
		{"a burst before the beginning", Options{Rate: "100/m", Traffic: "burst:5@-1s"}, "no time from the beginning"},
		{"a burst after the end", Options{Rate: "100/m", Traffic: "burst:5@1h", For: time.Minute}, "after the end"},
		{"bursts without end", Options{Rate: "100/m", Traffic: "burst:5@1s/0s"}, "no time between"},
		{"too much", Options{Rate: "100/m", Traffic: "steady:1000000/s", For: time.Minute}, "60000000 arrivals in 1m0s: 1000000 are the most"},
		{"too many bursts", Options{Rate: "100/m", Traffic: "burst:1000@0s/1us", For: time.Minute}, "1000000 are the most"},
		{"too long", Options{Rate: "1/d", For: 4097 * day}, "is not within"},
		{"backwards", Options{Rate: "1/d", For: -time.Second}, "is not within"},
		{"too many kinds", Options{Rate: "1/d", Traffic: strings.Repeat("steady:1/s,", 16) + "steady:1/s"}, "17 kinds of traffic"},
		{"chance brings nothing", Options{Rate: "1/d", Traffic: "poisson:1/365h", For: time.Second}, "no arrivals in the traffic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := lab(t, tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || out != "" {
				t.Errorf("%v and %q, want %q", err, out, tt.want)
			}
		})
	}
}

func TestAReplayEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	endless := func(yield func(arrival, error) bool) {
		for at := synthetic.UnixMicro(); ; at++ {
			if n++; n == 2*chunkSize {
				cancel()
			}
			if !yield(arrival{at, 1}, nil) {
				return
			}
		}
	}
	trials := []*trial{trialOf(t, algorithms[0], "5/s", 0), trialOf(t, algorithms[3], "5/s", 0)}
	if _, err := replay(ctx, endless, trials); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n > 20*chunkSize {
		t.Errorf("%d arrivals were read ahead", n)
	}
}

func TestAServerThatIsGoneEndsTheReplay(t *testing.T) {
	t.Parallel()
	trials := []*trial{trialOf(t, algorithms[0], "5/s", 0), trialOf(t, algorithms[1], "5/s", 0)}
	endless := func(yield func(arrival, error) bool) {
		for n, at := 0, synthetic.UnixMicro(); yield(arrival{at, 1}, nil); at++ {
			if n++; n == 2*chunkSize {
				trials[1].client.Close()
			}
		}
	}
	if _, err := replay(t.Context(), endless, trials); err == nil || !strings.Contains(err.Error(), "token bucket") {
		t.Errorf("error %v, want that of the token bucket", err)
	}
}

func TestTheShortestPeriodHasTrafficOfItsOwn(t *testing.T) {
	t.Parallel()
	if out, err := lab(t, Options{Rate: "5/100us"}); err != nil || !strings.Contains(out, " in 1ms: poisson:10/100µs") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestProgressIsTold(t *testing.T) {
	t.Parallel()
	var told []int
	_, err := lab(t, Options{Rate: "1/s", Algorithms: []string{"fixed"}, Traffic: "burst:600@0s", Progress: func(n int) { told = append(told, n) }})
	if err != nil || !slices.Equal(told, []int{256, 512}) {
		t.Errorf("%v, %v", told, err)
	}
}

func TestTrafficIsWhatItSays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		traffic string
		span    time.Duration
		want    []time.Duration
	}{
		{"steady:3/s", time.Second, []time.Duration{0, 333333 * time.Microsecond, 666666 * time.Microsecond}},
		{"burst:2@1s", time.Minute, []time.Duration{time.Second, time.Second}},
		{"burst:1@1s/2s,steady:1/3s", 5 * time.Second, []time.Duration{0, time.Second, 3 * time.Second, 3 * time.Second}},
		{"steady:1000000/3000h", 33 * time.Second, []time.Duration{0, 10800 * time.Millisecond, 21600 * time.Millisecond, 32400 * time.Millisecond}},
	} {
		if got := timesOf(t, tt.traffic, tt.span); !slices.Equal(got, tt.want) {
			t.Errorf("%s in %v: %v, want %v", tt.traffic, tt.span, got, tt.want)
		}
	}
	chance := timesOf(t, "poisson:100/s", 100*time.Second)
	if n := len(chance); n < 9600 || n > 10400 || !slices.IsSorted(chance) { // four standard deviations
		t.Errorf("%d arrivals at random in 100 s, want some 10000", n)
	}
	within := 0
	for i := 1; i < len(chance); i++ {
		if chance[i]-chance[i-1] < 10*time.Millisecond {
			within++
		}
	}
	if part := float64(within) / float64(len(chance)); part < 0.61 || part > 0.65 { // 1 - 1/e
		t.Errorf("%.3f of the gaps are shorter than the mean, want 0.632", part)
	}
}

func timesOf(t *testing.T, traffic string, span time.Duration) []time.Duration {
	t.Helper()
	sources, err := sourcesOf(traffic, span)
	if err != nil {
		t.Fatal(err)
	}
	var times []time.Duration
	for a, err := range played(sources, span, 1, 1) {
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Duration(a.at-synthetic.UnixMicro())*time.Microsecond)
	}
	return times
}

func TestAPlotIsBoundedHoweverLongItIs(t *testing.T) {
	t.Parallel()
	for _, span := range []time.Duration{time.Microsecond, time.Second, 41 * time.Second, time.Hour, 12 * time.Hour, 100 * day, maxSpan} {
		var h histogram
		const n = 997
		for i := range int64(n) {
			h.add(1+int64(span.Microseconds()-1)*i/(n-1), int(i%2))
		}
		width, columns := h.columns(span)
		arrived, admitted := 0, 0
		for _, c := range columns {
			arrived, admitted = arrived+c.arrived, admitted+c.admitted
		}
		if arrived != n || admitted != n/2 || len(h.buckets) > maxBuckets || len(columns) > maxColumns || time.Duration(len(columns))*width < span || span > time.Second && len(columns) < 10 {
			t.Errorf("%v: %d and %d in %d columns of %v", span, arrived, admitted, len(columns), width)
		}
	}
}

func TestACellShowsWhatReachesIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		admitted, arrived int
		want              string // from below
	}{
		{20, 20, "█████"}, {0, 20, "░░░░░"}, {10, 20, "██▄░░"}, {1, 20, "▄░░░░"}, {4, 4, "█    "}, {0, 1, "░    "}, {0, 0, "     "}, {8, 9, "██   "}, {8, 10, "██░  "},
	} {
		var got strings.Builder
		for y := range plotHeight {
			got.WriteRune(cell(tt.admitted, tt.arrived, y, 20))
		}
		if got.String() != tt.want {
			t.Errorf("%d of %d: %q, want %q", tt.admitted, tt.arrived, got.String(), tt.want)
		}
	}
	if c := cell(1, 1, 0, 100); c != little {
		t.Errorf("one of 100 is drawn as %q", c)
	}
}

func TestDurationsAreShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 593123 * time.Microsecond: "593ms", 1234567: "1.235ms", 20904 * time.Millisecond: "20.9s", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", 5*time.Minute + 3*time.Second: "5m3s",
		10 * time.Minute: "10m", 10 * time.Hour: "10h",
	} {
		if got := span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
