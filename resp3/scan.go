package resp3

// scanner finds the end of a frame and checks every byte of its grammar on the
// way. It is resumable: when the bytes run out it remembers where it was, so a
// reply that arrives in a thousand pieces is still read once, and what it has
// passed need not stay before it (see passed). It keeps a stack of open
// aggregates instead of recursing.
//
// A wrong byte is an error as soon as it is there, however little has arrived:
// a peer that speaks something else must not be waited for.
type scanner struct {
	lim Limits

	// Positions count from where the bytes given to scan begin. That is base
	// bytes after the frame's first, and moves only by forget.
	base  int
	pos   int     // where the next element begins; see also in
	left  int     // elements to come in the innermost aggregate; 0 between frames
	limit int     // most bytes up to here: Limits.Frame, or AttributeBytes at first
	open  []level // aggregates not yet complete, the innermost last

	in    inside
	long  Kind  // inLine: the kind of line
	mark  int   // where the checked bytes of the line end
	state state // the grammar's state at mark

	attrs   int // attributes before the frame
	attrEnd int // where the last attribute ended

	size  int   // bytes of the streamed string so far
	sizes []int // lengths of the streamed strings and aggregates, in order of appearance
}

// inside says what the scanner has begun and not finished, aggregates apart.
type inside uint8

const (
	inString inside = 1 << iota // a streamed string
	inBody                      // a bulk string or a chunk: pos is where its text ends, perhaps far ahead
	inLine                      // a long line, which begins at pos, perhaps before the bytes at hand
)

// level is an aggregate whose elements are still to come.
type level struct {
	left   int  // elements to come, kept here while a deeper level is open
	at     int  // streamed: the index in sizes
	kind   Kind // Attribute does not count as an element of its parent
	stream bool // ends with "." instead of a count
}

// need is the length returned when the bytes end before the frame does.
const need = -1

// leastElement is the length of the shortest element, such as "+\r\n".
const leastElement = 3

// keepSizes is how many sizes of streamed types are kept room for.
const keepSizes = 128

// reset makes the scanner ready for the next frame after a complete one.
func (s *scanner) reset() {
	s.base, s.pos, s.left = 0, 0, 0
	s.open = s.open[:0]
	s.attrs, s.attrEnd = 0, 0
	if s.sizes = s.sizes[:0]; cap(s.sizes) > keepSizes {
		s.sizes = nil
	}
}

// passed returns how many of the have bytes at hand will not be looked at
// again. They end between two elements or inside the text of one.
func (s *scanner) passed(have int) int {
	if s.in&inLine != 0 {
		return s.mark
	}
	return min(s.pos, have)
}

// forget makes positions count from n bytes later, n being passed.
func (s *scanner) forget(n int) {
	s.base += n
	s.pos -= n
	s.mark -= n
	s.limit -= n
	s.attrEnd -= n
}

// scan continues over b, which begins with the frame's first byte that is not
// forgotten. It returns where the frame ends, or need when b ends too early.
func (s *scanner) scan(b []byte) (int, error) {
	if s.left == 0 {
		s.left, s.limit = 1, s.lim.Frame
	}
	for {
		if s.pos >= len(b) {
			return s.pause(b)
		}
		end := s.common(b)
		if end == 0 {
			var err error
			if end, err = s.element(b); err != nil {
				return 0, err
			}
			if end == need {
				return s.pause(b)
			}
		}
		s.pos = end
		if s.left > 0 {
			continue
		}
		if err := s.close(b); err != nil {
			return 0, err
		}
		if s.left > 0 {
			continue
		}
		if s.pos > s.limit {
			return 0, protocolError("frame over the limit", b)
		}
		return s.pos, nil
	}
}

// element scans what is at s.pos: an element, or of an aggregate the header. It
// returns where the next begins, or need.
func (s *scanner) element(b []byte) (int, error) {
	if s.in != 0 {
		return s.resume(b)
	}
	switch k := Kind(b[s.pos]); k {
	case BulkString, BlobError, Verbatim:
		return s.bulk(b, k)
	case Array, Map, Set, Push, Attribute:
		return s.aggregate(b, k)
	case '.':
		return s.dot(b)
	default:
		return s.line(b, k)
	}
}

// resume scans the rest of what s is in.
func (s *scanner) resume(b []byte) (int, error) {
	switch {
	case s.in&inBody != 0:
		return s.trailer(b)
	case s.in&inLine != 0:
		return s.line(b, s.long)
	default:
		return s.chunk(b)
	}
}

// pause ends a scan for want of bytes.
func (s *scanner) pause(b []byte) (int, error) {
	if len(b) > s.limit {
		return 0, s.tooLarge(b)
	}
	return need, nil
}

func (s *scanner) tooLarge(b []byte) error {
	if len(s.open) > 0 && s.open[0].kind == Attribute {
		return protocolError("attributes over the limit", b)
	}
	return protocolError("frame over the limit", b)
}

