package coord

import (
	"time"

	"github.com/redisx/redisx/resp3"
)

// fields reads the elements of one flat array in turn. The first failure
// stays; what is read after it is zero.
type fields struct {
	c   resp3.Cursor
	err error
}

func fieldsOf(v resp3.View) *fields {
	f := &fields{c: v.Cursor()}
	if v.Kind() != resp3.Array {
		f.err = &resp3.TypeError{Want: "an array", Got: v.Kind()}
	}
	return f
}

// more reports whether there is another element to read.
func (f *fields) more() bool { return f.err == nil && f.c.Len() > 0 }

func (f *fields) next() resp3.View {
	v, ok := f.c.Next()
	if !ok && f.err == nil {
		f.err = &resp3.TypeError{Want: "a longer array", Got: resp3.Array}
	}
	return v
}

func (f *fields) int() int64 {
	v := f.next()
	if f.err != nil {
		return 0
	}
	n, err := v.Int()
	f.err = err
	return n
}

func (f *fields) text() string {
	v := f.next()
	if f.err != nil {
		return ""
	}
	s, err := v.Str()
	f.err = err
	return s
}

func (f *fields) millis() time.Duration { return time.Duration(f.int()) * time.Millisecond }

// micros reads a time in microseconds of the server's clock, 0 being none.
func (f *fields) micros() time.Time {
	n := f.int()
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}
