package resp3

// Seal makes r put aside what it has passed of an unfinished frame, as it does
// when a large buffer is full, and go on in a buffer of size.
func (r *Reader) Seal(size int) {
	have := r.w - r.r
	if n := r.scan.passed(have); r.scan.left > 0 && n > 0 && 2*n >= have {
		r.seal(size)
	}
}
