package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Verdict is one claim, checked against what the server holds.
type Verdict struct {
	Primitive string `json:"primitive"`
	Claim     string `json:"claim"`
	Found     string `json:"found"` // what the server holds
	Holds     bool   `json:"holds"`
}

// Report is the outcome of a performance.
type Report struct {
	Server   string    `json:"server"`
	Off      []string  `json:"off,omitempty"`
	Story    []string  `json:"story,omitempty"`
	Verdicts []Verdict `json:"verdicts"`
	Seconds  float64   `json:"seconds"`
}

func (r *Report) err() error {
	for _, v := range r.Verdicts {
		if !v.Holds {
			return fmt.Errorf("%w: %s: %s: %s", ErrVerdict, v.Primitive, v.Claim, v.Found)
		}
	}
	return nil
}

// teller writes the story as it happens, or keeps it for the JSON document.
type teller struct {
	w     io.Writer
	color bool
	json  bool
	start time.Time
	story []string
}

func newTeller(o Options) *teller {
	return &teller{w: o.Out, json: o.JSON, color: isTerminal(o.Out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", start: time.Now()}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (t *teller) style(code, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *teller) open(r *Report) {
	if t.json {
		return
	}
	fmt.Fprintf(t.w, "%s  server: %s\n", t.style(bold, "redisX demo"), r.Server)
	for _, off := range r.Off {
		fmt.Fprintf(t.w, "  not here: %s\n", off)
	}
}

func (t *teller) scene(n int, title string) {
	if !t.json {
		fmt.Fprintf(t.w, "\n%s\n", t.style(bold, fmt.Sprintf("%d. %s", n, title)))
	}
}

// say tells one event, with the seconds since the beginning.
func (t *teller) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	at := fmt.Sprintf("%5.2fs", time.Since(t.start).Seconds())
	if t.json {
		t.story = append(t.story, strings.TrimSpace(at)+" "+line)
		return
	}
	fmt.Fprintf(t.w, "  %s  %s\n", t.style(dim, at), line)
}

func (t *teller) close(r *Report) {
	if t.json {
		r.Story = t.story
		enc := json.NewEncoder(t.w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		enc.Encode(r)
		return
	}
	width := 0
	for _, v := range r.Verdicts {
		width = max(width, len(v.Claim))
	}
	fmt.Fprintf(t.w, "\n%s\n", t.style(bold, "Verdicts, from what the server holds"))
	held := 0
	for _, v := range r.Verdicts {
		mark := t.style(green, "holds")
		if v.Holds {
			held++
		} else {
			mark = t.style(red, "FAILS")
		}
		fmt.Fprintf(t.w, "  %s  %-8s %-*s  %s\n", mark, v.Primitive, width, v.Claim, v.Found)
	}
	fmt.Fprintf(t.w, "\n%d of %d verdicts hold, in %.1f s.\n", held, len(r.Verdicts), r.Seconds)
}

// isTerminal reports whether f is one. A character device is close enough: the
// demo only decides on colours and on asking for another round.
func isTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
