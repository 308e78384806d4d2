package idem

import (
	"errors"
	"net/http"
	"strings"
)

// maxKey bounds an Idempotency-Key, in bytes.
const maxKey = 255

var (
	errNoKey   = errors.New("the header Idempotency-Key is missing")
	errManyKey = errors.New("there is more than one header Idempotency-Key")
	errBadKey  = errors.New("the header Idempotency-Key is not a string of 1 to 255 printable ASCII characters")
)

// keyOf returns the value of Idempotency-Key: a string of a structured field
// (RFC 9651), in quotes, whose parameters are ignored; or, as many clients send
// it, the same without quotes.
func keyOf(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	switch len(values) {
	case 0:
		return "", errNoKey
	case 1:
	default:
		return "", errManyKey
	}
	text := strings.Trim(values[0], " \t")
	var key string
	ok := true
	if quoted, is := strings.CutPrefix(text, `"`); is {
		key, ok = unquote(quoted)
	} else if key = text; strings.ContainsAny(text, "\",;\\ \t") {
		ok = false
	}
	if !ok || key == "" || len(key) > maxKey {
		return "", errBadKey
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", errBadKey
		}
	}
	return key, nil
}

// unquote reads a string up to its closing quote; after that only parameters
// may come.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			rest := s[i+1:]
			return b.String(), rest == "" || strings.HasPrefix(rest, ";")
		case '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
