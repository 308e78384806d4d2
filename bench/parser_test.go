package bench

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/redisx/redisx/resp3"
)

// corpus is a stream of replies that repeats without end.
type corpus struct {
	name   string
	unit   string // what repeats
	frames int    // frames in unit
	pushes int    // how many of them are pushes
	resp3  bool   // RESP2 clients cannot read it
}

var corpora = []corpus{
	{name: "OK", unit: "+OK\r\n", frames: 1},
	{name: "int", unit: ":12345\r\n", frames: 1},
	{name: "bulk64", unit: "$64\r\n" + strings.Repeat("x", 64) + "\r\n", frames: 1},
	{name: "array10", unit: "*10\r\n" + strings.Repeat("$16\r\n0123456789abcdef\r\n", 10), frames: 1},
	{name: "mix3", unit: mix3, frames: 8, pushes: 1, resp3: true},
	{name: "bulk4k", unit: "$4096\r\n" + strings.Repeat("x", 4096) + "\r\n", frames: 1},
}

// mix3 is a map, a double, a null, a boolean, a push, a verbatim string, a big
// number and a set.
const mix3 = "%2\r\n$4\r\nname\r\n$5\r\nalice\r\n$3\r\nage\r\n:42\r\n" +
	",3.14159\r\n" +
	"_\r\n" +
	"#t\r\n" +
	">3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$5\r\nhello\r\n" +
	"=15\r\ntxt:Some string\r\n" +
	"(3492890328409238509324850943850943825024385\r\n" +
	"~3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"

// stream reads a corpus without end, whole buffers at a time.
type stream struct {
	block []byte // the unit repeated, at least 64 KiB
	at    int
}

func newStream(unit string) *stream {
	return &stream{block: bytes.Repeat([]byte(unit), 1+(64<<10)/len(unit))}
}

func (s *stream) Read(p []byte) (int, error) {
	n := min(len(p), 64<<10)
	for done := 0; done < n; {
		c := copy(p[done:n], s.block[s.at:])
		done += c
		if s.at += c; s.at == len(s.block) {
			s.at = 0
		}
	}
	return n, nil
}

var _ io.Reader = (*stream)(nil)

// sink keeps results from being optimised away.
var sink struct {
	n      int
	s      string
	value  resp3.Value
	values []resp3.Value
}

// decoders are the ways to use a resp3.Reader. Each takes one frame.
var decoders = []struct {
	name string
	take func(v resp3.View)
}{
	// The frame is checked to its last byte and handed out in place.
	{"view", func(v resp3.View) { sink.n += v.Len() }},
	// The same, and every element at every depth is visited.
	{"walk", func(v resp3.View) { sink.n += walk(v) }},
	// A value that owns its bytes; elements are cut from it on demand.
	{"value", func(v resp3.View) { sink.value = v.Value() }},
	// The same, cut into a slice of owned elements at once (one level).
	{"elems", func(v resp3.View) {
		sink.value = v.Value()
		if v.Kind().IsAggregate() {
			sink.values = sink.value.Elems()
		}
	}},
	// One string of its own for every scalar at every depth.
	{"text", func(v resp3.View) { text(v) }},
}

func walk(v resp3.View) int {
	if !v.Kind().IsAggregate() {
		return v.Len()
	}
	n := 0
	c := v.Cursor() // not in the for statement, which would copy it at each step
	for {
		e, ok := c.Next()
		switch {
		case !ok:
			return n
		case e.Kind().IsAggregate():
			n += walk(e)
		default:
			n += e.Len()
		}
	}
}

func text(v resp3.View) {
	if !v.Kind().IsAggregate() {
		sink.s = v.Text()
		return
	}
	c := v.Cursor()
	for {
		e, ok := c.Next()
		if !ok {
			return
		}
		text(e)
	}
}

// BenchmarkParser measures decoders on endless in-memory streams. One
// operation is one frame.
func BenchmarkParser(b *testing.B) {
	for _, c := range corpora {
		for _, d := range decoders {
			b.Run(c.name+"/redisx-"+d.name, func(b *testing.B) {
				r := resp3.NewReader(newStream(c.unit), resp3.Limits{})
				b.ReportAllocs()
				b.SetBytes(int64(len(c.unit) / c.frames))
				done := reportCPU(b)
				for range b.N {
					v, err := r.Read()
					if err != nil {
						b.Fatal(err)
					}
					d.take(v)
				}
				done()
			})
		}
	}
}
