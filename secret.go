package redisx

import (
	"fmt"
	"log/slog"
	"strconv"
)

// Secret is text that is never printed, logged or marshalled. Convert it to a
// string to use it.
type Secret string

const redacted = "[redacted]"

// String returns "[redacted]", or "" if there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String in quotes.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// Format prints what String prints, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText returns what String returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
