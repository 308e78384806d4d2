package resp3_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/redisx/redisx/resp3"
)

// values draws any Value that can be built, to the given depth.
func values(depth int) *rapid.Generator[resp3.Value] {
	return rapid.Custom(func(t *rapid.T) resp3.Value {
		text := rapid.String()
		var v resp3.Value
		top := 13
		if depth == 0 {
			top = 9
		}
		elems := func(even int) []resp3.Value {
			s := rapid.SliceOfN(values(depth-1), 0, 6).Draw(t, "elements")
			return s[:len(s)/even*even]
		}
		switch rapid.IntRange(0, top).Draw(t, "kind") {
		case 0:
			v = resp3.StringValue(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
		case 1:
			v = resp3.SimpleValue(text.Draw(t, "text"))
		case 2:
			v = resp3.ErrorValue(text.Draw(t, "text"))
		case 3:
			v = resp3.IntValue(rapid.Int64().Draw(t, "n"))
		case 4:
			v = resp3.DoubleValue(rapid.Float64().Draw(t, "f"))
		case 5:
			v = resp3.BoolValue(rapid.Bool().Draw(t, "b"))
		case 6:
			v = resp3.NullValue()
		case 7:
			v = resp3.TextValue(resp3.BigNumber, rapid.StringMatching(`[-+]?[0-9]{1,40}`).Draw(t, "big"))
		case 8:
			v = resp3.TextValue(resp3.BlobError, text.Draw(t, "text"))
		case 9:
			v = resp3.TextValue(resp3.Verbatim, "mkd:"+text.Draw(t, "text"))
		case 10, 11:
			v = resp3.AggregateValue(resp3.Array, elems(1)...)
		case 12:
			v = resp3.AggregateValue(resp3.Set, elems(1)...)
		case 13:
			v = resp3.AggregateValue(resp3.Map, elems(2)...)
		}
		if depth > 0 && rapid.IntRange(0, 5).Draw(t, "annotate") == 0 {
			v = v.WithAttributes(elems(2)...)
		}
		return v
	})
}

func TestEncodedValuesDecodeToThemselves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := values(4).Draw(t, "value")
		frame := v.Append(nil)
		got, rest, err := resp3.Decode(append(frame, "+rest"...))
		if err != nil || got != v || string(rest) != "+rest" {
			t.Fatalf("Decode(%q) = %s, %q, %v, want %s", frame, render(got), rest, err, render(v))
		}
		if a, b := render(got), render(v); a != b {
			t.Fatalf("decoded %s, built %s", a, b)
		}
		size := rapid.IntRange(1, len(frame)).Draw(t, "size")
		r := resp3.NewReader(&arrivals{pieces: split(string(frame), size)}, resp3.Limits{})
		view, err := r.Read()
		if err != nil {
			t.Fatalf("%q in pieces of %d: %v", frame, size, err)
		}
		if view.Value() != v.WithAttributes() || string(view.Append(nil)) != string(v.WithAttributes().Append(nil)) {
			t.Fatalf("%q in pieces of %d = %s, want %s", frame, size, render(view.Value()), render(v))
		}
		if string(r.Frame()) != string(frame) {
			t.Fatalf("Frame = %q, want %q", r.Frame(), frame)
		}
	})
}

func TestTheZeroValueIsNull(t *testing.T) {
	t.Parallel()
	var v resp3.Value
	if v.Kind() != resp3.Null || !v.IsNull() || v != resp3.NullValue() || string(v.Append(nil)) != "_\r\n" {
		t.Errorf("the zero Value is a %s, encoded %q", v.Kind(), v.Append(nil))
	}
	for _, in := range []string{"_\r\n", "$-1\r\n", "*-1\r\n"} {
		if v, _, err := resp3.Decode([]byte(in)); err != nil || v != resp3.NullValue() {
			t.Errorf("Decode(%q) = %s, %v", in, render(v), err)
		}
	}
}

func TestOneLineTextsCannotBreakTheStream(t *testing.T) {
	t.Parallel()
	for _, v := range []resp3.Value{resp3.SimpleValue("a\r\n+b"), resp3.ErrorValue("a\r\n+b")} {
		got, rest, err := resp3.Decode(v.Append(nil))
		if err != nil || len(rest) > 0 || got.Text() != "a  +b" {
			t.Errorf("Decode(%q) = %q, %q, %v", v.Append(nil), got.Text(), rest, err)
		}
	}
}

