package resp3_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/redisx/redisx/resp3"
)

// fuzzLimits are small, so that inputs of a few bytes can pass them.
var fuzzLimits = resp3.Limits{Depth: 8, Line: 64, Bulk: 512, Elements: 64, Frame: 2048, Attributes: 4, AttributeBytes: 256, Streamed: 8}

func seed(f *testing.F, add func(in string)) {
	for _, tt := range valid {
		add(tt.in)
	}
	for _, tt := range invalid {
		add(tt.in)
	}
	for _, tt := range limited {
		if len(tt.in) < 1000 {
			add(tt.in)
			add(tt.passes)
		}
	}
	for _, in := range hostile {
		if len(in.head) < 1000 {
			add(in.head)
		}
	}
}

// FuzzDecode: no input panics, Decode and a Reader see the same, and what is
// left over is the input's own end.
func FuzzDecode(f *testing.F) {
	seed(f, func(in string) { f.Add([]byte(in)) })
	f.Fuzz(func(t *testing.T, in []byte) {
		v, rest, err := resp3.Decode(in)
		r := resp3.NewReader(bytes.NewReader(in), resp3.Limits{})
		view, rerr := r.Read()
		var pe *resp3.ProtocolError
		switch {
		case err == nil:
			if rerr != nil || !bytes.HasSuffix(in, rest) || len(rest) == len(in) {
				t.Fatalf("Decode left %q, the Reader returned %v", rest, rerr)
			}
			if got := renderView(view); got != bare(v) {
				t.Fatalf("the Reader returned %s, Decode %s", got, bare(v))
			}
			if again, _, err := resp3.Decode(r.Frame()); err != nil || again != v {
				t.Fatalf("Decode(Frame()) = %s, %v, want %s", render(again), err, render(v))
			}
		case errors.As(err, &pe):
			if !errors.As(rerr, &pe) {
				t.Fatalf("Decode returned %v, the Reader %v", err, rerr)
			}
		case err == io.ErrUnexpectedEOF:
			if rerr != io.ErrUnexpectedEOF && (rerr != io.EOF || len(in) > 0) {
				t.Fatalf("Decode returned %v, the Reader %v", err, rerr)
			}
		default:
			t.Fatalf("Decode returned %v", err)
		}
	})
}

// FuzzSplit: a stream cut into pieces anywhere is the same stream, down to the
// frames before an error and the kind of error, also if the frames are kept in
// parts.
func FuzzSplit(f *testing.F) {
	seed(f, func(in string) { f.Add([]byte(in), uint8(3), uint8(5)) })
	f.Fuzz(func(t *testing.T, in []byte, first, size uint8) {
		whole, err := readAll(bytes.NewReader(in), fuzzLimits)
		cut := min(int(first), len(in))
		src := &arrivals{pieces: append([]string{string(in[:cut])}, split(string(in[cut:]), max(1, int(size)))...)}
		for i, p := range src.pieces { // an empty piece would be an empty read
			if p == "" {
				src.pieces = append(src.pieces[:i:i], src.pieces[i+1:]...)
				break
			}
		}
		got, gotErr := readAll(src, fuzzLimits)
		if strings.Join(got, "\x00") != strings.Join(whole, "\x00") {
			t.Fatalf("in pieces %q, whole %q", got, whole)
		}
		var a, b *resp3.ProtocolError
		if errors.As(err, &a) != errors.As(gotErr, &b) || a == nil && err != gotErr {
			t.Fatalf("in pieces %v, whole %v", gotErr, err)
		}
		src = &arrivals{pieces: split(string(in), max(1, int(size)))}
		got, gotErr = readParts(src, fuzzLimits, max(1, int(first)))
		if strings.Join(got, "\x00") != strings.Join(whole, "\x00") {
			t.Fatalf("in parts %q, whole %q", got, whole)
		}
		if errors.As(err, &a) != errors.As(gotErr, &b) || a == nil && err != gotErr {
			t.Fatalf("in parts %v, whole %v", gotErr, err)
		}
	})
}

