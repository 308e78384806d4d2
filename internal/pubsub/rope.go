package pubsub

import "strings"

// rope is a FIFO of bytes in chunks that are used again: what flows through it
// at a constant length leaves no garbage, and what it grows by is not copied.
type rope struct {
	chunks [][]byte // not empty, all but the last full
	head   int      // bytes of chunks[0] that are taken
	size   int
	spare  []byte
}

const (
	minChunk  = 512
	maxChunk  = 64 << 10
	keepChunk = 4 << 10 // what an empty rope keeps
)

func (r *rope) write(b []byte) {
	for len(b) > 0 {
		end := len(r.chunks) - 1
		if end < 0 || len(r.chunks[end]) == cap(r.chunks[end]) {
			r.chunks = append(r.chunks, r.chunk())
			end++
		}
		last := r.chunks[end]
		n := min(len(b), cap(last)-len(last))
		r.chunks[end] = append(last, b[:n]...)
		b = b[n:]
		r.size += n
	}
}

func (r *rope) chunk() []byte {
	if c := r.spare; c != nil {
		r.spare = nil
		return c[:0]
	}
	return make([]byte, 0, min(max(r.size, minChunk), maxChunk))
}

// text takes the first n bytes.
func (r *rope) text(n int) string {
	var b strings.Builder
	b.Grow(n)
	for n > 0 {
		part := r.chunks[0][r.head:]
		part = part[:min(n, len(part))]
		b.Write(part)
		r.skip(len(part))
		n -= len(part)
	}
	return b.String()
}

// skip takes the first n bytes and forgets them.
func (r *rope) skip(n int) {
	r.size -= n
	for n > 0 {
		first := r.chunks[0]
		m := min(n, len(first)-r.head)
		r.head += m
		n -= m
		if r.head == len(first) {
			if cap(first) > cap(r.spare) {
				r.spare = first
			}
			r.chunks[0] = nil
			r.chunks = r.chunks[1:]
			r.head = 0
		}
	}
	if r.size == 0 && cap(r.spare) > keepChunk {
		r.spare = nil
	}
}