func TestImpossibleValuesPanic(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(){
		"a big number with a letter":         func() { resp3.TextValue(resp3.BigNumber, "1x") },
		"a big number with a line end":       func() { resp3.TextValue(resp3.BigNumber, "1\r\n+OK") },
		"a verbatim string without format":   func() { resp3.TextValue(resp3.Verbatim, "abc") },
		"a double of letters":                func() { resp3.TextValue(resp3.Double, "abc") },
		"an array from text":                 func() { resp3.TextValue(resp3.Array, "0") },
		"a map with a key but no value":      func() { resp3.AggregateValue(resp3.Map, resp3.IntValue(1)) },
		"an attribute as a value":            func() { resp3.AggregateValue(resp3.Attribute) },
		"a string of elements":               func() { resp3.AggregateValue(resp3.BulkString) },
		"attributes with a key but no value": func() { resp3.IntValue(1).WithAttributes(resp3.IntValue(1)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			build()
		}()
	}
}

func TestConversions(t *testing.T) {
	t.Parallel()
	const none = math.MinInt64
	for _, tt := range []struct {
		in    string
		n     int64   // none: Int fails
		f     float64 // none: Float fails
		b     string  // "", "true", "false"
		isStr bool
	}{
		{":12\r\n", 12, 12, "true", false},
		{":0\r\n", 0, 0, "false", false},
		{"#t\r\n", 1, none, "true", false},
		{"#f\r\n", 0, none, "false", false},
		{"$2\r\n12\r\n", 12, 12, "", true},
		{"+-12\r\n", -12, -12, "", true},
		{"$20\r\n-9223372036854770000\r\n", -9223372036854770000, -9223372036854770000, "", true},
		{"$19\r\n9223372036854775808\r\n", none, 9223372036854775808, "", true},
		{"$3\r\n1.5\r\n", none, 1.5, "", true},
		{"$3\r\ninf\r\n", none, math.Inf(1), "", true},
		{"$4\r\n-inf\r\n", none, math.Inf(-1), "", true},
		{"$8\r\ninfinity\r\n", none, none, "", true},
		{"$5\r\n0x1p4\r\n", none, none, "", true},
		{"$3\r\n1_0\r\n", none, none, "", true},
		{"$0\r\n\r\n", none, none, "", true},
		{"$3\r\n 12\r\n", none, none, "", true},
		{"$5\r\n1e999\r\n", none, none, "", true},
		{",1.5\r\n", none, 1.5, "", false},
		{",1e999\r\n", none, none, "", false},
		{"(12\r\n", 12, none, "", false},
		{"(123456789012345678901234567890\r\n", none, none, "", false},
		{"=5\r\ntxt:1\r\n", none, none, "", true},
		{"_\r\n", none, none, "", false},
		{"*1\r\n:1\r\n", none, none, "", false},
		{"-ERR\r\n", none, none, "", false},
	} {
		v, _, err := resp3.Decode([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		checkMismatch := func(what string, err error, fails bool) {
			t.Helper()
			var te *resp3.TypeError
			if errors.As(err, &te) != fails || fails && (te.Got != v.Kind() || !strings.Contains(te.Error(), v.Kind().String())) {
				t.Errorf("%s of %q: %v", what, tt.in, err)
			}
		}
		n, err := v.Int()
		checkMismatch("Int", err, tt.n == none)
		if err == nil && n != tt.n {
			t.Errorf("Int of %q = %d, want %d", tt.in, n, tt.n)
		}
		f, err := v.Float()
		checkMismatch("Float", err, tt.f == none)
		if err == nil && f != tt.f {
			t.Errorf("Float of %q = %g, want %g", tt.in, f, tt.f)
		}
		b, err := v.Bool()
		checkMismatch("Bool", err, tt.b == "")
		if err == nil && b != (tt.b == "true") {
			t.Errorf("Bool of %q = %v", tt.in, b)
		}
		s, err := v.Str()
		checkMismatch("Str", err, !tt.isStr)
		if err == nil && s != v.Text() {
			t.Errorf("Str of %q = %q", tt.in, s)
		}
	}
	for _, in := range []string{",nan\r\n", ",-nan\r\n", "$3\r\nnan\r\n"} {
		v, _, _ := resp3.Decode([]byte(in))
		if f, err := v.Float(); err != nil || !math.IsNaN(f) {
			t.Errorf("Float of %q = %g, %v", in, f, err)
		}
	}
}

func TestErrIsTheServersError(t *testing.T) {
	t.Parallel()
	for in, code := range map[string]string{
		"-MOVED 3999 127.0.0.1:6381\r\n": "MOVED",
		"!5\r\nERR a\r\n":                "ERR",
		"-\r\n":                          "",
	} {
		v, _, _ := resp3.Decode([]byte(in))
		var se resp3.ServerError
		if err := v.Err(); !errors.As(err, &se) || se.Code() != code || err.Error() != v.Text() {
			t.Errorf("Err of %q = %v", in, err)
		}
	}
	if err := resp3.StringValue("ERR").Err(); err != nil {
		t.Errorf("Err of a string = %v", err)
	}
}

func TestLargeTexts(t *testing.T) {
	t.Parallel()
	text := "ERR " + strings.Repeat("x", 64<<10-4)
	r := resp3.NewReader(strings.NewReader("-"+text+"\r\n"), resp3.Limits{})
	if v, err := r.Read(); err != nil || v.Err() != resp3.ServerError(text) {
		t.Errorf("an error of 64 KiB was not kept: %v", err)
	}
}

func TestAProtocolErrorQuotesLittleAndNothingRaw(t *testing.T) {
	t.Parallel()
	_, _, err := resp3.Decode([]byte("\x1b[2J\x00\xff" + strings.Repeat("A", 1000)))
	if s := err.Error(); len(s) > 150 || strings.ContainsAny(s, "\x1b\x00\xff") {
		t.Errorf("the error is %q", s)
	}
}

func TestAppendBulkInt(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "$1\r\n0\r\n", 9: "$1\r\n9\r\n", 10: "$2\r\n10\r\n", -1: "$2\r\n-1\r\n", math.MinInt64: "$20\r\n-9223372036854775808\r\n"} {
		if got := string(resp3.AppendBulkInt(nil, n)); got != want {
			t.Errorf("AppendBulkInt(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	names := map[string]resp3.Kind{}
	for i := range 256 {
		k := resp3.Kind(i)
		known := strings.IndexByte("+-:$*_#,(!=%~|>", byte(i)) >= 0
		if (k.String() != "invalid") != known || k.IsAggregate() != (known && strings.IndexByte("*%~|>", byte(i)) >= 0) {
			t.Errorf("Kind(%q): %s, aggregate %v", i, k, k.IsAggregate())
		}
		if other, dup := names[k.String()]; known && dup {
			t.Errorf("kinds %q and %q are both %s", i, other, k)
		}
		names[k.String()] = k
	}
}
