package command

import (
	"strconv"
	"time"

	"github.com/redisx/redisx/resp3"
)

func mismatch(v resp3.View, want string) error {
	if err := v.Err(); err != nil {
		return err
	}
	return &resp3.TypeError{Want: want, Got: v.Kind()}
}

// status reports whether v is the status text, and fails on anything else.
func status(v resp3.View, text string) error {
	if v.Kind() == resp3.SimpleString && string(v.Bytes()) == text {
		return nil
	}
	return mismatch(v, strconv.Quote(text))
}

// AsVoid accepts the status "OK" and fails on everything else.
func AsVoid(v resp3.View) (Void, error) { return Void{}, status(v, "OK") }

// AsOK accepts the status "OK" and returns Nil for a null, as SET NX sends it.
func AsOK(v resp3.View) (Void, error) {
	if v.IsNull() {
		return Void{}, Nil
	}
	return AsVoid(v)
}

// AsAny accepts every reply but an error and forgets it.
func AsAny(v resp3.View) (Void, error) { return Void{}, v.Err() }

// AsString reads a string, or Nil.
func AsString(v resp3.View) (string, error) {
	if v.IsNull() {
		return "", Nil
	}
	if v.Kind().IsError() {
		return "", v.Err()
	}
	return v.Str()
}

// AsBytes reads a string as bytes of its own, or Nil.
func AsBytes(v resp3.View) ([]byte, error) {
	switch v.Kind() {
	case resp3.BulkString, resp3.SimpleString, resp3.Verbatim:
		return append(make([]byte, 0, v.Len()), v.Bytes()...), nil
	case resp3.Null:
		return nil, Nil
	}
	return nil, mismatch(v, "a string")
}

// Into returns a decoder that appends a string to dst, or returns Nil. A
// command that has it belongs to one caller: dst is used anew each time.
//
// DoInto does the same without allocating.
func Into(dst []byte) Decoder[[]byte] {
	return func(v resp3.View) ([]byte, error) { return appendTo(dst, v) }
}

func appendTo(dst []byte, v resp3.View) ([]byte, error) {
	switch v.Kind() {
	case resp3.BulkString, resp3.SimpleString, resp3.Verbatim:
		return append(dst, v.Bytes()...), nil
	case resp3.Null:
		return dst, Nil
	}
	return dst, mismatch(v, "a string")
}

// AsInt reads an integer, or Nil.
func AsInt(v resp3.View) (int64, error) {
	switch v.Kind() {
	case resp3.Null:
		return 0, Nil
	case resp3.SimpleError, resp3.BlobError:
		return 0, v.Err()
	}
	return v.Int()
}

// AsFloat reads a double, or Nil. RESP2 sends doubles as strings.
func AsFloat(v resp3.View) (float64, error) {
	switch v.Kind() {
	case resp3.Null:
		return 0, Nil
	case resp3.SimpleError, resp3.BlobError:
		return 0, v.Err()
	}
	return v.Float()
}

// AsBool reads a boolean, or the integer 0 or 1 as one. Null is Nil.
func AsBool(v resp3.View) (bool, error) {
	switch v.Kind() {
	case resp3.Null:
		return false, Nil
	case resp3.Boolean:
		return v.Bool()
	case resp3.Integer:
		if n, _ := v.Int(); n == 0 || n == 1 {
			return n == 1, nil
		}
		return false, &RangeError{Want: "0 or 1"}
	}
	return false, mismatch(v, "a boolean")
}

// RangeError reports a reply of the right kind whose value its type cannot
// hold.
type RangeError struct {
	Want string // what was expected, in words
}

// Error says what was expected.
func (e *RangeError) Error() string { return "command: the reply is out of range, want " + e.Want }

// AsMillis reads an integer of milliseconds.
func AsMillis(v resp3.View) (time.Duration, error) {
	n, err := AsInt(v)
	return time.Duration(n) * time.Millisecond, err
}

// AsUnix reads an integer of Unix seconds.
func AsUnix(v resp3.View) (time.Time, error) {
	n, err := AsInt(v)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(n, 0), nil
}

// AsTTL reads how many seconds a key has left, Nil when there is no key.
func AsTTL(v resp3.View) (Lifetime, error) { return lifetime(v, time.Second) }

// AsPTTL reads how many milliseconds a key has left, Nil when there is no key.
func AsPTTL(v resp3.View) (Lifetime, error) { return lifetime(v, time.Millisecond) }

func lifetime(v resp3.View, unit time.Duration) (Lifetime, error) {
	n, err := life(v)
	if err != nil || n == -1 {
		return Lifetime{Forever: err == nil}, err
	}
	return Lifetime{Left: time.Duration(n) * unit}, nil
}

