package resp3

import "strconv"

// AppendHeader appends an aggregate's header: its kind and its length as the
// wire counts it (a map of two pairs has length 2).
func AppendHeader(dst []byte, k Kind, n int) []byte {
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
