package script

import (
	"fmt"
	"time"

	"github.com/redisx/redisx/resp3"
)

// Fields reads the elements of one flat array in turn. The first failure
// stays; what is read after it is zero.
type Fields struct {
	c   resp3.Cursor
	err error
}

// Read returns the fields of an array.
func Read(v resp3.View) *Fields {
	f := &Fields{c: v.Cursor()}
	if v.Kind() != resp3.Array {
		f.err = &resp3.TypeError{Want: "an array", Got: v.Kind()}
	}
	return f
}

// Err returns the first failure.
func (f *Fields) Err() error { return f.err }

// Refuse notes that the script answered with a word that nobody knows.
func (f *Fields) Refuse(word string) {
	if f.err == nil {
		f.err = fmt.Errorf("the script answered %.20q", word)
	}
}

// More reports whether there is another element to read.
func (f *Fields) More() bool { return f.err == nil && f.c.Len() > 0 }

// Next reads an element of any kind.
func (f *Fields) Next() resp3.View {
	v, ok := f.c.Next()
	if !ok && f.err == nil {
		f.err = &resp3.TypeError{Want: "a longer array", Got: resp3.Array}
	}
	return v
}

// Int reads a whole number, also one that was written as text.
func (f *Fields) Int() int64 {
	v := f.Next()
	if f.err != nil {
		return 0
	}
	n, err := v.Int()
	f.err = err
	return n
}

// Text reads a string.
func (f *Fields) Text() string {
	v := f.Next()
	if f.err != nil {
		return ""
	}
	s, err := v.Str()
	f.err = err
	return s
}

// Millis reads a duration in milliseconds.
func (f *Fields) Millis() time.Duration { return time.Duration(f.Int()) * time.Millisecond }

// Micros reads a time in microseconds of the server's clock, 0 being none.
func (f *Fields) Micros() time.Time {
	n := f.Int()
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}
