package limitlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	maxLine = 4096 // bytes of a line that are looked at
	// latest is as late as the scripts of ds/limiter can count µs, and then some years.
	latest = "2200-01-01T00:00:00Z"
)

// LineError reports a line of a recording that is no arrival.
type LineError struct {
	File   string
	Line   int // from 1 on
	Reason string
}

// Error says where and what it is.
func (e *LineError) Error() string {
	return fmt.Sprintf("limit lab: %s, line %d: %s", e.File, e.Line, e.Reason)
}

// Explain says what a line must look like.
func (e *LineError) Explain() string {
	return "An arrival is a line that begins with its time: RFC 3339 (2026-01-02T15:04:05Z), or Unix time in s, ms, µs or ns. " +
		"A comma and a cost may follow; what follows a space is not read. Times must not fall: sort the file first."
}

// recorded returns the arrivals of a file, which is read as they are asked for.
func recorded(ctx context.Context, in io.Reader, name string, cost int) arrivals {
	return func(yield func(arrival, error) bool) {
		r := bufio.NewReaderSize(in, maxLine)
		var first, last arrival
		n := 0
		for number := 1; ; number++ {
			text, err := line(r)
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(arrival{}, fmt.Errorf("limit lab: %s: %w", name, err))
				return
			}
			if number == 1 {
				text = strings.TrimPrefix(text, "\ufeff")
			}
			text = strings.TrimSpace(text)
			if text == "" || text[0] == '#' {
				continue
			}
			a, err := arrivalOf(text, cost)
			switch {
			case err != nil:
			case n == 0:
				first = a
			case a.at < last.at:
				err = fmt.Errorf("it is %v earlier than the one before", time.Duration(last.at-a.at)*time.Microsecond)
			case a.at-first.at >= maxSpan.Microseconds():
				err = fmt.Errorf("it is more than %d days after the first", maxSpan/day)
			}
			if err != nil {
				yield(arrival{}, &LineError{name, number, err.Error()})
				return
			}
			if n == maxArrivals {
				yield(arrival{}, errTooMany(name))
				return
			}
			if !yield(a, nil) {
				return
			}
			n++
			last = a
		}
		if n == 0 {
			yield(arrival{}, errNone(name))
		}
	}
}

// line returns a line without its end, which the last one may lack. Of one that
// is too long it returns the beginning, marked so that no number seems to end
// there.
func line(r *bufio.Reader) (string, error) {
	part, err := r.ReadSlice('\n')
	text := string(part)
	if errors.Is(err, bufio.ErrBufferFull) {
		text += "…"
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	if err != nil && (text == "" || !errors.Is(err, io.EOF)) {
		return "", err
	}
	return text, nil
}

// arrivalOf reads "TIME", "TIME,COST", or either with a space and what else the
// line of a log has.
func arrivalOf(text string, cost int) (arrival, error) {
	end := strings.IndexAny(text, ", \t;")
	if end < 0 {
		end = len(text)
	}
	at, err := timeOf(text[:end])
	if err != nil {
		return arrival{}, err
	}
	if rest, ok := strings.CutPrefix(text[end:], ","); ok {
		rest = strings.TrimLeft(rest, " \t")
		if end := strings.IndexAny(rest, ", \t"); end >= 0 {
			rest = rest[:end]
		}
		if cost, err = strconv.Atoi(rest); err != nil || cost < 1 {
			return arrival{}, fmt.Errorf("the cost %s is not a whole number, at least 1", quoted(rest))
		}
	}
	return arrival{at, cost}, nil
}

// timeOf reads a time, in µs since 1970. What Unix time counts is told by how
// much it is: in 5138 seconds become as many as milliseconds were in 1973.
func timeOf(text string) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t, err = unixTime(text)
	}
	if err != nil {
		return 0, err
	}
	if end, _ := time.Parse(time.RFC3339, latest); t.Before(time.Unix(0, 0)) || t.After(end) {
		return 0, fmt.Errorf("the time %s is not within 1970 and 2200", quoted(text))
	}
	return t.UnixMicro(), nil
}

func unixTime(text string) (time.Time, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(fraction) > 9 || strings.Trim(fraction, "0123456789") != "" || strings.HasSuffix(text, ".") {
		return time.Time{}, fmt.Errorf("%s is no time", quoted(text))
	}
	unit := time.Second
	for _, finer := range []time.Duration{time.Millisecond, time.Microsecond, time.Nanosecond} {
		if n >= 1e11*int64(time.Second/unit) {
			unit = finer
		}
	}
	part, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64) // in 10^-9 units
	ticks := int64(time.Second / unit)
	return time.Unix(n/ticks, n%ticks*int64(unit)+part*int64(unit)/int64(time.Second)), nil
}

// quoted returns text fit for a terminal, and short.
func quoted(text string) string {
	if len(text) > 40 {
		return strconv.Quote(text[:40]) + "…"
	}
	return strconv.Quote(text)
}
