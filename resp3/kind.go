package resp3

// Kind is the first byte of a frame: what the frame is.
type Kind byte

// The kinds of RESP2 and RESP3 frames. The null strings and arrays of RESP2
// ("$-1" and "*-1") are reported as Null.
const (
	SimpleString Kind = '+' // text without CR or LF
	SimpleError  Kind = '-' // an error: "CODE message"
	Integer      Kind = ':' // a signed 64-bit integer
	BulkString   Kind = '$' // bytes
	Array        Kind = '*'
	Null         Kind = '_'
	Boolean      Kind = '#'
	Double       Kind = ','
	BigNumber    Kind = '(' // an integer of any size, kept as text
	BlobError    Kind = '!' // an error that may hold any bytes
	Verbatim     Kind = '=' // bytes with a three-letter format, "txt:"
	Map          Kind = '%' // pairs, in the order the server sent them
	Set          Kind = '~'
	Attribute    Kind = '|' // pairs that annotate the frame after them
	Push         Kind = '>' // out of band: never the reply to a command
)

// String returns the kind's name in the specification's words.
func (k Kind) String() string {
	switch k {
	case SimpleString:
		return "simple string"
	case SimpleError:
		return "simple error"
	case Integer:
		return "integer"
	case BulkString:
		return "bulk string"
	case Array:
		return "array"
	case Null:
		return "null"
	case Boolean:
		return "boolean"
	case Double:
		return "double"
	case BigNumber:
		return "big number"
	case BlobError:
		return "blob error"
	case Verbatim:
		return "verbatim string"
	case Map:
		return "map"
	case Set:
		return "set"
	case Attribute:
		return "attribute"
	case Push:
		return "push"
	}
	return "invalid"
}

// IsAggregate reports whether frames of this kind hold other frames.
func (k Kind) IsAggregate() bool { return aggregates[k] }

// aggregates is a table because every step of a Cursor asks.
var aggregates = [256]bool{Array: true, Map: true, Set: true, Push: true, Attribute: true}

// IsError reports whether frames of this kind are error replies.
func (k Kind) IsError() bool { return k == SimpleError || k == BlobError }
