package resp3

import (
	"bytes"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
)

// Value is one frame that owns everything in it: build it, keep it, compare it
// with ==, send it. The elements of an aggregate stay encoded inside one
// string until they are asked for, so a Value takes no more memory than its
// frame did, and keeping an element keeps the whole (strings.Clone its Text to
// part from it). The zero Value is a null.
//
// A Value never changes; any number of goroutines may use it at once.
type Value struct {
	kind  Kind   // 0: Null
	n     int64  // as in View
	text  string // as View.Raw
	attrs string // the attributes before the frame, encoded
}

// StringValue returns a bulk string.
func StringValue(s string) Value { return Value{kind: BulkString, text: s} }

// SimpleValue returns a simple string. CR and LF, which it cannot hold, become
// spaces.
func SimpleValue(s string) Value { return Value{kind: SimpleString, text: oneLine(s)} }

// ErrorValue returns a simple error. CR and LF, which it cannot hold, become
// spaces.
func ErrorValue(s string) Value { return Value{kind: SimpleError, text: oneLine(s)} }

func oneLine(s string) string {
	if strings.ContainsAny(s, "\r\n") {
		s = strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
	}
	return s
}

// IntValue returns an integer.
func IntValue(n int64) Value { return Value{kind: Integer, n: n, text: strconv.FormatInt(n, 10)} }

// NullValue returns a null, the zero Value.
func NullValue() Value { return Value{} }

// BoolValue returns a boolean.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: Boolean, n: 1, text: "t"}
	}
	return Value{kind: Boolean, text: "f"}
}

// DoubleValue returns a double.
func DoubleValue(f float64) Value { return Value{kind: Double, text: formatDouble(f)} }

// TextValue returns a scalar of kind k from its text: a big number, a blob
// error, a verbatim string with its format ("txt:…"), and so on. It panics if
// the text is not valid for the kind.
func TextValue(k Kind, text string) Value {
	frame := Value{kind: k, text: text}.Append(nil)
	v, rest, err := Decode(frame)
	if err != nil || len(rest) > 0 || k.IsAggregate() {
		panic("resp3: " + strconv.Quote(text) + " is not a valid " + k.String())
	}
	v.text = text
	return v
}

// AggregateValue returns an array, set, map or push of elems: of a map, key,
// value, key, value. It panics if k is another kind or a key has no value.
func AggregateValue(k Kind, elems ...Value) Value {
	if !k.IsAggregate() || k == Attribute || k == Map && len(elems)%2 != 0 {
		panic("resp3: " + strconv.Itoa(len(elems)) + " elements do not make a " + k.String())
	}
	return Value{kind: k, n: int64(len(elems)), text: encode(nil, elems)}
}

// WithAttributes returns v annotated with pairs: key, value, key, value. It
// replaces the attributes that v had, and panics if a key has no value.
func (v Value) WithAttributes(pairs ...Value) Value {
	if len(pairs)%2 != 0 {
		panic("resp3: an attribute with a key but no value")
	}
	v.attrs = ""
	if len(pairs) > 0 {
		v.attrs = encode(AppendHeader(nil, Attribute, len(pairs)/2), pairs)
	}
	return v
}

func encode(dst []byte, elems []Value) string {
	for _, e := range elems {
		dst = e.Append(dst)
	}
	return alias(dst)
}

