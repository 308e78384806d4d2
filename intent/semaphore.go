package intent

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/semaphore"
)

// Semaphore runs fn with one of n permits of that name: in all processes together
// at most n run at a time, and who comes first is served first. ctx bounds the
// wait, too: when it ends first, the error is a *semaphore.FullError, whose
// Explain says what is in the way and what to do, and wraps the cause.
//
// fn gets a context that ends before its permit goes to anyone else. Semaphore
// returns what fn returned; if the permit was lost before its release, that
// *lease.LostError is joined to it, even when fn returned nil. A process that
// dies gives its permit back within the TTL (10 s, see semaphore.TTL).
//
// All options of package semaphore are taken. Inside fn, a permit of the same name
// is lease.ErrReentrant. Permits of other weights, and limits that change, need a
// semaphore.New. With semaphore.Adaptive each call tells the server how it went;
// one semaphore for many calls does that twice a window.
func Semaphore(ctx context.Context, d command.Doer, name string, n int, fn func(ctx context.Context) error, opts ...semaphore.Option) error {
	return semaphore.New(d, name, n, opts...).With(ctx, 1, fn)
}
