package resp3

import "math"

// Limits bounds what a Reader accepts from its peer. A field that is zero or
// negative takes the default. Nothing is ever allocated because a length was
// announced, only because bytes have arrived.
type Limits struct {
	// Depth is how deep aggregates may nest, attributes included. Default 128:
	// the deepest reply of a real server, COMMAND DOCS, has 12 levels.
	Depth int
	// Line is the longest text of a line, in bytes: simple strings, errors,
	// doubles. Default 64 KiB. Big numbers are held to 16 KiB besides, as
	// parsing them takes more than linear time.
	Line int
	// Bulk is the longest bulk string, in bytes. Default 512 MiB, the
	// server's own default (proto-max-bulk-len).
	Bulk int
	// Elements is the largest number of elements in one aggregate; a pair of a
	// map or attribute is two. Default 16 Mi.
	Elements int
	// Frame is the largest frame, in bytes on the wire, with the attributes
	// before it. Default 1 GiB.
	Frame int
	// Attributes is how many attributes may come before one frame. Default
	// 1 Ki. Attributes inside a frame are bounded by Frame and Depth.
	Attributes int
	// AttributeBytes is how many bytes all attributes before one frame may
	// take. Default 1 MiB.
	AttributeBytes int
	// Streamed is how many strings and aggregates of one frame may be streamed,
	// that is, come without a length. Default 64 Ki.
	Streamed int
}

// DefaultLimits returns the limits that a zero Limits stands for.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

// maxBigNumber is the longest big number, in bytes.
const maxBigNumber = 16 << 10

// maxLimit caps every limit, so that no sum or product of a few numbers within
// limits overflows an int.
const maxLimit = math.MaxInt / 32

func (l Limits) withDefaults() Limits {
	for _, f := range [...]struct {
		v *int
		d int
	}{
		{&l.Depth, 128},
		{&l.Line, 64 << 10},
		{&l.Bulk, 512 << 20},
		{&l.Elements, 16 << 20},
		{&l.Frame, 1 << 30},
		{&l.Attributes, 1 << 10},
		{&l.AttributeBytes, 1 << 20},
		{&l.Streamed, 64 << 10},
	} {
		if *f.v <= 0 {
			*f.v = f.d
		}
		*f.v = min(*f.v, maxLimit)
	}
	return l
}
