package resp3

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"unsafe"
)

// View is one frame, read in place: its bytes belong to whoever made the View
// (a Reader's buffer, until its next read) unless the View owns them. A View is
// a small value; copy it freely. Its zero value is invalid, of Kind 0.
type View struct {
	// A struct of four words in four fields travels in registers; one with a
	// slice in it would be copied through memory at each step.
	p    *byte // text of a scalar; the elements of an aggregate, encoded
	size int   // how many bytes are at p
	n    int64 // Integer, Boolean: the value; aggregates: the number of elements
	kind Kind  // with owned set if the bytes never change
}

const owned Kind = 0x80

func scalar(k Kind, n int64, b []byte) View {
	return View{p: unsafe.SliceData(b), size: len(b), n: n, kind: k}
}

func (v View) is(k Kind) bool { return v.kind&^owned == k }

func (v View) own() bool { return v.kind&owned != 0 }

// NewView returns the frame that b holds. b must be exactly one complete frame
// as Reader.Frame returns it or Value.Append writes it; NewView does not check
// it again, and bytes that nobody checked may make it, or the View, panic.
func NewView(b []byte) View { return root(b) }

// Owned returns the same frame over bytes that nobody will change, so that
// Text need not copy them. Only the owner of the bytes may say so.
func (v View) Owned() View {
	v.kind |= owned
	return v
}

// IsOwned reports whether the frame's bytes never change, so that the View may
// be kept.
func (v View) IsOwned() bool { return v.own() }

// Rebase returns the same frame over b, a copy of v.Raw().
func (v View) Rebase(b []byte) View {
	v.p, v.size = unsafe.SliceData(b), len(b)
	return v
}

// Raw returns the text of a scalar without its header and CRLF, or the encoded
// elements of an aggregate.
func (v View) Raw() []byte { return unsafe.Slice(v.p, v.size) }

// Kind returns what the frame is.
func (v View) Kind() Kind { return v.kind &^ owned }

// IsNull reports whether the frame is a null of RESP3 or RESP2.
func (v View) IsNull() bool { return v.is(Null) }

// Len returns the number of elements of an aggregate (a map of two pairs has
// four), or the length in bytes of a scalar's text.
func (v View) Len() int {
	if v.Kind().IsAggregate() {
		return int(v.n)
	}
	return v.size
}

// Bytes returns the text of a scalar in place. Of a verbatim string it is the
// text after the format.
func (v View) Bytes() []byte {
	switch k := v.Kind(); {
	case k == Verbatim:
		return v.Raw()[4:]
	case k.IsAggregate():
		return nil
	}
	return v.Raw()
}

// Text returns the text of a scalar as a string of its own.
func (v View) Text() string {
	b := v.Bytes()
	if v.own() {
		return alias(b)
	}
	return string(b)
}

// Err returns the error reply that the frame is, or nil.
func (v View) Err() error {
	if v.Kind().IsError() {
		return ServerError(v.Text())
	}
	return nil
}

// Int returns an integer, or the integer that a string holds (as RESP2 sends
// some).
func (v View) Int() (int64, error) {
	switch v.Kind() {
	case Integer, Boolean:
		return v.n, nil
	case BulkString, SimpleString, BigNumber:
		if n, ok := parseInt(v.Raw()); ok {
			return n, nil
		}
	}
	return 0, v.mismatch("an integer")
}

// parseInt reads [sign] digits.
func parseInt(b []byte) (int64, bool) {
	if len(b) > maxDigits+1 {
		return 0, false
	}
	var line [maxDigits + 4]byte
	n := copy(line[1:], b)
	line[n+1], line[n+2] = '\r', '\n'
	v, end := integer(line[:n+3], 0)
	return v, end == n+3
}

// Float returns a double, or the number that a string (RESP2) or an integer
// holds. It fails where the number is too large for a float64.
func (v View) Float() (float64, error) {
	switch v.Kind() {
	case Double, BulkString, SimpleString:
		b := v.Raw()
		if !v.is(Double) && !matches(startDouble, b) {
			break
		}
		if len(b) > 0 && b[len(b)-1] == 'n' { // ParseFloat knows no "-nan"
			return math.NaN(), nil
		}
		if f, err := strconv.ParseFloat(alias(b), 64); err == nil {
			return f, nil
		}
	case Integer:
		return float64(v.n), nil
	}
	return 0, v.mismatch("a double")
}

// Bool returns a boolean, or an integer (RESP2) as one: 0 is false.
func (v View) Bool() (bool, error) {
	switch v.Kind() {
	case Boolean, Integer:
		return v.n != 0, nil
	}
	return false, v.mismatch("a boolean")
}

// Str returns the text of a string frame (simple, bulk, verbatim) and fails on
// every other kind.
func (v View) Str() (string, error) {
	switch v.Kind() {
	case BulkString, SimpleString, Verbatim:
		return v.Text(), nil
	}
	return "", v.mismatch("a string")
}

// TypeError reports a frame of another kind than the caller asked for.
type TypeError struct {
	Want string // what was asked for, in words
	Got  Kind
}

// Error says what was wanted and what came.
func (e *TypeError) Error() string {
	return fmt.Sprintf("resp3: got a frame of kind %s, want %s", e.Got, e.Want)
}

