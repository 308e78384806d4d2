package resp3

import (
	"errors"
	"io"
)

const (
	minBuffer   = 16 << 10  // an idle connection's read buffer
	burstBuffer = 64 << 10  // what bursts of small frames make it grow to
	keepBuffer  = 256 << 10 // the most that is kept after large frames
	bigBuffer   = 1 << 20   // where growing ends: a larger frame is kept in parts
	idleFills   = 16        // how often the buffer must be far too large to shrink
	emptyReads  = 100
)

var errBadCount = errors.New("resp3: the source returned an impossible count")

// Fill reads from the source once. It makes room first, at most 2 MiB at a time
// and in proportion to what has arrived, if Poll is asked for frames in between.
// An error that came with bytes is returned by the next Fill.
func (r *Reader) Fill() error {
	if err := r.pend; err != nil {
		r.pend = nil
		return err
	}
	into := r.room()
	for range emptyReads {
		n, err := r.src.Read(into)
		if n < 0 || n > len(into) {
			return errBadCount
		}
		if n > 0 {
			r.pend = err
			r.w += n
			r.most = max(r.most, r.w)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// Release gives the buffer back if nothing is buffered, for a connection that
// falls idle. It ends the validity of Views.
func (r *Reader) Release() {
	if r.Buffered() == 0 {
		r.whole = nil
		r.replace(nil)
	}
}

// room returns free space to read into, moving or growing the buffer.
func (r *Reader) room() []byte {
	r.whole = nil
	have := r.w - r.r
	missing := max(r.scan.pos+1-have, 1)
	part := min(max(bigBuffer, missing+minBuffer), 2*bigBuffer)
	switch {
	case len(r.parts) > 0:
		if r.w == len(r.buf) {
			r.seal(part)
		}
		return r.buf[r.w:]
	case have == 0:
		r.empty()
	case len(r.buf) >= bigBuffer && have < keepBuffer/2 && r.scan.pos < keepBuffer:
		r.replace(make([]byte, keepBuffer)) // the rest after a large frame
	}
	r.from = r.r
	free := len(r.buf) - r.w
	switch {
	case free >= len(r.buf)/2 || free >= minBuffer:
	case missing <= free+r.r && (r.r >= len(r.buf)/2 || missing > free):
		if r.most == len(r.buf) && len(r.buf) < burstBuffer {
			r.replace(make([]byte, 2*len(r.buf)))
			break
		}
		r.replace(r.buf)
	case len(r.buf) < bigBuffer:
		r.replace(make([]byte, 2*len(r.buf)))
	default:
		r.seal(part)
	}
	return r.buf[r.w:]
}

// replace moves the bytes not consumed to the start of buf.
func (r *Reader) replace(buf []byte) {
	n := copy(buf, r.buf[r.r:r.w])
	r.buf, r.from, r.r, r.w, r.most = buf, 0, 0, n, n
}

// empty makes the buffer ready for the next burst: larger after one that filled
// it, smaller after a large frame or many small bursts.
func (r *Reader) empty() {
	size := len(r.buf)
	idle := 0
	switch {
	case size > keepBuffer:
		size = burstBuffer
	case size < burstBuffer && r.most == size:
		size = max(2*size, minBuffer)
	case size > minBuffer && r.most < size/4:
		if idle = r.idle + 1; idle == idleFills {
			size, idle = minBuffer, 0
		}
	}
	r.idle = idle
	r.replace(r.buf)
	if size != len(r.buf) {
		r.buf = make([]byte, size)
	}
}

// seal puts aside, where they lie, the bytes that the scanner has passed, as a
// part of the frame at hand. What follows goes into a buffer of size, to which
// nothing is copied but the beginning of a header.
func (r *Reader) seal(size int) {
	n := r.scan.passed(r.w - r.r)
	end := r.r + n
	if rest := r.w - end; rest > n {
		r.replace(make([]byte, 2*len(r.buf))) // Poll was not asked for long
		return
	}
	r.parts = append(r.parts, r.buf[r.r:end:end])
	r.scan.forget(n)
	r.r = end
	r.replace(make([]byte, max(size, 2*(r.w-end))))
}