// common passes over as many whole bulk strings and integers as there are at
// s.pos: the elements of most replies. It stops before anything else, also
// before what is wrong, and returns the position reached, or 0 if it did not
// move.
func (s *scanner) common(b []byte) int {
	pos, left, limit := s.pos, s.left, s.lim.Bulk
	if s.in != 0 {
		return 0
	}
	for left > 0 && pos < len(b) {
		if b[pos] == '$' {
			end := wholeBulk(b, pos, limit)
			if end == 0 {
				break
			}
			pos = end
		} else if b[pos] == ':' {
			_, end := integer(b, pos)
			if end <= 0 {
				break
			}
			pos = end
		} else {
			break
		}
		left--
	}
	if pos == s.pos {
		return 0
	}
	s.left = left
	return pos
}

// wholeBulk returns the position after the bulk string at pos, or 0 if it is
// not whole, not right, or null.
func wholeBulk(b []byte, pos, limit int) int {
	n, p := 0, pos+1
	for ; p < len(b) && b[p]-'0' <= 9; p++ {
		if n = n*10 + int(b[p]-'0'); n > limit {
			return 0
		}
	}
	end := p + n + 4
	if p == pos+1 || p > pos+1+maxDigits || uint(end) > uint(len(b)) ||
		b[p] != '\r' || b[p+1] != '\n' || b[end-2] != '\r' || b[end-1] != '\n' {
		return 0
	}
	return end
}

// close closes the aggregates that the last element completed, s.left being 0.
// It leaves s.left at 0 if the frame itself is complete.
func (s *scanner) close(b []byte) error {
	for s.left == 0 && len(s.open) > 0 {
		if s.open[len(s.open)-1].stream {
			return protocolError("aggregate over the limit", b)
		}
		if err := s.pop(b); err != nil {
			return err
		}
	}
	return nil
}

// pop closes the innermost aggregate and counts it in its parent.
func (s *scanner) pop(b []byte) error {
	top := s.open[len(s.open)-1]
	s.open = s.open[:len(s.open)-1]
	s.left = 1
	if len(s.open) > 0 {
		s.left = s.open[len(s.open)-1].left
	}
	if top.kind == Attribute {
		return s.attributeEnd(b)
	}
	s.left--
	return nil
}

// attributeEnd notes that an attribute ended at s.pos: an element must follow.
func (s *scanner) attributeEnd(b []byte) error {
	s.attrEnd = s.pos
	if len(s.open) == 0 {
		if s.pos > s.limit {
			return protocolError("attributes over the limit", b)
		}
		s.limit = s.lim.Frame - s.base
	}
	return nil
}

// bulk scans a length and jumps over as many bytes.
func (s *scanner) bulk(b []byte, k Kind) (int, error) {
	p := s.pos + 1
	if p < len(b) && b[p] == '?' && k == BulkString {
		end, err := crlf(b, p+1, s.pos)
		if err != nil || end == need {
			return end, err
		}
		if len(s.sizes) >= s.lim.Streamed {
			return 0, protocolError("too many streamed types", b)
		}
		s.sizes = append(s.sizes, 0)
		s.in, s.size = inString, 0
		return end, nil
	}
	n, p, err := length(b, s.pos, s.lim.Bulk)
	if err != nil || p == need {
		return p, err
	}
	if n < 0 {
		if k != BulkString {
			return 0, protocolError("negative length", b[s.pos:])
		}
		s.left--
		return p, nil
	}
	if k == Verbatim && (n < 4 || p+3 < len(b) && b[p+3] != ':') {
		return 0, protocolError("verbatim string without its format", b[s.pos:])
	}
	end, err := s.body(b, p, n, k)
	if end > 0 {
		s.left--
	}
	return end, err
}

// body jumps over n bytes at p and the CRLF after them.
func (s *scanner) body(b []byte, p, n int, k Kind) (int, error) {
	if p+n+2 > s.limit {
		return 0, s.tooLarge(b)
	}
	if k == Verbatim && p+3 >= len(b) {
		return need, nil // look at the format when it comes
	}
	end, err := need, error(nil)
	if p+n < len(b) {
		end, err = crlf(b, p+n, s.pos)
	}
	if end == need {
		s.in |= inBody
		s.pos = p + n
	}
	return end, err
}

// trailer scans the CRLF after the text that s was in.
func (s *scanner) trailer(b []byte) (int, error) {
	end, err := crlf(b, s.pos, s.pos)
	if end > 0 {
		if s.in &^= inBody; s.in == 0 {
			s.left--
		}
	}
	return end, err
}

// crlf checks the CRLF at p, of the element at pos, as far as it is there.
func crlf(b []byte, p, pos int) (int, error) {
	if p < len(b) && b[p] != '\r' || p+1 < len(b) && b[p+1] != '\n' {
		return 0, protocolError("no CRLF where a part must end", b[pos:])
	}
	if p+1 >= len(b) {
		return need, nil
	}
	return p + 2, nil
}

