package lease

import (
	"context"

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
