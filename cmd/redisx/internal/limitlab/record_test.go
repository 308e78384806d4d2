package limitlab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func readAll(t *testing.T, in io.Reader) ([]arrival, error) {
	t.Helper()
	var all []arrival
	for a, err := range recorded(t.Context(), in, "a.csv", 5) {
		if err != nil {
			return all, err
		}
		all = append(all, a)
	}
	return all, nil
}

func TestARecordingIsReadLineByLine(t *testing.T) {
	t.Parallel()
	const second = 1767322994 * 1_000_000
	for _, tt := range []struct {
		name, in string
		want     []arrival
	}{
		{"RFC 3339", "2026-01-02T03:03:14Z\n2026-01-02T04:03:14.25+01:00\n", []arrival{{second, 5}, {second + 250_000, 5}}},
		{"seconds", "1767322994\n1767322994.000001999\n", []arrival{{second, 5}, {second + 1, 5}}},
		{"milliseconds", "1767322994001\n1767322994001.5\n", []arrival{{second + 1000, 5}, {second + 1500, 5}}},
		{"microseconds and nanoseconds", "1767322994000007\n1767322994000008999\n", []arrival{{second + 7, 5}, {second + 8, 5}}},
		{"costs", "1767322994,3\n1767322994, 4 x\n1767322994,6,7\n", []arrival{{second, 3}, {second, 4}, {second, 6}}},
		{"a log", "1767322994 GET /a,b 200\n1767322994\tx\n", []arrival{{second, 5}, {second, 5}}},
		{"what is passed over", "\ufeff# time,cost\r\n\r\n  1767322994,3  \r\n \n1767322994", []arrival{{second, 3}, {second, 5}}},
		{"the rest of a long line", "1767322994 " + strings.Repeat("x", 3*maxLine) + "\n1767322994\n", []arrival{{second, 5}, {second, 5}}},
		{"1970", "0\n0.5\n", []arrival{{0, 5}, {500_000, 5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readAll(t, strings.NewReader(tt.in))
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestALineThatIsNoArrivalIsNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		line     int
		reason   string
	}{
		{"a heading", "timestamp,cost\n", 1, `"timestamp" is no time`},
		{"no time", "1767322994\n\n# x\n,3\n", 4, `"" is no time`},
		{"a date", "2026/01/02 03:03:14\n", 1, `"2026/01/02" is no time`},
		{"half a number", "1767322994.\n", 1, "no time"},
		{"too fine a number", "1767322994.0123456789\n", 1, "no time"},
		{"not finite", "NaN\n", 1, "no time"},
		{"before 1970", "-1\n", 1, "not within 1970 and 2200"},
		{"after 2200", "9999-12-31T23:59:59Z\n", 1, "not within 1970 and 2200"},
		{"too large a number", "99999999999999999999\n", 1, "no time"},
		{"no cost", "1767322994,\n", 1, `the cost "" is not`},
		{"a cost of none", "1767322994,0\n", 1, `the cost "0" is not`},
		{"a negative cost", "1767322994,1\n1767322994,-3\n", 2, `the cost "-3" is not`},
		{"half a cost", "1767322994,1.5\n", 1, `the cost "1.5" is not`},
		{"a huge cost", "1767322994,99999999999999999999\n", 1, "is not a whole number"},
		{"out of order", "1767322994\n1767322993.5\n", 2, "500ms earlier than the one before"},
		{"years", "0\n353894399\n353894400\n", 3, "more than 4096 days after the first"},
		{"escapes", "\x1b[2J\n", 1, `"\x1b[2J" is no time`},
		{"a huge line", strings.Repeat("9", 1<<20) + "\n", 1, `"9999999999999999999999999999999999999999"… is no time`},
		{"a cost that is cut off", "1767322994," + strings.Repeat("0", maxLine-12) + "12\n", 1, "is not a whole number"},
		{"nothing but zeroes", strings.Repeat("\x00", 1<<20), 1, "… is no time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readAll(t, strings.NewReader(tt.in))
			var bad *LineError
			if !errors.As(err, &bad) || bad.Line != tt.line || bad.File != "a.csv" || !strings.Contains(bad.Reason, tt.reason) || !strings.Contains(bad.Explain(), "RFC 3339") {
				t.Errorf("%v, want line %d: %s", err, tt.line, tt.reason)
			}
		})
	}
	for _, in := range []string{"", "\n\n", "# nothing"} {
		if _, err := readAll(t, strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), "no arrivals in a.csv") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// repeated is a line so many times.
type repeated struct {
	line string
	n    int
	rest string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.n--
		r.rest = r.line
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestARecordingTakesNoMemoryAndHasAMost(t *testing.T) {
	count := func(in io.Reader) (n int, err error) {
		for _, err := range recorded(t.Context(), in, "a.csv", 1) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	if n, err := count(&repeated{line: "1767322994\n", n: maxArrivals + 1}); n != maxArrivals || err == nil || !strings.Contains(err.Error(), "more than 1000000 arrivals") {
		t.Errorf("%d arrivals, %v", n, err)
	}
	// One line of 64 MB.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := count(io.MultiReader(strings.NewReader("1767322994 "), &repeated{line: strings.Repeat("x", 1<<16), n: 1 << 10}))
	runtime.ReadMemStats(&after)
	if n != 1 || err != nil || after.TotalAlloc-before.TotalAlloc > 8<<20 {
		t.Errorf("%d arrivals, %v, %d bytes of memory", n, err, after.TotalAlloc-before.TotalAlloc)
	}
}

func TestAReadErrorEndsTheReplay(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, "1767322994\n1767")
		w.CloseWithError(errors.New("the disk is gone"))
	}()
	if got, err := readAll(t, r); len(got) != 1 || err == nil || !strings.Contains(err.Error(), "a.csv: the disk is gone") {
		t.Errorf("%v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range recorded(ctx, strings.NewReader("1767322994\n"), "a.csv", 1) {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestARecordingIsReplayedAtItsTimes(t *testing.T) {
	t.Parallel()
	var in bytes.Buffer
	for _, at := range []string{"58", "58", "59", "59.5"} {
		in.WriteString("2026-01-02T03:03:" + at + "Z\n")
	}
	in.WriteString("2026-01-02T03:04:00Z,2\n2026-01-02T03:04:00Z,2\n")
	out, err := lab(t, Options{Rate: "4/m", File: "-", In: &in, JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Arrivals != 6 || r.Source != "standard input" || r.Seed != nil || r.From.Format(time.RFC3339) != "2026-01-02T03:03:58Z" || r.Span != 2*time.Second+time.Microsecond {
		t.Errorf("%+v", r)
	}
	for _, o := range r.Algorithms {
		want := 4
		if o.Algorithm == "fixed window" {
			want = 6 // the minute turns
		}
		if o.Admitted != want || o.Most != map[int]int{4: 4, 6: 8}[want] || !o.Holds {
			t.Errorf("%s: %+v", o.Algorithm, o)
		}
	}
}
