package lease

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/replicas"
)

// Shared asks for a share of the lease: any number of readers hold it together,
// while nobody holds it alone. Without Shared the lease is exclusive: it waits
// until the last reader has left.
//
// Whoever waits for readers, or as one, waits in the queue that Fair describes.
// So a writer that waits keeps later readers out, and readers that wait come in
// before a writer that came after them. Readers that are in stay, and renew.
//
// A share is a Lease of its own: with its TTL, its context, its token, and Do.
// A writer's token is greater than that of every grant before, shares included.
//
// A share cannot be made exclusive, nor the other way round: Acquire with the
// context of a share returns ErrReentrant, whatever it asks for.
func Shared() Option { return func(o *options) { o.shared = true } }

// maxLimit is far from where the server's numbers lose their last digit.
const maxLimit = 1 << 40

// ErrNeverFits: a share weighs more than all shares may. The error is a
// *NeverFitsError.
var ErrNeverFits = errors.New("lease: the share never fits")

// NeverFitsError reports a share that weighs more than the limit.
type NeverFitsError struct{ Weight, Limit int64 }

// Error gives both numbers.
func (e *NeverFitsError) Error() string {
	return fmt.Sprintf("a weight of %d never fits a limit of %d", e.Weight, e.Limit)
}

// Unwrap returns ErrNeverFits.
func (e *NeverFitsError) Unwrap() error { return ErrNeverFits }

// Explain says what to do.
func (e *NeverFitsError) Explain() string {
	return fmt.Sprintf("All shares together may weigh %d, and this one alone weighs %d: it would wait for ever. Ask for less, in several steps, or raise the limit.", e.Limit, e.Weight)
}

// Share is Shared with a weight and a limit: the share comes in when all shares,
// its own included, weigh no more than limit, and waits in the queue until then.
// Both are from 1 to 2^40; a share without Share weighs 1, and no limit keeps it
// out. Package semaphore stands on it.
//
// The limit is each caller's own word: it says when this share may come in, and
// drives nobody out. Where the server keeps one (see package semaphore) that
// counts instead, for all. A share that weighs more than the limit gets a
// *NeverFitsError, also when it waits and the limit shrinks meanwhile.
//
// Nobody overtakes a heavy share that waits, so it does not starve. A waiter that
// dies costs those behind it the TTL that it asked for, but from 1 s to 3 s.
func Share(weight, limit int64) Option {
	return func(o *options) { o.shared, o.limited, o.weight, o.limit = true, true, weight, limit }
}

// checkShare checks what was given to Share.
func (o *options) checkShare(name string) error {
	switch {
	case !o.limited:
		return nil
	case o.limit < 1 || o.limit > maxLimit:
		return fmt.Errorf("lease: %s: a limit of %d is not from 1 to 2^40", name, o.limit)
	case o.weight < 1 || o.weight > maxLimit:
		return fmt.Errorf("lease: %s: a weight of %d is not from 1 to 2^40", name, o.weight)
	}
	return nil
}

// row is the lease as its renewals see it.
func (l *Lease) row() hold.Row {
	if l.share {
		return (*shareRow)(l)
	}
	return (*row)(l)
}

// giveBack gives the lease, or the share, back to the server. It returns "", or
// why it was not ours.
func (l *Lease) giveBack(ctx context.Context) (hold.Reason, error) {
	if !l.queued {
		ours, _, err := lua.release.Run(ctx, l.d, replicas.Need{}, []string{l.names.lease}, []command.Arg{command.Str(l.id)})
		if ours || err != nil {
			return "", err
		}
	}
	return leave(ctx, l.d, l.names, l.id, l.token)
}

// shareRow is a share as its renewals see it.
type shareRow Lease

// Script returns renew_shared.lua.
func (*shareRow) Script() *command.Script { return lua.renewShared }

// Append appends what renew_shared.lua takes for one share.
func (r *shareRow) Append(keys []string, args []command.Arg) ([]string, []command.Arg) {
	return append(keys, r.names.lease, r.names.readers, r.names.fence), append(args, command.Str(r.id), command.Int(r.token), command.Int(r.ttl.Milliseconds()))
}
