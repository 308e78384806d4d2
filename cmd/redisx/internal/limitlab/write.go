package limitlab

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redisx/redisx/ds/limiter"
)

const (
	labelWidth = 20
	cellWidth  = 15 // four of them and a label make 80 columns
	plotHeight = 5
	scaleWidth = 8
)

// Colours, as ANSI numbers them.
const (
	bold  = "1"
	red   = "31"
	green = "32"
)

// page writes lines, with or without colours.
type page struct {
	strings.Builder
	color bool
}

func (p *page) style(code, s string) string {
	if !p.color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// writeText writes the report for people, in 80 columns where names and rules are
// not too long for that.
func (r *Report) writeText(w io.Writer, color bool) error {
	p := &page{color: color}
	seed := ""
	if r.Seed != nil {
		seed = fmt.Sprintf(", seed %d", *r.Seed)
	}
	p.line("rule      %s, burst %d", rateText(r.Rate), r.Burst)
	p.line("arrivals  %d in %s: %s%s", r.Arrivals, span(r.Span), clean(r.Source), seed)
	p.WriteByte('\n')
	r.table(p)
	r.plots(p)
	p.line("\n%s", p.style(bold, "To paste"))
	for _, o := range r.Algorithms {
		p.line("  %s", o.Go)
	}
	r.notes(p)
	_, err := io.WriteString(w, p.String())
	return err
}

func (r *Report) table(p *page) {
	row := func(label string, cell func(o Outcome) string) {
		fmt.Fprintf(p, "%-*s", labelWidth, label)
		for _, o := range r.Algorithms {
			text := cell(o)
			p.WriteString(strings.Repeat(" ", max(1, cellWidth-utf8.RuneCountInString(text))))
			switch {
			case label == "":
				text = p.style(bold, text)
			case text == "holds":
				text = p.style(green, text)
			case text == "BROKEN":
				text = p.style(red, text)
			}
			p.WriteString(text)
		}
		p.WriteByte('\n')
	}
	row("", func(o Outcome) string { return o.Algorithm })
	row("burst", func(o Outcome) string {
		rule, _ := limiter.ParseRate(o.Rule)
		return strconv.Itoa(rule.Burst)
	})
	row("admitted", func(o Outcome) string { return strconv.Itoa(o.Admitted) })
	row("denied", func(o Outcome) string { return strconv.Itoa(o.Denied) })
	never, costly := 0, false
	for _, o := range r.Algorithms {
		never += o.NeverFits
		costly = costly || o.Calls != o.Admitted
	}
	if never > 0 {
		row("  never fit", func(o Outcome) string { return strconv.Itoa(o.NeverFits) })
	}
	if costly {
		row("admitted calls", func(o Outcome) string { return strconv.Itoa(o.Calls) })
	}
	row("denied in a row", func(o Outcome) string { return strconv.Itoa(o.LongestRun) })
	row("  within", func(o Outcome) string { return span(o.LongestRunTook) })
	row("retry after, mean", func(o Outcome) string { return span(o.RetryMean) })
	row("  longest", func(o Outcome) string { return span(o.RetryLongest) })
	row("most in any "+r.period(), func(o Outcome) string { return strconv.Itoa(o.Most) })
	row("  by the manual", func(o Outcome) string { return "at most " + strconv.Itoa(o.Bound) })
	row("", func(o Outcome) string { return map[bool]string{true: "holds", false: "BROKEN"}[o.Holds] })
}

func (r *Report) period() string {
	rate, _ := limiter.ParseRate(r.Rate)
	return short(rate.Per)
}

// plots draws what was admitted of what arrived, one under the other, on one
// scale.
func (r *Report) plots(p *page) {
	top := 0
	for _, n := range r.Arrived {
		top = max(top, n)
	}
	p.line("\narrivals in %s each: %s admitted, %s denied", span(r.Interval), p.style(green, string(full)), p.style(red, string(denied)))
	for _, o := range r.Algorithms {
		p.line("%*s %s", scaleWidth, "", p.style(bold, o.Algorithm))
		for y := plotHeight - 1; y >= 0; y-- {
			scale := ""
			switch y {
			case plotHeight - 1:
				scale = strconv.Itoa(top)
			case 0:
				scale = "0"
			}
			p.line("%*s ┤%s", scaleWidth-1, scale, r.plotLine(p, o, y, top))
		}
	}
	begin, end := "0s", span(r.Span)
	p.line("%*s %s%*s", scaleWidth, "", begin, max(1, len(r.Arrived)-len(begin)), end)
}

// plotLine draws the cells of one height.
func (r *Report) plotLine(p *page, o Outcome, y, top int) string {
	colour := map[rune]string{full: green, half: green, little: green, denied: red}
	var line strings.Builder
	for i := 0; i < len(r.Arrived); {
		c := cell(o.AdmittedIn[i], r.Arrived[i], y, top)
		n := 1
		for i+n < len(r.Arrived) && cell(o.AdmittedIn[i+n], r.Arrived[i+n], y, top) == c {
			n++
		}
		same := strings.Repeat(string(c), n)
		if c != ' ' {
			same = p.style(colour[c], same)
		}
		line.WriteString(same)
		i += n
	}
	return strings.TrimRight(line.String(), " ")
}

const (
	full   = '█'
	half   = '▄'
	little = '▁' // some, in the lowest cell
	denied = '░'
)

// cell returns what is drawn of a column at a height: halves of what was
// admitted, and above it what was denied.
func cell(admitted, arrived, y, top int) rune {
	quarters := func(n int) int { return 4*plotHeight*n/top - 4*y } // of this cell, that n fills
	switch {
	case quarters(admitted) >= 3:
		return full
	case quarters(admitted) >= 1:
		return half
	case quarters(arrived) >= 2:
		return denied
	case y == 0 && admitted > 0:
		return little
	case y == 0 && arrived > 0:
		return denied
	}
	return ' '
}

// notes says what the numbers do not.
func (r *Report) notes(p *page) {
	p.WriteByte('\n')
	for _, o := range r.Algorithms {
		rule, _ := limiter.ParseRate(o.Rule)
		if o.Note != "" {
			p.line("%s: burst %d instead of %d, as %s", o.Algorithm, rule.Burst, r.Burst, o.Note)
		}
		if o.Algorithm == string(limiter.FixedWindow) {
			p.line("%s: most in a %s by the calendar %d, at most %d by the manual", o.Algorithm, r.period(), o.ByCalendar, rule.Count)
		}
	}
}

// span returns a duration in as much detail as is of use.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		d = d.Round(time.Microsecond)
		if d >= 10*time.Millisecond {
			d = d.Round(time.Millisecond)
		}
	case d < time.Minute:
		d = d.Round(10 * time.Millisecond)
	default:
		d = d.Round(time.Second)
	}
	return short(d)
}

func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// clean returns text without what does not belong on a terminal.
func clean(text string) string {
	if q := strconv.Quote(text); q[1:len(q)-1] != text {
		return q
	}
	return text
}
