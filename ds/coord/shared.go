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

// mayHaveRun reports whether a script may have done its work although it
// returned err. An error that the server raised is proof that it has not: our
// scripts read what may fail before they write.
func mayHaveRun(err error) bool {
	var said resp3.ServerError
	return !command.SafeToRetry(err) && !errors.As(err, &said)
}

// passing are the words with which a server says that it cannot answer now.
var passing = []string{"LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN"}

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
