package resp3

import (
	"errors"
	"io"
)

const (
	minBuffer   = 16 << 10  // an idle connection's read buffer
	burstBuffer = 64 << 10  // what bursts of small frames make it grow to
	keepBuffer  = 256 << 10 // the most that is kept after large frames
	bigBuffer   = 1 << 20   // from here on buffers grow by a quarter, not twice
	maxPart     = 4 << 20
	idleFills   = 16 // how often the buffer must be far too large to shrink
	emptyReads  = 100
)

var errBadCount = errors.New("resp3: the source returned an impossible count")

// Fill reads from the source once. It makes room first: up to 1 MiB as frames
// and bursts need it, and more than that only in proportion to what has
// arrived. An error that came with bytes is returned by the next Fill.
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
			r.took(n)
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
		r.replace(nil)
	}
}

// room returns free space to read into, moving or growing the buffer.
func (r *Reader) room() []byte {
	r.norm = nil
	have := r.w - r.r
	if r.parts.list != nil {
		return r.parts.room(have, r.scan.want)
	}
	switch {
	case have == 0:
		r.empty()
	case len(r.buf) > bigBuffer && have < keepBuffer/2 && r.scan.want < keepBuffer:
		r.replace(make([]byte, keepBuffer)) // the rest after a large frame
	}
	r.from = r.r
	missing := max(r.scan.want-have, 1)
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
	case missing > have/4:
		return r.parts.room(have, r.scan.want)
	default:
		r.replace(make([]byte, have+have/4))
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

// took notes that n bytes were read into the space that room returned.
func (r *Reader) took(n int) {
	if r.parts.list == nil {
		r.w += n
		r.most = max(r.most, r.w)
		return
	}
	r.parts.took(n)
	if have := r.w - r.r + r.parts.held; have >= r.scan.want {
		buf := make([]byte, have+minBuffer)
		r.replace(buf)
		r.w += r.parts.join(buf[r.w:])
	}
}

// parts holds the bytes of a bulk string that is far larger than what has
// arrived of it. They are joined when all are here: memory stays within twice
// what arrived and every byte is copied once, which growing one buffer does not
// achieve.
type parts struct {
	list [][]byte // all full but, until join, the last
	w    int      // bytes in the last
	held int      // bytes in all
}

// room returns free space for a frame of which have bytes are elsewhere and
// that needs want.
func (p *parts) room(have, want int) []byte {
	if len(p.list) == 0 || p.w == len(p.list[len(p.list)-1]) {
		size := min(have+p.held, maxPart, want-have-p.held)
		p.list = append(p.list, make([]byte, size))
		p.w = 0
	}
	return p.list[len(p.list)-1][p.w:]
}

func (p *parts) took(n int) {
	p.w += n
	p.held += n
}

// join copies all bytes to dst and forgets them.
func (p *parts) join(dst []byte) int {
	n := 0
	for _, part := range p.list {
		n += copy(dst[n:], part)
	}
	*p = parts{}
	return n
}
