package redisx

import (
	"errors"
	"strings"

	"github.com/redisx/redisx/command"
)

// ErrSessionOver is the cause when a Session is used after the function that it
// was given to has returned.
var ErrSessionOver = errors.New("the session is over: it ends with the function given to WithSession")

// Why a command is refused before it is sent.
var (
	errSession     = errors.New("this command binds its connection: run it inside Client.WithSession")
	errSubscribe   = errors.New("this command changes what a connection receives: use Client.Subscribe")
	errReplies     = errors.New("this command changes how often a connection is answered: no connection of a client can run it")
	errTransaction = errors.New("this command cannot be part of a transaction")
)

// shareable refuses what would change the shared connection under other
// callers.
func shareable(r *command.Request) error {
	s := r.Spec()
	if s == nil || s.Retry == command.RetryRead || s.Retry == command.RetryState {
		return nil
	}
	if s.Retry == command.RetryUnsafe && s.Group != "" && s.Name != "EXEC" {
		return nil // the table knows it, and it does not touch its connection
	}
	if err := unanswerable(r); err != nil {
		return refuse(r, err)
	}
	if s.Retry == command.RetrySession || binds(fullName(r)) {
		return refuse(r, errSession)
	}
	return nil
}

// waits reports whether a command asks for replicas to confirm what its
// connection has written. Behind the writes of its own batch it may stand: a
// batch that may block has a connection for itself.
func waits(r *command.Request) bool {
	s := r.Spec()
	return s != nil && s.Retry == command.RetrySession && (s.Name == "WAIT" || s.Name == "WAITAOF")
}

// private refuses what not even a connection of one's own can run.
func private(r *command.Request) error {
	if r.Spec() == nil {
		return nil
	}
	if err := unanswerable(r); err != nil {
		return refuse(r, err)
	}
	return nil
}

// transactable refuses what servers do not run inside MULTI, and what would end
// it.
func transactable(r *command.Request) error {
	switch fullName(r) {
	case "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "AUTH", "HELLO", "RESET", "QUIT":
		return refuse(r, errTransaction)
	}
	return nil
}

func refuse(r *command.Request, err error) error { return command.BuildError(r, err) }

// fullName returns the command's name in upper case, with the subcommand of
// those that the table does not know.
func fullName(r *command.Request) string {
	s := r.Spec()
	if s == nil {
		return ""
	}
	name := strings.ToUpper(s.Name)
	switch name {
	case "CLIENT", "HIMPORT", "SCRIPT":
		if r.Len() > 0 {
			name += " " + strings.ToUpper(r.Arg(0).Text())
		}
	}
	return name
}

// unanswerable returns why a command cannot be matched with one reply, or nil.
func unanswerable(r *command.Request) error {
	switch fullName(r) {
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE":
		return errSubscribe
	case "MONITOR", "SYNC", "PSYNC", "REPLCONF", "CLIENT REPLY", "SCRIPT DEBUG":
		return errReplies
	}
	return nil
}

// binds reports whether a command that the table does not call one of a session
// changes its connection all the same.
func binds(name string) bool {
	switch name {
	case "ASKING", "READONLY", "READWRITE", "EXEC", "HIMPORT PREPARE", "CLIENT NO-EVICT":
		return true
	case "CLIENT KILL", "CLIENT LIST", "CLIENT PAUSE", "CLIENT UNPAUSE", "CLIENT UNBLOCK", "CLIENT HELP":
		return false
	}
	// Servers to come will have more of these.
	return strings.HasPrefix(name, "CLIENT ")
}

// settled reports whether a command of the session class leaves its connection
// as it was.
func settled(name string) bool {
	switch name {
	case "CLIENT GETNAME", "CLIENT GETREDIR", "CLIENT ID", "CLIENT INFO", "CLIENT TRACKINGINFO", "WAIT", "WAITAOF":
		return true
	}
	return false
}
