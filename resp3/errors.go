package resp3

import (
	"strconv"
	"strings"
)

// ProtocolError reports bytes that are not RESP, or that pass a limit. The
// stream cannot be trusted after it: close the connection.
type ProtocolError struct {
	// Reason says what was wrong, in words.
	Reason string
	// Near quotes the first bytes at hand of the offending frame or element,
	// escaped and cut.
	Near string
}

// Error states the reason and quotes the bytes met.
func (e *ProtocolError) Error() string {
	if e.Near == "" {
		return "resp3: " + e.Reason
	}
	return "resp3: " + e.Reason + " near " + e.Near
}

func protocolError(reason string, near []byte) error {
	return &ProtocolError{Reason: reason, Near: quote(near)}
}

// quote escapes at most 32 bytes, so that a hostile peer can neither fill a
// log nor drive a terminal.
func quote(b []byte) string {
	const most = 32
	if len(b) > most {
		return strconv.QuoteToASCII(string(b[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(b))
}

// ServerError is an error reply: the server read the command and refused it or
// failed at it. Its text is the server's own and may hold user data.
type ServerError string

// Error returns the server's text.
func (e ServerError) Error() string { return string(e) }

// Code returns the first word of the text, such as "WRONGTYPE" or "MOVED".
func (e ServerError) Code() string {
	code, _, _ := strings.Cut(string(e), " ")
	return code
}
