package resp3_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/redisx/redisx/resp3"
)

func TestValidFrames(t *testing.T) {
	t.Parallel()
	for _, tt := range valid {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, rest, err := resp3.Decode([]byte(tt.in + "+rest"))
			if err != nil || string(rest) != "+rest" {
				t.Fatalf("Decode(%q) left %q, error %v", tt.in, rest, err)
			}
			if got := render(v); got != tt.value {
				t.Errorf("Decode(%q) = %s, want %s", tt.in, got, tt.value)
			}
			again, _, err := resp3.Decode(v.Append(nil))
			if err != nil || again != v {
				t.Errorf("Decode of Append(%q) = %s, %v", tt.in, render(again), err)
			}
			view, err := resp3.NewReader(strings.NewReader(tt.in), resp3.Limits{}).Read()
			if err != nil {
				t.Fatalf("Read(%q): %v", tt.in, err)
			}
			if got := renderView(view); got != bare(v) {
				t.Errorf("Read(%q) = %s, want %s", tt.in, got, bare(v))
			}
			for i := range tt.in {
				if v, rest, err := resp3.Decode([]byte(tt.in[:i])); err != io.ErrUnexpectedEOF || len(rest) != i {
					t.Errorf("Decode(%q) = %s, %v, want io.ErrUnexpectedEOF", tt.in[:i], render(v), err)
				}
			}
		})
	}
}

func TestInvalidFramesAreRefusedAtTheFirstWrongByte(t *testing.T) {
	t.Parallel()
	for _, tt := range invalid {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := tt.at
			if at == 0 {
				at = len(tt.in)
			}
			for i := range len(tt.in) + 1 {
				_, _, err := resp3.Decode([]byte(tt.in[:i]))
				checkError(t, tt.in[:i], err, i >= at, "")
			}
			_, _, err := resp3.Decode([]byte(tt.in))
			checkError(t, tt.in, err, true, tt.reason)

			// The same byte by byte, where the scanner stops at each.
			src := &arrivals{pieces: split(tt.in, 1)}
			r := resp3.NewReader(src, resp3.Limits{})
			_, err = r.Read()
			checkError(t, tt.in, err, true, "")
			if got := len(tt.in) - len(src.pieces); got != at {
				t.Errorf("Read(%q) failed after %d bytes, want %d", tt.in, got, at)
			}
			if _, again := r.Read(); again != err {
				t.Errorf("a dead Reader returned %v, want %v", again, err)
			}
			if _, ok, again := r.Poll(); ok || again != err {
				t.Errorf("a dead Reader polled %v, want %v", again, err)
			}
		})
	}
}

func checkError(t *testing.T, in string, err error, want bool, reason string) {
	t.Helper()
	var pe *resp3.ProtocolError
	switch {
	case want && !errors.As(err, &pe):
		t.Errorf("%q: error %v, want a ProtocolError", in, err)
	case want && !strings.Contains(pe.Reason, reason):
		t.Errorf("%q: reason %q, want one with %q", in, pe.Reason, reason)
	case want && len(pe.Near) > 140:
		t.Errorf("%q: quotes %d bytes", in, len(pe.Near))
	case !want && err != io.ErrUnexpectedEOF:
		t.Errorf("%q: error %v, want io.ErrUnexpectedEOF", in, err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for _, tt := range limited {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1, 2, 3, 7, len(tt.in) + 100} {
				_, err := resp3.NewReader(&arrivals{pieces: split(tt.in, size)}, tt.lim).Read()
				checkError(t, tt.in, err, true, "")
				v, err := resp3.NewReader(&arrivals{pieces: split(tt.passes, size)}, tt.lim).Read()
				if err != nil {
					t.Errorf("Read(%q) within the limit, %d bytes at a time = %v, %v", tt.passes, size, v.Kind(), err)
				}
			}
		})
	}
}

func TestHugeLimitsDoNotOverflow(t *testing.T) {
	t.Parallel()
	const most = int(^uint(0) >> 1)
	lim := resp3.Limits{Depth: most, Line: most, Bulk: most, Elements: most, Frame: most, Attributes: most, AttributeBytes: most, Streamed: most}
	for _, tt := range invalid {
		if strings.Contains(tt.reason, "over the limit") && strings.Contains(tt.in, "9223372036854775807") {
			_, err := resp3.NewReader(strings.NewReader(tt.in), lim).Read()
			checkError(t, tt.in, err, true, "")
		}
	}
	for _, tt := range valid {
		if _, err := resp3.NewReader(strings.NewReader(tt.in), lim).Read(); err != nil {
			t.Errorf("Read(%q): %v", tt.in, err)
		}
	}
}

// arrivals is a source whose reads return the pieces one by one, then io.EOF.
type arrivals struct{ pieces []string }

func (a *arrivals) Read(p []byte) (int, error) {
	if len(a.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, a.pieces[0])
	if a.pieces[0] = a.pieces[0][n:]; a.pieces[0] == "" {
		a.pieces = a.pieces[1:]
	}
	return n, nil
}

func split(s string, size int) []string {
	var pieces []string
	for len(s) > size {
		pieces, s = append(pieces, s[:size]), s[size:]
	}
	return append(pieces, s)
}

