package command

import "github.com/redisx/redisx/resp3"

// BitFieldOp is one operation of BitField: a BitFieldGet or a BitFieldChange.
type BitFieldOp interface{ bitfield(r *Request) }

// BitFieldGet reads one integer of a string's bits.
type BitFieldGet struct{ integer, offset string }

// BitFieldChange sets or adds to one integer of a string's bits.
type BitFieldChange struct {
	at       BitFieldGet
	word     string
	overflow Overflow
	n        int64
}

// Overflow is what happens when a number does not fit its bits.
type Overflow string

// The ways of overflow. Wrap is the server's default.
const (
	Wrap Overflow = "WRAP" // it starts over at the other end
	Sat  Overflow = "SAT"  // it stays at the end
	Fail Overflow = "FAIL" // nothing changes, and the result is absent
)

// Bits names an integer in a string's bits and reads it: its type, such as
// "u8" or "i16" (up to i64 and u63), and its offset in bits, or "#n" for n
// times its width.
func Bits(integer, offset string) BitFieldGet { return BitFieldGet{integer, offset} }

// Set sets the integer to n; the result is what it was.
func (g BitFieldGet) Set(n int64) BitFieldChange { return BitFieldChange{g, "SET", "", n} }

// IncrBy adds n to the integer; the result is the sum.
func (g BitFieldGet) IncrBy(n int64) BitFieldChange { return BitFieldChange{g, "INCRBY", "", n} }

// On returns the same change with its own way of overflow.
func (c BitFieldChange) On(o Overflow) BitFieldChange {
	c.overflow = o
	return c
}

func (g BitFieldGet) bitfield(r *Request) {
	r.Add(Str("GET"))
	r.Add(Str(g.integer))
	r.Add(Str(g.offset))
}

// bitfield sends the way of overflow each time: the server keeps the last one
// for all that follows.
func (c BitFieldChange) bitfield(r *Request) {
	o := c.overflow
	if o == "" {
		o = Wrap
	}
	r.Add(Str("OVERFLOW"))
	r.Add(Str(string(o)))
	r.Add(Str(c.word))
	r.Add(Str(c.at.integer))
	r.Add(Str(c.at.offset))
	r.Add(Int(c.n))
}

func (r *Request) bitfield(list []BitFieldOp) {
	r.grow(6 * len(list))
	for _, op := range list {
		if r.given(op != nil) {
			op.bitfield(r)
		}
	}
}

func (r *Request) bitfieldRO(list []BitFieldGet) {
	r.grow(3 * len(list))
	for _, op := range list {
		op.bitfield(r)
	}
}

// AsOptionalInts reads an array of integers and nulls.
func AsOptionalInts(v resp3.View) ([]Optional[int64], error) {
	return slice(v, func(e resp3.View) (Optional[int64], error) { return optional(e, AsInt) })
}
