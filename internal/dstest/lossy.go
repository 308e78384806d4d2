package dstest

import (
	"context"
	"io"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
)

// Lossy is a client that loses answers. Embedding keeps all that a client offers
// besides Do. Its functions must not change while it is in use.
type Lossy struct {
	*redisx.Client
	Before func(r command.Request)      // if not nil, called before a command is sent
	Lose   func(r command.Request) bool // if not nil, says whether to lose the answer to one that has run
}

// Do runs the command; if its answer is lost, so the error says that it may have
// run.
func (l *Lossy) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	if l.Before != nil {
		l.Before(r)
	}
	reply, err := l.Client.Do(ctx, r)
	if err == nil && l.Lose != nil && l.Lose(r) {
		reply.Release()
		return command.Reply{}, &command.Error{Command: r.Name(), Phase: "read", Outcome: command.Maybe, Err: io.ErrUnexpectedEOF}
	}
	return reply, err
}

// Runs reports whether r runs that script, by its digest or its source.
func Runs(r command.Request, script *command.Script) bool {
	return r.Len() > 0 && (r.Arg(0).Text() == script.Digest() || r.Arg(0).Text() == script.Source())
}
