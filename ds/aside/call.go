package aside

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coalesce"
	"github.com/redisx/redisx/ds/internal/fill"
	"github.com/redisx/redisx/resp3"
)

// call is one call for a key.
type call struct {
	options
	d       command.Doer
	s       *shared
	own     bool // s is of this call alone: the Doer can keep nothing
	key     string
	keys    [2]string // of the side and of the fill, "" until they are needed
	ttl     time.Duration
	tags    []string
	tagKeys []string
	tally   *tally // of the key

	compute func(ctx context.Context) (result, error)
}

func newCall(d command.Doer, s *shared, key string, ttl time.Duration, o options, tags []string) *call {
	c := &call{options: o, d: d, s: s, key: key, ttl: min(ttl, longest), tags: tags}
	for _, tag := range tags {
		c.tagKeys = append(c.tagKeys, tagKey(o.namespace, tag))
	}
	if s == nil {
		c.s, c.own = newShared(), true
	}
	c.tally = c.s.tallyOf(key)
	return c
}

// end waits for what only this call owns.
func (c *call) end() {
	if c.own {
		c.s.Close()
	}
}

func (c *call) side() string {
	if c.keys[0] == "" {
		c.keys[0] = fill.Beside(c.key, "aside")
	}
	return c.keys[0]
}

func (c *call) fill() string {
	if c.keys[1] == "" {
		c.keys[1] = fill.Key(c.key)
	}
	return c.keys[1]
}

// outcome is what a flight ends with. It holds text, not a T: each caller
// decodes its own, and nobody shares maps and pointers.
type outcome struct {
	data   []byte
	absent bool          // there is no value
	left   time.Duration // of absent: for how long that is kept
	// fresh: data was the value, or what a compute made that began, at some
	// moment not before this.
	fresh time.Time
	// alone: it was computed without the server, where nobody can invalidate it:
	// fresh does not matter.
	alone bool
	// busy: another process refreshes, and nobody has waited for it.
	busy bool
	// unstored: the server did not take data, and why. Not the flight's error,
	// which may be a StoreError, too: of another key that fn has asked for.
	unstored *StoreError
}

// get is the loop of one caller. A caller never takes a result that may be
// older than the call:
//
//  1. A's store has run on the server; its answer is on the way.
//  2. Somebody invalidates the key, and tells B.
//  3. B calls, and joins A's flight just before it ends.
//
// B sees that the flight's last word left for the server before B came, and
// starts over. The first two steps in the other order are the server's to
// refuse: the fill is not A's any more.
func (c *call) get(ctx context.Context) (outcome, sight, error) {
	for {
		came := time.Now()
		seen, err := c.look(ctx)
		if err == nil && seen.verdict != miss && seen.verdict != lastResort {
			return c.serve(ctx, seen), seen.sight, nil
		}
		if err != nil && (c.strict || !unavailable(ctx, err)) {
			return outcome{}, sight{}, c.wrap(err)
		}
		c.count(func(t *tally) { t.misses.Add(1) })
		out, err := c.fly(ctx, flight{call: c, over: seen.over, alone: err != nil})
		foul, failed := err.(*failure)
		switch {
		case failed && seen.verdict == lastResort:
			c.count(func(t *tally) { t.stale.Add(1) })
			return outcome{data: seen.data}, sight{}, nil
		case failed:
			return outcome{}, sight{}, foul.err
		case err != nil:
			return outcome{}, sight{}, err
		case out.busy || !out.alone && came.After(out.fresh):
			continue
		case out.unstored != nil && c.strict:
			return out, sight{}, out.unstored
		}
		return out, sight{}, nil
	}
}

// wrap says of which key an error of the server is.
func (c *call) wrap(err error) error { return fmt.Errorf("aside: %s: %w", c.key, err) }

// unavailable reports whether err says that the server cannot be had, or has no
// room, and not that the caller has left or that something is wrong for good.
func unavailable(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	var said resp3.ServerError
	if errors.As(err, &said) {
		switch said.Code() {
		case "OOM", "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED":
			return true
		}
		return false
	}
	var failed *command.Error
	return errors.As(err, &failed)
}

// verdict is what to do about a reading.
type verdict int

const (
	miss       verdict = iota // wait for a value
	hit                       // serve it
	refresh                   // serve it, and have it computed in the background
	lastResort                // serve it if no new one can be had
	none                      // tell that there is none
)

