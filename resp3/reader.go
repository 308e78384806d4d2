package resp3

import (
	"errors"
	"io"
)

// Reader reads frames from a stream and hands them out in place. After an
// error of its source it may be asked again: what had arrived is kept, so a
// read deadline does not break the stream. After a ProtocolError it is dead
// and repeats that error.
//
// A Reader may be used by one goroutine at a time.
type Reader struct {
	src   io.Reader
	buf   []byte
	r, w  int // buf[r:w] has arrived and is not consumed
	scan  scanner
	parts [][]byte // of the frame at hand, what came before buf[r:w]
	from  int      // the last frame is buf[from:r] …
	whole []byte   // … or this, if it came in parts or had streamed types
	err   error
	pend  error // came with bytes: the next Fill returns it
	rest  int   // bytes to come of the string that is read in pieces

	idle int // times in a row that the buffer ran empty and was far too large
	most int // most bytes held since the buffer was empty
}

// NewReader returns a Reader of src. The zero Limits are the defaults. It
// takes no buffer before it is used.
func NewReader(src io.Reader, lim Limits) *Reader {
	return &Reader{src: src, scan: scanner{lim: lim.withDefaults()}}
}

// Read returns the next frame, reading from the source as needed. The View is
// valid until the next call of Read, Fill or Release. Errors of the source are
// returned as they are; io.EOF inside a frame is io.ErrUnexpectedEOF.
func (r *Reader) Read() (View, error) {
	for {
		v, ok, err := r.Poll()
		if ok || err != nil {
			return v, err
		}
		if err := r.Fill(); err != nil {
			if errors.Is(err, io.EOF) && r.Buffered() > 0 {
				err = io.ErrUnexpectedEOF
			}
			return View{}, err
		}
	}
}

// Poll returns the next frame if all of it has arrived, and never reads from
// the source. The View is valid until the next call of Fill, Read or Release;
// further calls of Poll leave it alone, so all frames that one Fill completed
// can be held at once.
//
// Attributes before the frame are not part of the View; Frame has them.
func (r *Reader) Poll() (v View, ok bool, err error) {
	b := r.buf[r.r:r.w]
	if r.scan.left == 0 && len(b) > 0 {
		if v, n := simple(b, &r.scan.lim); n > 0 {
			r.from = r.r
			r.r += n
			r.whole = nil
			return v, true, nil
		}
	}
	return r.poll(b)
}

// poll is Poll for every frame that simple leaves alone.
func (r *Reader) poll(b []byte) (v View, ok bool, err error) {
	if r.err != nil {
		return View{}, false, r.err
	}
	if len(b) <= r.scan.pos {
		return View{}, false, nil
	}
	n, err := r.scan.scan(b)
	if err != nil {
		r.err = err
		r.scan.left = 1 // never again at the start of a frame
		return View{}, false, err
	}
	if n == need {
		return View{}, false, nil
	}
	r.from = r.r
	r.r += n
	r.whole = nil
	raw := b[:n:n]
	if len(r.parts) > 0 || len(r.scan.sizes) > 0 {
		raw = r.gather(raw)
	}
	r.scan.reset()
	return root(raw), true, nil
}

// gather makes one piece of a frame that ends with last, in plain form.
func (r *Reader) gather(last []byte) []byte {
	parts, size := append(r.parts, last), r.scan.base+len(last)
	r.parts = nil
	if len(r.scan.sizes) > 0 {
		r.whole = plain(parts, size, r.scan.sizes)
	} else {
		r.whole = join(parts, size)
	}
	return r.whole
}

// simple returns the frame at the start of b and its length if it is a whole
// scalar within limits. For everything else, also for what is wrong, it returns
// length 0 and the scanner decides.
func simple(b []byte, lim *Limits) (v View, n int) {
	switch k := Kind(b[0]); k {
	case BulkString, Verbatim:
		n = wholeBulk(b, 0, lim.Bulk)
		if n == 0 {
			return View{}, 0
		}
		size, p := decimal(b)
		if k == Verbatim && (size < 4 || b[p+3] != ':') {
			return View{}, 0
		}
		v = scalar(k, 0, b[p:n-2])
	case SimpleString:
		p := 1
		for p < len(b) && b[p] > '\r' {
			p++
		}
		if p+1 >= len(b) || b[p] != '\r' || b[p+1] != '\n' || p-1 > lim.Line {
			return View{}, 0
		}
		v, n = scalar(k, 0, b[1:p]), p+2
	case Integer:
		var i int64
		if i, n = integer(b, 0); n <= 0 {
			return View{}, 0
		}
		v = scalar(k, i, b[1:n-2])
	case Double, BigNumber:
		p, st, limit := 1, startDouble, lim.Line
		if k == BigNumber {
			st, limit = startBig, min(limit, maxBigNumber)
		}
		for p < len(b) && b[p] != '\r' && st != wrong {
			st = next[st][class[b[p]]]
			p++
			for next[st][digit] == st && p < len(b) && b[p]-'0' <= 9 {
				p++ // digits that change nothing
			}
		}
		if p+1 >= len(b) || !final[st] || b[p+1] != '\n' || p-1 > limit {
			return View{}, 0
		}
		v, n = scalar(k, 0, b[1:p]), p+2
	case Null:
		if len(b) < 3 || b[1] != '\r' || b[2] != '\n' {
			return View{}, 0
		}
		v, n = View{kind: Null}, 3
	case Boolean:
		if len(b) < 4 || b[1] != 't' && b[1] != 'f' || b[2] != '\r' || b[3] != '\n' {
			return View{}, 0
		}
		v, n = View{kind: Boolean}, 4
		v.p, v.size = &b[1], 1
		if b[1] == 't' {
			v.n = 1
		}
	}
	if n > lim.Frame {
		return View{}, 0
	}
	return v, n
}

// Frame returns the bytes of the last frame that Read or Poll returned, valid
// as long as its View, with the attributes before it. Streamed strings and
// aggregates are in plain form, with their lengths up front.
func (r *Reader) Frame() []byte {
	if r.whole != nil {
		return r.whole
	}
	return r.buf[r.from:r.r:r.r]
}

// Buffered returns how many bytes have arrived and are not consumed.
func (r *Reader) Buffered() int { return r.scan.base + r.w - r.r }

// Memory returns how many bytes of memory the Reader's buffers take.
func (r *Reader) Memory() int {
	n := len(r.buf)
	for _, p := range r.parts {
		n += len(p)
	}
	return n
}
