package lease

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

// maxNext bounds the search for the next in the queue: dead waiters may be
// before it.
const maxNext = 32

// Info is what the server says of a lease at one moment.
type Info struct {
	Name string `json:"name"`
	Held bool   `json:"held"`
	// Token is the holder's fencing token; when nobody holds the lease, the
	// last one granted, or 0 when none is remembered (7 days after the last
	// grant).
	Token int64 `json:"token"`

	// Waiting is how many are in the queue, those included whose tickets have
	// lapsed and that nobody has passed over yet. Who waits without Fair is not
	// in the queue.
	Waiting int    `json:"waiting"`
	Next    string `json:"next,omitempty"` // the owner's name of the first in the queue

	// The rest is zero when nobody holds the lease. When readers hold it
	// together it is of the one who may stay longest.

	Owner string        `json:"owner,omitempty"`   // the holder's name, for people
	ID    string        `json:"id,omitempty"`      // the holder's acquisition
	Since time.Time     `json:"since,omitzero"`    // when it was granted, by the server's clock
	Left  time.Duration `json:"left_ns,omitempty"` // until it lapses unless renewed; negative: it has no end
	TTL   time.Duration `json:"ttl_ns,omitempty"`  // what each renewal gives
	Meta  string        `json:"meta,omitempty"`    // what the holder says of itself, see Meta

	Readers int `json:"readers,omitempty"` // how many hold it together; 0: one holds it alone
	// Offered: Owner has handed it over, and nobody has adopted it yet.
	Offered bool `json:"offered,omitempty"`
}

// Renewed returns how long ago the lease was granted or last renewed, 0 when
// nobody holds it or it has no end.
func (i Info) Renewed() time.Duration {
	if !i.Held || i.Left < 0 {
		return 0
	}
	return max(i.TTL-i.Left, 0)
}

// Explain says the same in a sentence.
func (i Info) Explain() string {
	var b strings.Builder
	switch {
	case !i.Held && i.Token == 0:
		b.WriteString("free, no grant remembered")
	case !i.Held:
		fmt.Fprintf(&b, "free, last token %d", i.Token)
	case i.Offered:
		fmt.Fprintf(&b, "handed over by %s at %s, token %d, not adopted yet", i.Owner, clock(i.Since), i.Token)
	case i.Readers > 1:
		fmt.Fprintf(&b, "shared by %d readers, one of them %s since %s, token %d", i.Readers, i.Owner, clock(i.Since), i.Token)
	case i.Readers == 1:
		fmt.Fprintf(&b, "shared by one reader, %s since %s, token %d", i.Owner, clock(i.Since), i.Token)
	default:
		fmt.Fprintf(&b, "held by %s since %s, token %d", i.Owner, clock(i.Since), i.Token)
	}
	if i.Held && i.Meta != "" {
		fmt.Fprintf(&b, ", meta %q", i.Meta)
	}
	switch {
	case !i.Held:
	case i.Left < 0:
		b.WriteString(", without an end: somebody took its TTL away")
	case i.Offered:
		fmt.Fprintf(&b, ", lapses in %s", seconds(i.Left))
	default:
		fmt.Fprintf(&b, ", renewed %s ago, lapses in %s unless renewed", seconds(i.Renewed()), seconds(i.Left))
	}
	if i.Waiting > 0 {
		fmt.Fprintf(&b, ", %d waiting", i.Waiting)
	}
	if i.Next != "" {
		fmt.Fprintf(&b, ", next is %s", i.Next)
	}
	return b.String()
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// Inspect returns who holds the lease of that name, since when and for how long,
// and who waits in the queue. Of the options only Namespace counts. A lease that
// nobody holds is no error.
func Inspect(ctx context.Context, d command.Doer, name string, opts ...Option) (Info, error) {
	var o options
	if err := o.build(name, opts); err != nil {
		return Info{}, err
	}
	i, err := inspect(ctx, d, namesOf(o.namespace, name))
	if err != nil {
		return Info{}, wrap(name, wait.Because(ctx, err))
	}
	i.Name = name
	return i, nil
}

func inspect(ctx context.Context, d command.Doer, n names) (Info, error) {
	return command.RunScript(ctx, d, lua.inspect, asInfo, []string{n.lease, n.fence, n.queue, n.order, n.readers}, command.Int(maxNext))
}

func asInfo(v resp3.View) (Info, error) {
	f := script.Read(v)
	i := Info{Token: f.Int(), Waiting: int(f.Int()), Next: f.Text(), Readers: int(f.Int())}
	if f.More() {
		h := holderOf(f)
		i.Held, i.Token, i.Owner, i.ID, i.Since, i.Left, i.TTL, i.Meta = true, h.token, h.owner, h.id, h.since, h.left, h.ttl, h.meta
		i.Offered = f.Int() == 1
	}
	return i, f.Err()
}
