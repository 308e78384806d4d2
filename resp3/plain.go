package resp3

import (
	"bytes"
	"strconv"
)

// join returns the frame of size bytes that lies in parts, and empties parts as
// it goes, so that what is copied may be collected.
func join(parts [][]byte, size int) []byte {
	frame := make([]byte, 0, size)
	for i, part := range parts {
		frame = append(frame, part...)
		parts[i] = nil
	}
	return frame
}

// plain is join for a frame with streamed types: every streamed string and
// aggregate comes out with its length up front; sizes are those that the
// scanner counted. Servers hardly send streamed types, so they cost a second
// pass and everything else costs nothing.
func plain(parts [][]byte, size int, sizes []int) []byte {
	for _, n := range sizes { // only a count of 5 digits or more is longer than "?" and "."
		for ; n >= 10_000; n /= 10 {
			size++
		}
	}
	w := rewriter{dst: make([]byte, 0, size), sizes: sizes}
	for i, part := range parts {
		w.write(part)
		parts[i] = nil
	}
	return w.dst
}

// rewriter writes a checked frame in plain form. The frame comes in parts that
// end where the scanner lets them: between elements, inside the text of one, or
// before the CRLF after it.
type rewriter struct {
	dst    []byte
	sizes  []int // of the streamed types to come
	copy   int   // bytes to copy as they are
	drop   int   // bytes to leave out after those
	line   bool  // inside a line to copy as it is
	chunks bool  // inside a streamed string
}

func (w *rewriter) write(b []byte) {
	for len(b) > 0 {
		switch {
		case w.copy > 0:
			n := min(w.copy, len(b))
			w.dst = append(w.dst, b[:n]...)
			w.copy -= n
			b = b[n:]
		case w.drop > 0:
			n := min(w.drop, len(b))
			w.drop -= n
			b = b[n:]
		case w.line:
			n := bytes.IndexByte(b, '\r')
			if w.line = n < 0; w.line {
				n = len(b)
			} else {
				n += 2
			}
			w.dst = append(w.dst, b[:n]...)
			b = b[n:]
		case w.chunks:
			b = b[w.chunk(b):]
		default:
			b = b[w.element(b):]
		}
	}
}

// element begins the element at the start of b and returns how many bytes of it
// are done with.
func (w *rewriter) element(b []byte) int {
	k := Kind(b[0])
	switch {
	case k == '.':
		w.drop = len(".\r\n")
	case !isBulk(k) && !k.IsAggregate():
		w.line = true
	case b[1] == '?':
		n := w.sizes[0]
		w.sizes = w.sizes[1:]
		if k == Map || k == Attribute {
			n /= 2
		}
		w.dst = append(w.dst, b[0])
		w.dst = strconv.AppendInt(w.dst, int64(n), 10)
		w.dst = append(w.dst, '\r', '\n')
		w.chunks = k == BulkString
		return len("$?\r\n")
	case isBulk(k) && b[1] != '-':
		n, at := decimal(b)
		w.copy = at + n + 2
	default:
		w.line = true
	}
	return 0
}

// chunk begins the chunk of a streamed string at the start of b and returns how
// many bytes of it are done with.
func (w *rewriter) chunk(b []byte) int {
	n, at := decimal(b)
	if n == 0 {
		w.dst = append(w.dst, '\r', '\n')
		w.chunks = false
		return at
	}
	w.copy, w.drop = n, 2
	return at
}
