package resp3

// Begin starts to read the next frame in pieces, for who passes a string on
// without holding it: it consumes the header of a bulk string and returns the
// length of its text. Where it reports false it consumes nothing: if more is
// true, too little has arrived to tell, and Fill comes next; else the next frame
// is something else, or wrong, and Poll comes next.
//
// Until Piece has returned the last piece, only Piece and Fill may be called.
func (r *Reader) Begin() (size int, ok, more bool) {
	if r.err != nil || r.rest > 0 || r.scan.left > 0 {
		return 0, false, false
	}
	b := r.buf[r.r:r.w]
	for at, c := range b[:min(len(b), maxHeader)] {
		switch {
		case at == 0 && Kind(c) == BulkString:
		case at > 0 && c-'0' <= 9:
			size = size*10 + int(c-'0')
		case at > 1 && c == '\r' && at+1 == len(b):
		case at > 1 && c == '\r' && b[at+1] == '\n' && size <= r.scan.lim.Bulk && size+at+4 <= r.scan.lim.Frame:
			r.r += at + 2
			r.from, r.whole = r.r, nil
			r.rest = size + 2
			return size, true, false
		default: // another kind, a null, a streamed string, or wrong
			return 0, false, false
		}
	}
	return 0, false, len(b) < maxHeader
}

// maxHeader is more than a header within any limit has.
const maxHeader = 16

// Piece returns what has arrived of the string that Begin started, valid until
// the next Fill, and whether it was the last of it. No bytes and not the last:
// call Fill. What is not ended by CRLF is a ProtocolError.
func (r *Reader) Piece() (b []byte, last bool, err error) {
	if r.err != nil {
		return nil, false, r.err
	}
	n := max(min(r.rest-2, r.w-r.r), 0)
	b = r.buf[r.r : r.r+n : r.r+n]
	r.r += n
	r.rest -= n
	for r.rest > 0 && r.rest <= 2 && r.r < r.w {
		if r.buf[r.r] != "\n\r"[r.rest-1] {
			r.err = protocolError("bulk string not ended by CRLF", r.buf[r.r:r.w])
			r.scan.left = 1
			return nil, false, r.err
		}
		r.r++
		r.rest--
	}
	r.from = r.r
	return b, r.rest == 0, nil
}
