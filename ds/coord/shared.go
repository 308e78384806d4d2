package coord

import (
	"errors"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/resp3"
)

// attachment is where a client keeps its parties, members and terms.
type attachment struct{}

// isClosed reports whether the client is closed, so that asking has no end.
func isClosed(d command.Doer) bool {
	s, err := owned.By(d, attachment{})
	return err != nil || s.Closed()
}

// passing are the words with which a server says that it cannot answer now.
var passing = []string{"LOADING", "BUSY", "OOM", "MISCONF", "NOREPLICAS", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN"}

// final reports whether err is the server's word: asking again brings nothing
// else.
func final(err error) bool {
	for _, code := range passing {
		if command.IsCode(err, code) {
			return false
		}
	}
	var said resp3.ServerError
	var shape *resp3.TypeError
	return errors.As(err, &said) || errors.As(err, &shape)
}
