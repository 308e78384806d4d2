package inspect

import "strings"

// meta are the bytes with a meaning in the patterns of SCAN.
const meta = `*?[]\`

// literal returns the pattern that matches s alone.
func literal(s string) string {
	if !strings.ContainsAny(s, meta) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(meta, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// matches reports whether a pattern of * (any bytes), ? (one byte) and \ (the
// next byte itself) matches all of s. It takes time in the product of the
// lengths at most.
func matches(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // the last * seen, and what it began to match at
	for i < len(s) {
		width, c, any := 0, byte(0), false
		if p < len(pattern) {
			width, c = 1, pattern[p]
			switch {
			case c == '*':
				star, from = p, i
				p++
				continue
			case c == '?':
				any = true
			case c == '\\' && p+1 < len(pattern):
				width, c = 2, pattern[p+1]
			}
		}
		switch {
		case width > 0 && (any || c == s[i]):
			p, i = p+width, i+1
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
