package dstest

import (
	"context"
	"io"
	"sync"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
)

// Lossy is a client that loses requests and answers. Embedding keeps all that a
// client offers besides Do. Its functions are called by many goroutines; while it
// is in use only Change may set them.
type Lossy struct {
	*redisx.Client
	Before func(r command.Request)      // if not nil, called before a command is sent
	Drop   func(r command.Request) bool // if not nil, says whether to lose a command before it is sent
	Lose   func(r command.Request) bool // if not nil, says whether to lose the answer to one that has run

	mu sync.Mutex // guards the functions
}

// Change runs f, which may set the functions.
func (l *Lossy) Change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// Do runs the command, unless it is lost. If it or its answer is, the error says
// that it may have run.
func (l *Lossy) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	l.mu.Lock()
	before, drop, lose := l.Before, l.Drop, l.Lose
	l.mu.Unlock()
	if before != nil {
		before(r)
	}
	if drop != nil && drop(r) {
		return command.Reply{}, lost(r)
	}
	reply, err := l.Client.Do(ctx, r)
	if err == nil && lose != nil && lose(r) {
		reply.Release()
		return command.Reply{}, lost(r)
	}
	return reply, err
}

func lost(r command.Request) error {
	return &command.Error{Command: r.Name(), Phase: "read", Outcome: command.Maybe, Err: io.ErrUnexpectedEOF}
}

// Runs reports whether r runs that script, by its digest or its source.
func Runs(r command.Request, script *command.Script) bool {
	return r.Len() > 0 && (r.Arg(0).Text() == script.Digest() || r.Arg(0).Text() == script.Source())
}
