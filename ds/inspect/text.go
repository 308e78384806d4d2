package inspect

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text is a string that came from a server. It prints as it is if every rune of
// it is printable, else quoted, with escapes, as redis-cli quotes: nothing that
// a server holds can move a cursor, ring a bell or hide what stands beside it.
// In JSON it has the same form, so that also bytes that are no UTF-8 survive.
type Text string

// String returns the printable form.
func (t Text) String() string {
	if t != "" && t[0] != '"' && printable(string(t)) {
		return string(t)
	}
	return strconv.Quote(string(t))
}

// MarshalText returns the printable form.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads either form.
func (t *Text) UnmarshalText(b []byte) error {
	s := string(b)
	if strings.HasPrefix(s, `"`) {
		var err error
		if s, err = strconv.Unquote(s); err != nil {
			return err
		}
	}
	*t = Text(s)
	return nil
}

func printable(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return false
			}
		}
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// visible returns s with escapes for what is not printable, without quotes.
func visible(s string) string {
	if printable(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !strconv.IsPrint(r) {
			q := strconv.Quote(s[i : i+size])
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// escapeJSON writes what is not printable in a JSON document as \uXXXX. Only
// strings can hold such runes, and there the escape means the same.
func escapeJSON(doc []byte) []byte {
	if printable(string(doc)) {
		return doc
	}
	out := make([]byte, 0, len(doc)+16)
	for i := 0; i < len(doc); {
		r, size := utf8.DecodeRune(doc[i:])
		switch {
		case strconv.IsPrint(r):
			out = append(out, doc[i:i+size]...)
		case r > 0xffff:
			r -= 0x10000
			out = appendUnit(appendUnit(out, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			out = appendUnit(out, r)
		}
		i += size
	}
	return out
}

// appendUnit appends a UTF-16 code unit as a JSON escape.
func appendUnit(out []byte, u rune) []byte {
	const hex = "0123456789abcdef"
	return append(out, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
}
