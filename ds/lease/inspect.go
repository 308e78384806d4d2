package lease

import (
	"context"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// Info is what the server says of a lease at one moment.
type Info struct {
	Name string
	Held bool
	// Token is the holder's fencing token; when nobody holds the lease, the
	// last one granted, or 0 when none is remembered (7 days after the last
	// grant).
	Token int64

	// The rest is zero when nobody holds the lease.

	Owner string        // the holder's name, for people
	ID    string        // the holder's acquisition
	Since time.Time     // when it was granted, by the server's clock
	Left  time.Duration // until it lapses unless renewed; negative: it has no end
	TTL   time.Duration // what each renewal gives
}

// Inspect returns who holds the lease of that name, since when and for how long.
// Of the options only Namespace counts. A lease that nobody holds is no error.
func Inspect(ctx context.Context, d command.Doer, name string, opts ...Option) (Info, error) {
	o, err := build(name, opts)
	if err != nil {
		return Info{}, err
	}
	n := namesOf(o.namespace, name)
	s, err := command.RunScript(ctx, d, lua.inspect, asInfo, []string{n.lease, n.fence})
	if err != nil {
		return Info{}, wrap(name, ended(ctx, err))
	}
	s.Name = name
	return s, nil
}

func asInfo(v resp3.View) (Info, error) {
	f := fieldsOf(v)
	s := Info{Token: f.int()}
	if f.err == nil && f.c.Len() > 0 {
		h := f.holder()
		s.Held, s.Token, s.Owner, s.ID, s.Since, s.Left, s.TTL = true, h.token, h.owner, h.id, h.since, h.left, h.ttl
	}
	return s, f.err
}
