package resp3

import "strconv"

// AppendHeader appends an aggregate's header: its kind and its length as the
// wire counts it (a map of two pairs has length 2).
func AppendHeader(dst []byte, k Kind, n int) []byte {
	switch { // most lengths in commands are short
	case 0 <= n && n < 10:
		return append(dst, byte(k), byte('0'+n), '\r', '\n')
	case 10 <= n && n < 100:
		return append(dst, byte(k), byte('0'+n/10), byte('0'+n%10), '\r', '\n')
	}
	dst = append(dst, byte(k))
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}

// AppendBulk appends a bulk string.
func AppendBulk[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = AppendHeader(dst, BulkString, len(s))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendBulkInt appends n as a bulk string of decimal digits, the form in
// which commands carry numbers.
func AppendBulkInt(dst []byte, n int64) []byte {
	if 0 <= n && n <= 9 {
		return append(dst, '$', '1', '\r', '\n', byte('0'+n), '\r', '\n')
	}
	var digits [20]byte
	return AppendBulk(dst, strconv.AppendInt(digits[:0], n, 10))
}

// Append appends the frame as RESP3 to dst, without the attributes before it:
// as it came over the wire, save that a null of RESP2 becomes one of RESP3 and
// streamed types have their lengths up front. The zero View appends nothing.
func (v View) Append(dst []byte) []byte {
	switch k := v.Kind(); k {
	case 0:
		return dst
	case BulkString, BlobError, Verbatim:
		dst = AppendHeader(dst, k, v.size)
	case Array, Set, Push:
		return append(AppendHeader(dst, k, int(v.n)), v.Raw()...)
	case Map, Attribute:
		return append(AppendHeader(dst, k, int(v.n/2)), v.Raw()...)
	default:
		dst = append(dst, byte(k))
	}
	dst = append(dst, v.Raw()...)
	return append(dst, '\r', '\n')
}
