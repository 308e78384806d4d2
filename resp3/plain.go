package resp3

import "strconv"

// plain appends the checked frame raw to dst with every streamed string and
// aggregate written with its length up front; sizes are those that the scanner
// counted. Servers hardly send streamed types, so they cost a second pass and
// everything else costs nothing.
func plain(dst, raw []byte, sizes []int) []byte {
	for p := 0; p < len(raw); {
		k := Kind(raw[p])
		switch {
		case k == '.':
			p += 3
		case isBulk(k) || k.IsAggregate():
			if raw[p+1] != '?' {
				_, n := head(raw[p:])
				dst = append(dst, raw[p:p+n]...)
				p += n
				continue
			}
			n := sizes[0]
			sizes = sizes[1:]
			if k == Map || k == Attribute {
				n /= 2
			}
			dst = append(dst, byte(k))
			dst = strconv.AppendInt(dst, int64(n), 10)
			dst = append(dst, '\r', '\n')
			p += 4
			if k == BulkString {
				dst, p = chunks(dst, raw, p)
			}
		default:
			_, n := head(raw[p:])
			dst = append(dst, raw[p:p+n]...)
			p += n
		}
	}
	return dst
}

// chunks appends the text of the streamed string whose first chunk is at p,
// and returns the position after it.
func chunks(dst, raw []byte, p int) ([]byte, int) {
	for {
		n, at := decimal(raw[p:])
		p += at
		if n == 0 {
			return append(dst, '\r', '\n'), p
		}
		dst = append(dst, raw[p:p+n]...)
		p += n + 2
	}
}
