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
	src  io.Reader
	buf  []byte
	r, w int // buf[r:w] has arrived and is not consumed
	scan scanner
	from int    // the last frame is buf[from:r] …
	norm []byte // … or this, if it had streamed types
	err  error
	pend error // came with bytes: the next Fill returns it

	parts parts
	idle  int // times in a row that the buffer ran empty and was far too large
	most  int // most bytes held since the buffer was empty
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
			r.norm = nil
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
	if len(b) == 0 || len(b) < r.scan.want {
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
	r.norm = nil
	raw := b[:n:n]
	if len(r.scan.sizes) > 0 {
		r.norm = plain(make([]byte, 0, n), raw, r.scan.sizes)
		raw = r.norm
	}
	r.scan.reset()
	return root(raw), true, nil
}

// simple returns the frame at the start of b and its length if it is of a kind
// that most replies are, whole, and within limits. For everything else, also
// for what is wrong, it returns length 0 and the scanner decides.
func simple(b []byte, lim *Limits) (View, int) {
	switch Kind(b[0]) {
	case BulkString:
		n, p := 0, 1
		for ; p < len(b) && b[p]-'0' <= 9; p++ {
			if n = n*10 + int(b[p]-'0'); n > lim.Bulk {
				return View{}, 0
			}
		}
		end := p + n + 4
		if p == 1 || p > maxDigits+1 || uint(end) > uint(len(b)) || end > lim.Frame ||
			b[p] != '\r' || b[p+1] != '\n' || b[end-2] != '\r' || b[end-1] != '\n' {
			return View{}, 0
		}
		return View{kind: BulkString, b: b[p+2 : end-2 : end-2]}, end
	case SimpleString:
		for p := 1; p < len(b)-1; p++ {
			if c := b[p]; c == '\r' || c == '\n' {
				if c != '\r' || b[p+1] != '\n' || p-1 > lim.Line || p+2 > lim.Frame {
					break
				}
				return View{kind: SimpleString, b: b[1:p:p]}, p + 2
			}
		}
	case Integer:
		if n, end := integer(b, 0); end > 0 && end <= lim.Frame {
			return View{kind: Integer, n: n, b: b[1 : end-2 : end-2]}, end
		}
	}
	return View{}, 0
}

// Frame returns the bytes of the last frame that Read or Poll returned, valid
// as long as its View, with the attributes before it. Streamed strings and
// aggregates are in plain form, with their lengths up front.
func (r *Reader) Frame() []byte {
	if r.norm != nil {
		return r.norm
	}
	return r.buf[r.from:r.r:r.r]
}

// Buffered returns how many bytes have arrived and are not consumed.
func (r *Reader) Buffered() int { return r.w - r.r + r.parts.held }