// FuzzRoundTrip: a value built from any text survives Append and Decode, alone
// and as an element and attribute.
func FuzzRoundTrip(f *testing.F) {
	f.Add("hello", int64(1), 1.5)
	f.Add("a\r\nb\x00", int64(-1<<63), -0.0)
	f.Add("", int64(1<<63-1), 1e300)
	f.Fuzz(func(t *testing.T, s string, n int64, d float64) {
		scalars := []resp3.Value{
			resp3.StringValue(s), resp3.SimpleValue(s), resp3.ErrorValue(s), resp3.IntValue(n), resp3.DoubleValue(d),
			resp3.BoolValue(n > 0), resp3.NullValue(), resp3.TextValue(resp3.Verbatim, "txt:"+s), resp3.TextValue(resp3.BlobError, s),
		}
		pairs := append(scalars, resp3.StringValue(s))
		for _, v := range append(scalars,
			resp3.AggregateValue(resp3.Array, scalars...),
			resp3.AggregateValue(resp3.Map, pairs...).WithAttributes(pairs...),
			resp3.AggregateValue(resp3.Set, resp3.AggregateValue(resp3.Array), scalars[0].WithAttributes(pairs[:2]...)),
		) {
			got, rest, err := resp3.Decode(v.Append(nil))
			if err != nil || len(rest) > 0 || got != v {
				t.Fatalf("Decode(Append(%s)) = %s, %q, %v", render(v), render(got), rest, err)
			}
			if a, b := render(got), render(v); a != b {
				t.Fatalf("decoded %s, built %s", a, b)
			}
		}
	})
}

// FuzzView: every conversion and every Cursor of an accepted frame works and
// agrees with the owned Value.
func FuzzView(f *testing.F) {
	seed(f, func(in string) { f.Add([]byte(in)) })
	f.Fuzz(func(t *testing.T, in []byte) {
		r := resp3.NewReader(bytes.NewReader(in), fuzzLimits)
		for {
			v, err := r.Read()
			if err != nil {
				return
			}
			visit(t, v, v.Value(), 0)
			again := resp3.NewView(bytes.Clone(r.Frame())).Owned()
			visit(t, again, v.Value(), 0)
		}
	})
}

func visit(t *testing.T, v resp3.View, o resp3.Value, depth int) {
	t.Helper()
	if depth > fuzzLimits.Depth {
		t.Fatal("deeper than the limit")
	}
	if v.Kind() != o.Kind() || v.Len() != o.Len() || v.Text() != o.Text() || v.IsNull() != o.IsNull() || string(v.Bytes()) != o.Text() {
		t.Fatalf("view %s %q, value %s %q", v.Kind(), v.Text(), o.Kind(), o.Text())
	}
	vi, e1 := v.Int()
	oi, e2 := o.Int()
	vb, e3 := v.Bool()
	ob, e4 := o.Bool()
	vs, e5 := v.Str()
	os, e6 := o.Str()
	vf, e7 := v.Float()
	of, e8 := o.Float()
	if vi != oi || vb != ob || vs != os || vf != of && vf == vf || !same(e1, e2) || !same(e3, e4) || !same(e5, e6) || !same(e7, e8) || !same(v.Err(), o.Err()) {
		t.Fatalf("the conversions of view and value of %q differ", v.Text())
	}
	if v.Kind() == resp3.Attribute || v.Kind() == resp3.Push && depth > 0 {
		t.Fatalf("a %s was handed out as an element", v.Kind())
	}
	elems := o.Elems()
	i := 0
	for e := range v.Elems() {
		visit(t, e, elems[i], depth+1)
		visit(t, e.Rebase(bytes.Clone(e.Raw())), elems[i], depth+1)
		i++
	}
	if i != len(elems) || v.Kind().IsAggregate() && i != v.Len() {
		t.Fatalf("the cursor gave %d elements of %d", i, len(elems))
	}
}

func same(a, b error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Error() == b.Error()
}