// readAll returns all frames of src as encoded values, and the error that
// ended them.
func readAll(src io.Reader, lim resp3.Limits) ([]string, error) {
	r := resp3.NewReader(src, lim)
	var frames []string
	for {
		if _, err := r.Read(); err != nil {
			return frames, err
		}
		frames = append(frames, string(r.Frame()))
	}
}

func TestAnySplitEqualsWhole(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, tt := range valid {
		all.WriteString(tt.in)
	}
	whole, err := readAll(strings.NewReader(all.String()), resp3.Limits{})
	if err != io.EOF || len(whole) != len(valid) {
		t.Fatalf("%d frames, %v", len(whole), err)
	}
	compare := func(name string, src io.Reader) {
		t.Helper()
		got, err := readAll(src, resp3.Limits{})
		if err != io.EOF || strings.Join(got, "\x00") != strings.Join(whole, "\x00") {
			t.Errorf("%s: %d frames, %v", name, len(got), err)
		}
	}
	compare("one byte at a time", iotest.OneByteReader(strings.NewReader(all.String())))
	compare("half of what is asked for", iotest.HalfReader(strings.NewReader(all.String())))
	compare("the error with the last bytes", iotest.DataErrReader(strings.NewReader(all.String())))
	for i := 1; i < all.Len(); i++ {
		compare("two pieces", &arrivals{pieces: []string{all.String()[:i], all.String()[i:]}})
	}
	for _, tt := range valid { // three pieces of each frame
		for i := 1; i < len(tt.in); i++ {
			for j := i + 1; j < len(tt.in); j++ {
				r := resp3.NewReader(&arrivals{pieces: []string{tt.in[:i], tt.in[i:j], tt.in[j:]}}, resp3.Limits{})
				v, err := r.Read()
				if err != nil {
					t.Fatalf("%s: %q %q %q: %v", tt.name, tt.in[:i], tt.in[i:j], tt.in[j:], err)
				}
				d, _, _ := resp3.Decode([]byte(tt.in))
				if got := renderView(v); got != bare(d) {
					t.Fatalf("%s: split at %d and %d = %s, want %s", tt.name, i, j, got, bare(d))
				}
			}
		}
	}
}

// readParts is readAll with every unfinished frame put aside at each read, so
// that it is joined from parts that end wherever the scanner lets them.
func readParts(src io.Reader, lim resp3.Limits, size int) ([]string, error) {
	r := resp3.NewReader(src, lim)
	var frames []string
	for {
		_, ok, err := r.Poll()
		switch {
		case err != nil:
			return frames, err
		case ok:
			frames = append(frames, string(r.Frame()))
			continue
		}
		had := r.Buffered()
		r.Seal(size)
		if r.Buffered() != had {
			return frames, errors.New("Buffered changed")
		}
		if err := r.Fill(); err != nil {
			if err == io.EOF && r.Buffered() > 0 {
				err = io.ErrUnexpectedEOF
			}
			return frames, err
		}
	}
}

// TestFramesInPartsEqualWhole: what a frame is, and what is wrong with it, does
// not depend on where a large one is cut into parts.
func TestFramesInPartsEqualWhole(t *testing.T) {
	t.Parallel()
	type stream struct {
		in  string
		lim resp3.Limits
	}
	var streams []stream
	var all strings.Builder
	for _, tt := range valid {
		streams = append(streams, stream{in: tt.in + tt.in})
		all.WriteString(tt.in)
	}
	streams = append(streams, stream{in: all.String()})
	for _, tt := range invalid {
		streams = append(streams, stream{in: "*2\r\n+a\r\n" + tt.in}, stream{in: "|1\r\n+a\r\n+b\r\n" + tt.in}, stream{in: tt.in})
	}
	for _, tt := range limited {
		streams = append(streams, stream{tt.in, tt.lim}, stream{tt.passes + tt.passes, tt.lim})
	}
	for _, s := range streams {
		whole, want := readAll(strings.NewReader(s.in), s.lim)
		for _, piece := range []int{1, 2, 3, 5, 8, 64} {
			for _, size := range []int{1, 7, 100} {
				got, err := readParts(&arrivals{pieces: split(s.in, piece)}, s.lim, size)
				if strings.Join(got, "\x00") != strings.Join(whole, "\x00") || !sameReason(err, want) {
					t.Errorf("%.200q in parts, %d bytes at a time: %q, %v; whole: %q, %v", s.in, piece, got, err, whole, want)
				}
			}
		}
	}
}

// sameReason compares errors but for the bytes that they quote, and but for
// what a peer that is no server of ours is taken for: both depend on how much
// of the wrong bytes is there.
func sameReason(a, b error) bool {
	var p, q *resp3.ProtocolError
	if errors.As(a, &p) && errors.As(b, &q) {
		return p.Reason == q.Reason || strings.HasSuffix(q.Reason, "server answered")
	}
	return a == b
}

func TestDecodeOwnsItsBytes(t *testing.T) {
	t.Parallel()
	in := []byte(mix)
	v, _, err := resp3.Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	want := render(v)
	clear(in)
	if got := render(v); got != want {
		t.Errorf("after its input changed, the value is %s, want %s", got, want)
	}
	if !bytes.Equal(v.Append(nil), []byte(mix)) {
		t.Errorf("Append = %q, want %q", v.Append(nil), mix)
	}
}