func formatDouble(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// View returns the value as a View of its own bytes, for functions that take
// one. Its Bytes must not be changed.
func (v Value) View() View {
	return scalar(v.Kind(), v.n, unalias(v.text)).Owned()
}

// Kind returns what the value is.
func (v Value) Kind() Kind {
	if v.kind == 0 {
		return Null
	}
	return v.kind
}

// IsNull reports whether the value is a null.
func (v Value) IsNull() bool { return v.kind == 0 }

// Len is View.Len.
func (v Value) Len() int { return v.View().Len() }

// Text is View.Text, without a copy.
func (v Value) Text() string { return v.View().Text() }

// Int is View.Int.
func (v Value) Int() (int64, error) { return v.View().Int() }

// Float is View.Float.
func (v Value) Float() (float64, error) { return v.View().Float() }

// Bool is View.Bool.
func (v Value) Bool() (bool, error) { return v.View().Bool() }

// Str is View.Str, without a copy.
func (v Value) Str() (string, error) { return v.View().Str() }

// Err returns the error reply that the value is, or nil.
func (v Value) Err() error { return v.View().Err() }

// Elems returns the elements of an aggregate: of a map, key, value, key, value.
// It makes the slice anew on each call; All makes none.
func (v Value) Elems() []Value {
	if !v.kind.IsAggregate() || v.n == 0 {
		return nil
	}
	elems := make([]Value, v.n)
	rest := v.text
	for i := range elems {
		rest = elems[i].take(rest, int(v.n)-i-1)
	}
	return elems
}

// All returns the elements of an aggregate in order, as Elems does.
func (v Value) All() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if !v.kind.IsAggregate() {
			return
		}
		rest := v.text
		for left := int(v.n); left > 0; left-- {
			var e Value
			rest = e.take(rest, left-1)
			if !yield(e) {
				return
			}
		}
	}
}

// take sets v to the element at the start of s, which left more elements
// follow, and returns what comes after it.
func (v *Value) take(s string, left int) string {
	b := unalias(s)
	if n, p := shortBulk(b); p > 0 {
		v.kind, v.text = BulkString, s[p:p+n]
		return s[p+n+2:]
	}
	start := 0
	for Kind(b[start]) == Attribute {
		start += skipAttribute(b[start:])
	}
	h, n := head(b[start:])
	at := start + n - 2 - h.size // where a scalar's text begins
	end := start + n
	if h.kind.IsAggregate() {
		at, end = end, len(b) // the last element takes all that is left
		if left > 0 {
			end = at + skip(b[at:], int(h.n))
		}
		v.text = s[at:end]
	} else if h.kind != Null {
		v.text = s[at : at+h.size]
	}
	if h.kind != Null {
		v.kind, v.n = h.kind, h.n
	}
	v.attrs = s[:start]
	return s[end:]
}

// Attributes returns the pairs that annotate the value: key, value, ….
func (v Value) Attributes() []Value {
	var pairs []Value
	for rest := v.attrs; rest != ""; {
		h, n := head(unalias(rest))
		body := skip(unalias(rest[n:]), int(h.n))
		pairs = append(pairs, Value{kind: Attribute, n: h.n, text: rest[n : n+body]}.Elems()...)
		rest = rest[n+body:]
	}
	return pairs
}

// Append appends the value as RESP3 to dst, with its attributes, as View.Append
// does.
func (v Value) Append(dst []byte) []byte {
	return v.View().Append(append(dst, v.attrs...))
}

// Value returns the frame as a value that owns its bytes, in one allocation.
func (v View) Value() Value {
	if v.IsNull() {
		return Value{}
	}
	return Value{kind: v.Kind(), n: v.n, text: v.text()}
}

// text returns all of v.Raw as a string of its own.
func (v View) text() string {
	if v.own() {
		return alias(v.Raw())
	}
	return string(v.Raw())
}

// Decode decodes the first frame of b, within DefaultLimits, and returns it
// with the bytes after it; b may change afterwards. It returns
// io.ErrUnexpectedEOF when b ends inside the frame.
func Decode(b []byte) (v Value, rest []byte, err error) {
	s := scanner{lim: DefaultLimits()}
	n, err := s.scan(b)
	if err != nil {
		return Value{}, b, err
	}
	if n == need {
		return Value{}, b, io.ErrUnexpectedEOF
	}
	var frame []byte
	if len(s.sizes) > 0 {
		frame = plain([][]byte{b[:n]}, n, s.sizes)
	} else {
		frame = bytes.Clone(b[:n])
	}
	v.take(alias(frame), 0)
	return v, b[n:], nil
}
