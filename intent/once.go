package intent

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
)

// Once runs fn one time for key, among all processes that share the server, and
// gives everybody its result: those who come while it runs wait for it, those
// who come later get it from the record, for 24 h.
//
//	nil           the result, decoded anew for everybody
//	idem.Final    an error so marked is an outcome, too: later callers get ErrFailed
//	other errors  are not kept: the next caller runs fn again
//
// When the process that runs fn dies, nobody knows what it did; the callers get
// idem.ErrIndeterminate within 10 s, until somebody has looked and calls
// idem.Forget. An fn that may run twice takes idem.RerunOnCrash; one that saves
// its steps with idem.Checkpoint takes idem.ResumeOnCrash; commands that it gives
// to idem.Effect take place exactly once.
//
// The errors are those of idem.Run, mostly *idem.Error, which says what to do
// with Explain. All options of package idem are taken.
func Once[T any](ctx context.Context, d command.Doer, key string, fn func(ctx context.Context) (T, error), opts ...idem.Option) (T, error) {
	return idem.Run(ctx, d, key, fn, opts...)
}