// AsDeadline reads Unix seconds at which a key expires, Nil when there is no key.
func AsDeadline(v resp3.View) (Deadline, error) {
	n, err := life(v)
	if err != nil || n == -1 {
		return Deadline{Forever: err == nil}, err
	}
	return Deadline{At: time.Unix(n, 0)}, nil
}

// AsPDeadline is AsDeadline in milliseconds.
func AsPDeadline(v resp3.View) (Deadline, error) {
	n, err := life(v)
	if err != nil || n == -1 {
		return Deadline{Forever: err == nil}, err
	}
	return Deadline{At: time.UnixMilli(n)}, nil
}

// life reads an integer where -1 stands for no expiry and -2 for no key.
func life(v resp3.View) (int64, error) {
	n, err := AsInt(v)
	switch {
	case err != nil:
		return 0, err
	case n == -2:
		return 0, Nil
	case n < -2:
		return 0, &RangeError{Want: "-2, -1 or a time"}
	}
	return n, nil
}

// AsValue reads anything as an untyped value. Errors inside an aggregate stay
// in their places.
func AsValue(v resp3.View) (resp3.Value, error) {
	if err := v.Err(); err != nil {
		return resp3.Value{}, err
	}
	return v.Value(), nil
}

// inside runs a decoder on an element of an aggregate: there a null is no
// answer of its own but a reply of another shape.
func inside[T any](elem Decoder[T], v resp3.View) (T, error) {
	x, err := elem(v)
	if err == Nil {
		err = &resp3.TypeError{Want: "an element", Got: resp3.Null}
	}
	return x, err
}

// room bounds what is allocated ahead for n elements: an element may be 3 bytes
// on the wire and many times that in Go.
func room(n int) int { return min(n, 1<<14) }

// AsSlice reads an array, set or push, each element by elem. A null array is
// an empty one; a null or an error in it is an error of the whole.
func AsSlice[T any](elem Decoder[T]) Decoder[[]T] {
	return func(v resp3.View) ([]T, error) { return slice(v, elem) }
}

func slice[T any](v resp3.View, elem Decoder[T]) ([]T, error) {
	switch v.Kind() {
	case resp3.Null:
		return nil, nil
	case resp3.Array, resp3.Set, resp3.Push:
	default:
		return nil, mismatch(v, "an array")
	}
	out := make([]T, 0, room(v.Len()))
	c := v.Cursor()
	for e, ok := c.Next(); ok; e, ok = c.Next() {
		if err := e.Err(); err != nil {
			return out, err
		}
		x, err := inside(elem, e)
		if err != nil {
			return out, err
		}
		out = append(out, x)
	}
	return out, nil
}

// AsOptional reads a value that may be null.
func AsOptional[T any](elem Decoder[T]) Decoder[Optional[T]] {
	return func(v resp3.View) (Optional[T], error) { return optional(v, elem) }
}

func optional[T any](v resp3.View, elem Decoder[T]) (Optional[T], error) {
	if v.IsNull() {
		return Optional[T]{}, nil
	}
	x, err := elem(v)
	return Optional[T]{Value: x, OK: err == nil}, err
}

// AsStrings reads an array of strings.
func AsStrings(v resp3.View) ([]string, error) { return slice(v, AsString) }

// AsBlobs reads an array of strings as bytes of their own.
func AsBlobs(v resp3.View) ([][]byte, error) { return slice(v, AsBytes) }

// AsInts reads an array of integers.
func AsInts(v resp3.View) ([]int64, error) { return slice(v, AsInt) }

// AsBools reads an array of booleans, or of the integers 0 and 1.
func AsBools(v resp3.View) ([]bool, error) { return slice(v, AsBool) }

// AsValues reads an array of anything; Nil for a null array. Errors stay in
// their places: each is the answer to one command of a transaction.
func AsValues(v resp3.View) ([]resp3.Value, error) {
	switch v.Kind() {
	case resp3.Null:
		return nil, Nil
	case resp3.Array, resp3.Set, resp3.Push:
		return v.Value().Elems(), nil
	}
	return nil, mismatch(v, "an array")
}

// AsOptionalStrings reads an array of strings and nulls.
func AsOptionalStrings(v resp3.View) ([]Optional[string], error) {
	return slice(v, func(e resp3.View) (Optional[string], error) { return optional(e, AsString) })
}

// AsOptionalFloats reads an array of doubles and nulls.
func AsOptionalFloats(v resp3.View) ([]Optional[float64], error) {
	return slice(v, func(e resp3.View) (Optional[float64], error) { return optional(e, AsFloat) })
}