// chunk scans one part of a streamed string: ";", a length, as many bytes. The
// part of length 0 is the last.
func (s *scanner) chunk(b []byte) (int, error) {
	if b[s.pos] != ';' {
		return 0, protocolError("frame inside a streamed string", b[s.pos:])
	}
	n, p, err := length(b, s.pos, s.lim.Bulk-s.size)
	if err != nil || p == need {
		return p, err
	}
	if n < 0 {
		return 0, protocolError("negative length", b[s.pos:])
	}
	if n == 0 {
		s.sizes[len(s.sizes)-1] = s.size // nothing began inside it
		s.in = 0
		s.left--
		return p, nil
	}
	s.size += n
	return s.body(b, p, n, BulkString)
}

// aggregate scans a count and opens the aggregate, unless it is empty or null.
func (s *scanner) aggregate(b []byte, k Kind) (int, error) {
	if k == Push && len(s.open) > 0 {
		return 0, protocolError("push inside another frame", b)
	}
	p, n, stream := s.pos+1, 0, false
	var err error
	if p < len(b) && b[p] == '?' {
		p, err = crlf(b, p+1, s.pos)
		n, stream = s.lim.Elements+1, true
	} else {
		n, p, err = length(b, s.pos, s.lim.Elements)
	}
	if err != nil || p == need {
		return p, err
	}
	if n < 0 && k != Array {
		return 0, protocolError("negative length", b[s.pos:])
	}
	if !stream && (k == Map || k == Attribute) {
		if n *= 2; n > s.lim.Elements {
			return 0, protocolError("length over the limit", b[s.pos:])
		}
	}
	if k == Attribute && len(s.open) == 0 {
		if s.attrs++; s.attrs > s.lim.Attributes {
			return 0, protocolError("attributes over the limit", b)
		}
		s.limit = min(s.lim.AttributeBytes, s.lim.Frame) - s.base
	}
	if n <= 0 {
		if k != Attribute {
			s.left--
			return p, nil
		}
		s.pos = p
		return p, s.attributeEnd(b)
	}
	if !stream && p+n*leastElement > s.limit {
		return 0, s.tooLarge(b)
	}
	return p, s.push(level{kind: k, stream: stream}, n, b)
}

// push opens an aggregate of n elements.
func (s *scanner) push(l level, n int, b []byte) error {
	if len(s.open) >= s.lim.Depth {
		return protocolError("nested too deep", b)
	}
	if l.stream {
		if len(s.sizes) >= s.lim.Streamed {
			return protocolError("too many streamed types", b)
		}
		l.at = len(s.sizes)
		s.sizes = append(s.sizes, 0)
	}
	if len(s.open) > 0 {
		s.open[len(s.open)-1].left = s.left
	}
	s.open = append(s.open, l)
	s.left = n
	return nil
}

// dot scans the end of a streamed aggregate.
func (s *scanner) dot(b []byte) (int, error) {
	if len(s.open) == 0 || !s.open[len(s.open)-1].stream {
		return 0, protocolError("end of a stream that was not begun", b[s.pos:])
	}
	top := s.open[len(s.open)-1]
	seen := s.lim.Elements + 1 - s.left
	if s.pos == s.attrEnd {
		return 0, protocolError("attribute without the element it annotates", b[s.pos:])
	}
	if seen%2 != 0 && (top.kind == Map || top.kind == Attribute) {
		return 0, protocolError("map with a key but no value", b[s.pos:])
	}
	end, err := crlf(b, s.pos+1, s.pos)
	if err != nil || end == need {
		return end, err
	}
	s.sizes[top.at] = seen
	s.pos = end
	return end, s.pop(b)
}

// maxDigits is how many digits a number that fits 64 bits may have, leading
// zeros included.
const maxDigits = 20

// length reads the decimal after the kind byte at pos. It returns the number
// and the position after CRLF, or need. Only -1 is allowed below zero.
func length(b []byte, pos, limit int) (n, end int, err error) {
	p := pos + 1
	start := p
	for ; p < len(b) && b[p]-'0' <= 9; p++ {
		if p-start >= maxDigits {
			return 0, 0, protocolError("invalid length", b[pos:])
		}
		if n = n*10 + int(b[p]-'0'); n > limit {
			return 0, 0, protocolError("length over the limit", b[pos:])
		}
	}
	if p == start && p < len(b) {
		// Not digits: -1 is RESP2's null, everything else is an error.
		if b[p] != '-' || p+1 < len(b) && b[p+1] != '1' {
			return 0, 0, protocolError("invalid length", b[pos:])
		}
		n, p = -1, p+2
	}
	if end, err = crlf(b, p, pos); err != nil {
		return 0, 0, protocolError("invalid length", b[pos:])
	}
	return n, end, nil
}