func (v View) mismatch(want string) error { return &TypeError{Want: want, Got: v.Kind()} }

// Cursor returns a cursor over the elements of an aggregate; of anything else,
// an empty one.
func (v View) Cursor() Cursor {
	if !v.Kind().IsAggregate() {
		return Cursor{}
	}
	return Cursor{b: v.Raw(), left: int(v.n), own: v.kind & owned}
}

// Elems returns the elements of an aggregate in order: of a map, key, value,
// key, value.
func (v View) Elems() iter.Seq[View] {
	return func(yield func(View) bool) {
		c := v.Cursor()
		for {
			e, ok := c.Next()
			if !ok || !yield(e) {
				return
			}
		}
	}
}

// Cursor walks the elements of one aggregate, in place. Declare it before the
// loop that uses it: a variable of the for statement itself is copied at each
// step, which costs more than the step.
type Cursor struct {
	b    []byte
	left int
	own  Kind // owned or 0
}

// Len returns how many elements are left.
func (c *Cursor) Len() int { return c.left }

// Next returns the next element, or false at the end. Attributes that annotate
// elements are passed over.
func (c *Cursor) Next() (View, bool) {
	if c.left == 0 {
		return View{}, false
	}
	b := c.b
	n, p := shortBulk(b)
	if p == 0 {
		return c.next()
	}
	c.left--
	c.b = b[p+n+2:]
	return scalar(BulkString|c.own, 0, b[p:p+n]), true
}

// shortBulk returns the length of the bulk string at the start of b and where
// its text begins. It returns 0 for what is longer than 99 bytes and for
// everything else that head must see to.
func shortBulk(b []byte) (n, at int) {
	if len(b) < 6 || b[0] != '$' {
		return 0, 0
	}
	n = int(b[1] - '0')
	if b[2] == '\r' {
		return n, 4
	}
	if b[3] == '\r' && n <= 9 {
		return n*10 + int(b[2]-'0'), 5
	}
	return 0, 0
}

// next is Next for everything but bulk strings.
func (c *Cursor) next() (View, bool) {
	c.left--
	for Kind(c.b[0]) == Attribute {
		c.b = c.b[skipAttribute(c.b):]
	}
	v, n := head(c.b)
	c.b = c.b[n:]
	if v.kind.IsAggregate() {
		end := len(c.b) // the last element takes all that is left
		if c.left > 0 {
			end = skip(c.b, int(v.n))
		}
		v = v.Rebase(c.b[:end])
		c.b = c.b[end:]
	}
	v.kind |= c.own
	return v, true
}

// root returns the checked frame that fills b, without the attributes before
// it.
func root(b []byte) View {
	for Kind(b[0]) == Attribute {
		b = b[skipAttribute(b):]
	}
	v, n := head(b)
	if v.kind.IsAggregate() {
		v = v.Rebase(b[n:])
	}
	return v
}

// isBulk reports whether frames of kind k carry a length and as many bytes.
func isBulk(k Kind) bool { return k == BulkString || k == BlobError || k == Verbatim }

// head reads one header. For a scalar the returned length is the frame's, for
// an aggregate the header's.
func head(b []byte) (View, int) {
	switch k := Kind(b[0]); k {
	case BulkString, BlobError, Verbatim:
		if b[1] == '-' {
			return View{kind: Null}, len("$-1\r\n")
		}
		n, p := decimal(b)
		return scalar(k, 0, b[p:p+n]), p + n + 2
	case Array, Map, Set, Push, Attribute:
		if b[1] == '-' {
			return View{kind: Null}, len("*-1\r\n")
		}
		n, p := decimal(b)
		if k == Map || k == Attribute {
			n *= 2
		}
		return View{kind: k, n: int64(n)}, p
	case Integer:
		n, end := integer(b, 0)
		return scalar(k, n, b[1:end-2]), end
	case Boolean:
		n := int64(0)
		if b[1] == 't' {
			n = 1
		}
		return scalar(k, n, b[1:2]), len("#t\r\n")
	case Null:
		return View{kind: Null}, len("_\r\n")
	default:
		p := 1
		for b[p] != '\r' {
			p++
		}
		return scalar(k, 0, b[1:p]), p + 2
	}
}

// decimal reads the checked length after the kind byte and returns it with the
// position after CRLF.
func decimal(b []byte) (n, end int) {
	p := 1
	for p < len(b) && b[p] != '\r' {
		n = n*10 + int(b[p]-'0')
		p++
	}
	return n, p + 2
}

// skip returns the length of the n checked elements at the start of b, with the
// attributes before them and all that is in them.
func skip(b []byte, n int) int {
	p := 0
	for n > 0 {
		if size, at := shortBulk(b[p:]); at > 0 {
			p += at + size + 2
			n--
			continue
		}
		v, size := head(b[p:])
		p += size
		if v.kind != Attribute {
			n--
		}
		if v.kind.IsAggregate() {
			n += int(v.n)
		}
	}
	return p
}

// skipAttribute returns the length of the checked attribute at the start of b,
// without the element that it annotates.
func skipAttribute(b []byte) int {
	v, p := head(b)
	return p + skip(b[p:], int(v.n))
}