// sight is what a caller may keep in memory.
type sight struct {
	reading
	sent     time.Time // when the request for it left
	interest *interest // nil: it must not be kept
}

type seen struct {
	sight
	verdict verdict
	over    string // the version that will not do, or ""
}

// look reads the value, and says what to do about it.
func (c *call) look(ctx context.Context) (seen, error) {
	// Noted before the read: what changes after that is told.
	i := c.watch(ctx)
	sent := time.Now()
	r, generations, err := c.read(ctx)
	if err != nil {
		i.stop()
		return seen{}, err
	}
	s := seen{sight: sight{reading: r, sent: sent}}
	s.verdict, s.over = c.judge(r, generations)
	if s.verdict == hit || s.verdict == refresh {
		s.interest = i
	} else {
		i.stop()
	}
	return s, nil
}

func (c *call) judge(r reading, generations string) (verdict, string) {
	switch {
	case r.state == stateNone:
		return miss, ""
	case len(c.tags) > 0 && r.tags != generations:
		// Also of a value that another program has set, or whose fields are gone:
		// nobody knows whether it is older than an invalidation of a tag.
		return miss, r.version
	case r.state == stateForeign:
		return hit, ""
	case r.state == stateAbsent && r.fresh > 0:
		return none, ""
	case r.state == stateAbsent:
		return miss, r.version
	case r.fresh > 0:
		if r.quiet <= 0 && early(r.fresh, r.took, c.window(r.took)) {
			return refresh, r.version
		}
		return hit, ""
	case -r.fresh < c.stale && r.quiet > 0:
		return hit, ""
	case -r.fresh < c.stale && !c.own:
		return refresh, r.version
	case -r.fresh < max(c.stale, c.staleIfError) && r.quiet > 0:
		return hit, ""
	case -r.fresh < max(c.stale, c.staleIfError):
		return lastResort, r.version
	}
	return miss, r.version
}

// window returns how long before its end a value may be refreshed. Without that
// bound XFetch refreshes what is much asked for far too early: of 1000 callers a
// second the first draws a number that fits when δ·ln(1000·δ) is left.
func (c *call) window(took time.Duration) time.Duration {
	return min(time.Duration(c.early*float64(c.ttl)), 4*took)
}

// early draws whether to refresh a value that is fresh for left and took that
// long (XFetch).
func early(left, took, window time.Duration) bool {
	return left < window && -math.Log(1-rand.Float64())*float64(took) >= float64(left)
}

// serve returns what was read, and has it refreshed where it should be.
func (c *call) serve(ctx context.Context, s seen) outcome {
	c.count(func(t *tally) {
		switch {
		case s.verdict == none:
			t.absent.Add(1)
		case s.fresh <= 0:
			t.stale.Add(1)
		default:
			t.server.Add(1)
		}
	})
	if s.verdict == refresh {
		c.refresh(ctx, s.over, s.rest, s.took)
	}
	return outcome{data: s.data, absent: s.verdict == none, left: s.fresh}
}

// refresh has the value computed in the background, if nobody does.
func (c *call) refresh(ctx context.Context, over string, rest, took time.Duration) {
	if c.own || !c.s.mayRefresh(c.key) {
		return
	}
	// Its own interest ends with the value, and a little later: then those who
	// wait for the compute keep it going.
	limit := min(rest, forever) + max(4*took, c.lease)
	c.s.inBackground(ctx, limit, func(ctx context.Context) {
		c.count(func(t *tally) { t.refreshes.Add(1) })
		out, err := c.fly(ctx, flight{call: c, over: over, unasked: true})
		switch {
		case err != nil:
			c.s.refreshed(c.key, backOff)
		case out.busy:
			c.s.refreshed(c.key, max(took, 100*time.Millisecond))
		default:
			c.s.refreshed(c.key, 0)
		}
	})
}

// fly joins or starts the flight for the key.
func (c *call) fly(ctx context.Context, f flight) (outcome, error) {
	out, err := coalesce.Local(ctx, &c.s.group, c.key, f.run)
	if err != nil && ctx.Err() != nil {
		return out, left(ctx, c.key)
	}
	return out, err
}

// count adds to the figures of the client and of the key.
func (c *call) count(add func(*tally)) {
	add(&c.s.total)
	if c.tally != nil {
		add(c.tally)
	}
}
