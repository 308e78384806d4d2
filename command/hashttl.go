package command

import (
	"strconv"

	"github.com/redisx/redisx/resp3"
)

// FieldExpiry is what became of one field that was to expire.
type FieldExpiry int64

// What becomes of a field. FieldKept: a condition (NX, XX, GT, LT) kept its
// time to live as it was. FieldDeleted: the time was not in the future.
const (
	FieldAbsent  FieldExpiry = -2
	FieldKept    FieldExpiry = 0
	FieldExpires FieldExpiry = 1
	FieldDeleted FieldExpiry = 2
)

// String returns it in words.
func (f FieldExpiry) String() string {
	switch f {
	case FieldAbsent:
		return "absent"
	case FieldKept:
		return "kept"
	case FieldExpires:
		return "expires"
	case FieldDeleted:
		return "deleted"
	}
	return "FieldExpiry(" + strconv.FormatInt(int64(f), 10) + ")"
}

// AsFieldExpiries reads what became of each field.
func AsFieldExpiries(v resp3.View) ([]FieldExpiry, error) {
	return slice(v, func(e resp3.View) (FieldExpiry, error) {
		n, err := AsInt(e)
		return FieldExpiry(n), err
	})
}

// perField reads an element for each field, where -2 stands for no such field.
func perField[T any](v resp3.View, elem Decoder[T]) ([]Optional[T], error) {
	return slice(v, func(e resp3.View) (Optional[T], error) {
		if n, err := e.Int(); err == nil && n == -2 {
			return Optional[T]{}, nil
		}
		x, err := elem(e)
		return Optional[T]{Value: x, OK: err == nil}, err
	})
}

// AsFieldTTLs reads how many seconds each field has left.
func AsFieldTTLs(v resp3.View) ([]Optional[Lifetime], error) { return perField(v, AsTTL) }

// AsFieldPTTLs reads how many milliseconds each field has left.
func AsFieldPTTLs(v resp3.View) ([]Optional[Lifetime], error) { return perField(v, AsPTTL) }

// AsFieldDeadlines reads the Unix seconds at which each field expires.
func AsFieldDeadlines(v resp3.View) ([]Optional[Deadline], error) { return perField(v, AsDeadline) }

// AsFieldPDeadlines is AsFieldDeadlines in milliseconds.
func AsFieldPDeadlines(v resp3.View) ([]Optional[Deadline], error) { return perField(v, AsPDeadline) }

// AsFieldPersists reads for each field whether it had a time to live.
func AsFieldPersists(v resp3.View) ([]Optional[bool], error) {
	return perField(v, func(e resp3.View) (bool, error) {
		n, err := AsInt(e)
		if err == nil && n != 1 && n != -1 {
			err = &RangeError{Want: "-2, -1 or 1"}
		}
		return n == 1, err
	})
}
