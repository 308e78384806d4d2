package resp3

// Append appends the frame as it came over the wire, without the attributes
// before it. The zero View appends nothing.
func (v View) Append(dst []byte) []byte {
	switch v.kind {
	case 0:
		return dst
	case BulkString, BlobError, Verbatim:
		dst = AppendHeader(dst, v.kind, len(v.b))
	case Array, Set, Push:
		return append(AppendHeader(dst, v.kind, int(v.n)), v.b...)
	case Map, Attribute:
		return append(AppendHeader(dst, v.kind, int(v.n/2)), v.b...)
	default:
		dst = append(dst, byte(v.kind))
	}
	dst = append(dst, v.b...)
	return append(dst, '\r', '\n')
}
