package resp3

import "bytes"

// line scans an element that is one line: a simple string, an error or a
// scalar. What it has checked of a long line is not checked again.
func (s *scanner) line(b []byte, k Kind) (int, error) {
	pos := s.pos
	end, err := need, error(nil)
	switch k {
	case SimpleString, SimpleError:
		end, err = s.text(b, s.lim.Line)
	case Integer:
		_, end = integer(b, pos)
	case Null:
		end, err = crlf(b, pos+1, pos)
	case Boolean:
		if pos+1 < len(b) {
			if b[pos+1] != 't' && b[pos+1] != 'f' {
				end = 0
				break
			}
			end, err = crlf(b, pos+2, pos)
		}
	case Double:
		end, err = s.number(b, startDouble, s.lim.Line)
	case BigNumber:
		end, err = s.number(b, startBig, min(s.lim.Line, maxBigNumber))
	default:
		return 0, unknownKind(b[pos:])
	}
	if err == nil && end == 0 {
		err = protocolError("invalid "+k.String(), b[max(pos, 0):])
	}
	switch {
	case err != nil:
	case end > 0:
		s.left--
		s.in, s.mark, s.state = 0, 0, 0
	case s.mark > 0:
		s.in, s.long = inLine, k
	}
	return end, err
}

// text scans to the CRLF of a line that may hold anything but CR and LF.
func (s *scanner) text(b []byte, limit int) (int, error) {
	start := s.pos + 1
	p := max(start, s.mark)
	stop := min(len(b), start+limit+1)
	for p < stop && (b[p] > '\r' || b[p] != '\r' && b[p] != '\n') {
		p++
	}
	s.mark = p
	switch {
	case p-start > limit:
		return 0, protocolError("line over the limit", b[max(s.pos, 0):])
	case p == len(b):
		return need, nil
	}
	return crlf(b, p, max(s.pos, 0))
}

// number scans to the CRLF of a number in the grammar that begins with state.
// It returns 0 where the grammar is broken.
func (s *scanner) number(b []byte, first state, limit int) (int, error) {
	start := s.pos + 1
	p, st := start, first
	if s.in != 0 {
		p, st = s.mark, s.state
	}
	for ; p < len(b) && b[p] != '\r'; p++ {
		if st = next[st][class[b[p]]]; st == wrong {
			return 0, nil
		}
	}
	s.mark, s.state = p, st
	switch {
	case p-start > limit:
		return 0, protocolError("line over the limit", b[max(s.pos, 0):])
	case p == len(b):
		return need, nil
	case !final[st]:
		return 0, nil
	}
	return crlf(b, p, max(s.pos, 0))
}

// integer scans ":" [sign] digits CRLF at pos. It returns the number and the
// position after it, need, or 0 if the grammar is broken or 64 bits too few.
func integer(b []byte, pos int) (int64, int) {
	p := pos + 1
	most := uint64(1<<63 - 1)
	neg := false
	if p < len(b) && (b[p] == '-' || b[p] == '+') {
		if neg = b[p] == '-'; neg {
			most++
		}
		p++
	}
	start := p
	var n uint64
	for ; p < len(b) && b[p]-'0' <= 9; p++ {
		c := uint64(b[p] - '0')
		if p-start >= 18 && (p-start >= maxDigits || n > (most-c)/10) {
			return 0, 0
		}
		n = n*10 + c
	}
	if p == start && p < len(b) || p < len(b) && b[p] != '\r' || p+1 < len(b) && b[p+1] != '\n' {
		return 0, 0
	}
	if p+1 >= len(b) {
		return 0, need
	}
	if neg {
		n = -n
	}
	return int64(n), p + 2
}

// The grammars of doubles and big numbers, as state machines, because they
// must be able to stop at any byte and to tell at any byte that it is wrong:
//
//	double     [sign] digits ["." [digits]] [("e" | "E") [sign] digits] | [sign] ("inf" | "nan")
//	big number [sign] digits
type state uint8

const (
	wrong state = iota
	startDouble
	signed
	whole
	fraction
	exponent
	exponentSigned
	exponentDigits
	inf1 // i
	inf2 // in
	nan1 // n
	nan2 // na
	word // inf, nan
	startBig
	bigSigned
	bigDigits
	states
)

const (
	other = iota
	digit
	sign
	dot
	letterE
	letterI
	letterN
	letterF
	letterA
	classes
)

var class = [256]uint8{
	'0': digit, '1': digit, '2': digit, '3': digit, '4': digit, '5': digit, '6': digit, '7': digit, '8': digit, '9': digit,
	'+': sign, '-': sign, '.': dot, 'e': letterE, 'E': letterE,
	'i': letterI, 'n': letterN, 'f': letterF, 'a': letterA,
}

var next = [states][classes]state{
	startDouble:    {sign: signed, digit: whole, letterI: inf1, letterN: nan1},
	signed:         {digit: whole, letterI: inf1, letterN: nan1},
	whole:          {digit: whole, dot: fraction, letterE: exponent},
	fraction:       {digit: fraction, letterE: exponent},
	exponent:       {sign: exponentSigned, digit: exponentDigits},
	exponentSigned: {digit: exponentDigits},
	exponentDigits: {digit: exponentDigits},
	inf1:           {letterN: inf2},
	inf2:           {letterF: word},
	nan1:           {letterA: nan2},
	nan2:           {letterN: word},
	startBig:       {sign: bigSigned, digit: bigDigits},
	bigSigned:      {digit: bigDigits},
	bigDigits:      {digit: bigDigits},
}

var final = [states]bool{whole: true, fraction: true, exponentDigits: true, word: true, bigDigits: true}

// matches reports whether s is a whole number of the grammar that begins with
// st.
func matches[S ~string | ~[]byte](st state, s S) bool {
	for i := 0; i < len(s); i++ {
		st = next[st][class[s[i]]]
	}
	return final[st]
}

// unknownKind names the usual suspects that answer on a wrong port.
func unknownKind(b []byte) error {
	reason := "invalid frame"
	switch {
	case bytes.HasPrefix(b, []byte("HTTP")):
		reason = "an HTTP server answered"
	case bytes.HasPrefix(b, []byte("SSH-")):
		reason = "an SSH server answered"
	case len(b) > 0 && (b[0] == 0x15 || b[0] == 0x16):
		reason = "a TLS server answered"
	}
	return protocolError(reason, b)
}
