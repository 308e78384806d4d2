package command

import (
	"math"
	"strconv"
	"time"
	"unsafe"

	"github.com/redisx/redisx/resp3"
)

// Arg is one argument of a command. Arguments are bytes, integers or floats,
// never formatted text: nothing a caller passes can become a second argument.
type Arg struct {
	// Text is where at points and bits bytes long; a number is what bits hold,
	// and at says so. Requests are copied from stack to stack of callers that
	// are thousands at times: the smaller, the faster.
	at   *byte
	bits uint64
}

// isInt and isFloat are what Arg.at points to when it holds a number.
var isInt, isFloat = new(byte), new(byte)

// Str returns s as an argument.
func Str(s string) Arg {
	if s == "" {
		return Arg{}
	}
	return Arg{at: unsafe.StringData(s), bits: uint64(len(s))}
}

// Bytes returns b as an argument without copying it: b must not change until
// the command that holds it has been answered.
func Bytes(b []byte) Arg { return Str(alias(b)) }

// Int returns n as an argument, in decimal.
func Int(n int64) Arg { return Arg{at: isInt, bits: uint64(n)} }

// Uint returns n as an argument, in decimal.
func Uint(n uint64) Arg {
	if n > math.MaxInt64 {
		return Str(strconv.FormatUint(n, 10))
	}
	return Int(int64(n))
}

// Float returns f as an argument, in the shortest form that reads back as f.
func Float(f float64) Arg { return Arg{at: isFloat, bits: math.Float64bits(f)} }

// isText reports whether the argument was given as text.
func (a Arg) isText() bool { return a.at != isInt && a.at != isFloat }

// text returns an argument that isText.
func (a Arg) text() string { return unsafe.String(a.at, int(a.bits)) }

// Text returns the argument as the text that is sent.
func (a Arg) Text() string {
	switch a.at {
	case isInt:
		return strconv.FormatInt(int64(a.bits), 10)
	case isFloat:
		return string(appendFloat(nil, math.Float64frombits(a.bits)))
	}
	return a.text()
}

func (a Arg) append(dst []byte) []byte {
	switch a.at {
	case isInt:
		return resp3.AppendBulkInt(dst, int64(a.bits))
	case isFloat:
		var buf [32]byte
		return resp3.AppendBulk(dst, appendFloat(buf[:0], math.Float64frombits(a.bits)))
	}
	return resp3.AppendBulk(dst, a.text())
}

// size returns how many bytes a text has.
func (a Arg) size() int {
	if a.isText() {
		return int(a.bits)
	}
	return 0
}

// inline is how many arguments a Request holds without allocating.
const inline = 4

// Request is a command without its result type: what is sent, and the facts
// that decide how. It is a value; copy it freely, send it as often as you like.
// The zero Request is invalid.
type Request struct {
	spec  *Spec
	args  [inline]Arg
	more  []Arg // arguments after the first inline ones
	block time.Duration
	bad   *bad // nil: it can be sent
	n     int
	risky bool // an argument makes a repeat unsafe
}

// bad is why a request must not be sent.
type bad struct{ err error }

// NewRequest returns a request of the command that spec describes.
func NewRequest(spec *Spec, args ...Arg) Request {
	r := Request{spec: spec}
	for _, a := range args {
		r.Add(a)
	}
	return r
}

// Add appends an argument. It belongs to the building of a request: a request
// that has been handed on must not be added to.
func (r *Request) Add(a Arg) {
	if r.n < inline {
		r.args[r.n] = a
	} else {
		r.more = append(r.more, a)
	}
	r.n++
}

// Fail marks the request as wrong. It is refused with err before anything is
// sent; the first error stays.
func (r *Request) Fail(err error) {
	if r.bad == nil && err != nil {
		r.bad = &bad{err}
	}
}

// Err returns why the request must not be sent, or nil.
func (r *Request) Err() error {
	switch {
	case r.bad != nil:
		return r.bad.err
	case r.spec == nil:
		return errNoSpec
	}
	return nil
}

// SetBlock says how long the server may hold the command back: its BLOCK or
// timeout argument. Negative means without end.
func (r *Request) SetBlock(d time.Duration) { r.block = d }

// Block returns how long the server may hold the command back: zero for
// commands that do not block, negative for one that may block without end.
func (r *Request) Block() time.Duration { return r.block }

// Retry returns what may be done when nobody knows whether the request ran: the
// class of its command, or RetryUnsafe where an argument of this request makes
// a repeat change data or reply falsely (SET NX, ZADD INCR).
func (r *Request) Retry() Retry {
	if r.spec == nil || r.risky {
		return RetryUnsafe
	}
	return r.spec.Retry
}

// Request returns the request itself: with it a Request is Sendable.
func (r Request) Request() Request { return r }

// Spec returns the facts on the command.
func (r *Request) Spec() *Spec { return r.spec }

// Name returns the command's name, such as "XGROUP CREATE".
func (r *Request) Name() string {
	if r.spec == nil {
		return ""
	}
	return r.spec.Name
}

// Len returns the number of arguments after the name.
func (r *Request) Len() int { return r.n }

// Arg returns argument i, counted from 0 after the command's name.
func (r *Request) Arg(i int) Arg {
	if i < inline {
		return r.args[i]
	}
	return r.more[i-inline]
}

// Append appends the request as it goes over the wire: an array of bulk
// strings.
func (r *Request) Append(dst []byte) []byte {
	dst = resp3.AppendHeader(dst, resp3.Array, r.spec.words+r.n)
	dst = append(dst, r.spec.wire...)
	for i := 0; i < min(r.n, inline); i++ {
		dst = r.args[i].append(dst)
	}
	for _, a := range r.more {
		dst = a.append(dst)
	}
	return dst
}

// Size returns about how many bytes Append appends.
func (r *Request) Size() int {
	n := 16 + len(r.spec.wire) + 16*r.n
	for i := 0; i < min(r.n, inline); i++ {
		n += r.args[i].size()
	}
	for _, a := range r.more {
		n += a.size()
	}
	return n
}
