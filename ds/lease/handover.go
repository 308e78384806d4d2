package lease

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

// ErrTicket: what a ticket stood for is not there any more. The error is a
// *TicketError.
var ErrTicket = errors.New("lease: ticket not valid")

// Ticket is a lease on its way from HandOver to Adopt. Whoever has it may adopt
// the lease, once. It can be sent as JSON.
type Ticket struct {
	Namespace string `json:"namespace,omitempty"` // "" is the default one
	Name      string `json:"name"`                // of the lease
	ID        string `json:"id"`
	// Token is what the adopter will have: greater than that of the old holder.
	Token int64 `json:"token"`
}

// HandOver gives the lease away without letting it go: until the ticket is
// adopted nobody can acquire the lease. If nobody adopts it within the TTL, it
// lapses.
//
// At no moment do two hold it. HandOver first ends the lease's context, with a
// *LostError of reason "handed over", and only then asks the server, which takes
// the lease from this holder with a new, greater token in one step. Work that
// needs the lease must have ended before.
//
// When it fails the context has ended all the same: a *LostError says that the
// lease was not ours any more; after other errors HandOver may be called again,
// which returns the same ticket if the call before did its work unseen, or
// Release. After it has succeeded Release does nothing and returns nil. A share
// cannot be handed over. ctx may come from the lease's own context, as with
// Release.
func (l *Lease) HandOver(ctx context.Context) (Ticket, error) {
	if l.share {
		return Ticket{}, fmt.Errorf("lease: %s: a share cannot be handed over", l.name)
	}
	if within(ctx, l) {
		ctx = l.parent
	}
	l.hold.StopFor(hold.HandedOver)
	if !l.begin(ctx) {
		return Ticket{}, wrap(l.name, wait.Ended(ctx))
	}
	defer func() { <-l.turn }()
	if l.released && l.ticket.Token == 0 {
		return Ticket{}, &LostError{Name: l.name, Token: l.token, Reason: reasonReleased}
	}
	if l.ticket.Token != 0 {
		return l.ticket, nil
	}
	if l.ticket.ID == "" {
		l.ticket.ID = owner.New()
	}
	given, err := command.RunScript(ctx, l.d, lua.handOver, asHandOver, []string{l.names.lease, l.names.fence},
		command.Str(l.id), command.Str(l.ticket.ID), command.Int(l.ttl.Milliseconds()), command.Int(fenceTTL.Milliseconds()), command.Int(l.token))
	switch {
	case err != nil:
		l.unsure = l.unsure || script.MayHaveRun(err)
		return Ticket{}, wrap(l.name, wait.Because(ctx, err))
	case given.why != "":
		return Ticket{}, l.notOurs(given.why)
	}
	l.ticket.Token, l.released = given.token, true
	return l.ticket, nil
}

// handedOver is the answer of handover.lua: a token, or why the lease was not
// ours.
type handedOver struct {
	token int64
	why   hold.Reason
}

func asHandOver(v resp3.View) (handedOver, error) {
	var h handedOver
	f := script.Read(v)
	if f.Int() == 1 {
		h.token = f.Int()
	} else {
		h.why = hold.ReasonOf(f.Text())
	}
	return h, f.Err()
}

// Adopt takes the lease that was handed over with the ticket. The lease has the
// ticket's token. Of the options Namespace does not count: the ticket says.
//
// The error is a *TicketError when the lease has lapsed meanwhile, or was adopted
// or taken over by somebody else. All else is as with TryAcquire.
func Adopt(ctx context.Context, d command.Doer, t Ticket, opts ...Option) (*Lease, error) {
	a, err := newAttempt(ctx, d, t.Name, append(opts[:len(opts):len(opts)], Namespace(t.Namespace), whole))
	if err != nil {
		return nil, err
	}
	err = a.seize(ctx, func(ctx context.Context) (grant, error) {
		return a.send(ctx, lua.adopt, []string{a.names.lease}, command.Str(a.id), command.Str(a.o.owner),
			command.Int(a.o.ttl.Milliseconds()), command.Str(t.ID), command.Str(a.o.meta))
	})
	if err == ErrTicket {
		err = &TicketError{Name: t.Name, Token: t.Token}
	}
	return a.result(ctx, err)
}

// TakeOver takes the lease from whoever has it, for operators: when a holder
// hangs that will not let go, and that keeps renewing. It waits for nobody, and
// all readers and the queue stand back, too.
//
// It does not stop the old holder. That one learns of it, with a *LostError of
// reason "taken over", at its next renewal, a third of its TTL later at most
// plus the time of a request, or at its next Do. Until then its context lasts
// and two believe that they hold the lease. Only tokens keep them apart: the new
// one is greater, Do of the old holder is refused from this moment on, and so is
// what it does elsewhere where the token is checked. Where nothing checks it,
// stop the old holder first, or wait for its TTL after it has died: then Acquire
// does without a gap.
//
// The lease is held and renewed like any other. All else is as with TryAcquire.
func TakeOver(ctx context.Context, d command.Doer, name string, opts ...Option) (*Lease, error) {
	a, err := newAttempt(ctx, d, name, append(opts[:len(opts):len(opts)], whole))
	if err != nil {
		return nil, err
	}
	err = a.seize(ctx, func(ctx context.Context) (grant, error) {
		return a.send(ctx, lua.takeOver, []string{a.names.lease, a.names.fence, a.names.readers}, command.Str(a.id), command.Str(a.o.owner),
			command.Int(a.o.ttl.Milliseconds()), command.Int(fenceTTL.Milliseconds()), command.Str(a.o.meta))
	})
	return a.result(ctx, err)
}

// whole is the option that takes Shared and Fair back: what is handed over or
// taken by force is the whole lease, at once.
func whole(o *options) { o.shared, o.fair, o.limited, o.weight, o.limit = false, false, false, 1, 0 }

// seize asks once, and once more when the answer was lost.
func (a *attempt) seize(ctx context.Context, ask func(ctx context.Context) (grant, error)) error {
	g, err := ask(ctx)
	if err != nil && a.unsure && !a.granted && ctx.Err() == nil {
		g, err = ask(ctx)
	}
	switch {
	case err != nil:
		return err
	case g.verdict == granted:
		a.granted, a.token = true, g.token
		if a.o.strict {
			_, err = a.settle(ctx)
			return err
		}
		return nil
	case g.verdict == badTicket:
		return ErrTicket
	}
	return errNoGrant
}

// TicketError reports a ticket that stands for nothing any more.
type TicketError struct {
	Name  string
	Token int64 // of the ticket
}

// Error names the lease and the ticket's token.
func (e *TicketError) Error() string {
	return fmt.Sprintf("lease: %s: the ticket with token %d is not valid any more", e.Name, e.Token)
}

// Unwrap returns ErrTicket.
func (e *TicketError) Unwrap() error { return ErrTicket }

// Explain says what to do.
func (e *TicketError) Explain() string {
	return fmt.Sprintf("The ticket for %q was not adopted within the TTL, was adopted already, or the lease was taken over. Inspect tells who holds it now; Acquire waits for it.", e.Name)
}
