package coord

import (
	"context"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/redisx/redisx/ds/internal/wait"
)

// Bounds of the pause between two looks while the server cannot be asked.
const (
	minLook = 50 * time.Millisecond
	maxLook = time.Second
)

// Observe tells who leads: at once, and again whenever that changes. States that
// follow each other quickly may be passed over, the last one never; the consumer
// may take any time between two. Terms only rise. Between them, or after the
// last, nobody leads: Led is false then, and Term the last one.
//
// An error of the server or the connection is told once, the looking goes on,
// and what is so afterwards is told again, changed or not. A server that has
// lost its data, or a replica promoted too early, may know of an older term
// only, or none: that is told as nobody leading, until a newer term begins.
//
// The sequence ends when the consumer leaves it, or with an error when the client
// is closed or ctx ends, which then wraps the cause of ctx. Any process may
// observe, candidate or not. Nothing runs between two elements.
func (e *Election) Observe(ctx context.Context) iter.Seq2[LeaderInfo, error] {
	return func(yield func(LeaderInfo, error) bool) {
		if e.err != nil {
			yield(LeaderInfo{}, e.err)
			return
		}
		o := observer{e: e}
		pause := time.Duration(0) // before the next look, while there is an error
		for {
			err := wait.Until(ctx, e.d, e.keys.lease, o.look)
			switch {
			case err == nil:
				pause = 0
				if !yield(o.told, nil) {
					return
				}
				continue
			case ctx.Err() != nil || isClosed(e.d):
				yield(LeaderInfo{}, wrap("election", e.name, wait.Because(ctx, err)))
				return
			case pause == 0:
				o.sure = false
				if !yield(LeaderInfo{}, wrap("election", e.name, err)) {
					return
				}
			}
			pause = min(max(2*pause, minLook), maxLook)
			sleep(ctx, pause/2+rand.N(pause))
		}
	}
}

// observer is one who observes an election.
type observer struct {
	e    *Election
	sure bool // told has been told, and there was no error since
	told LeaderInfo
}

// look has the form that wait.Until takes: it is done when there is news.
func (o *observer) look(ctx context.Context) (done bool, next time.Duration, err error) {
	info, err := o.e.leader(ctx)
	if err != nil {
		return false, 0, err
	}
	if info.Term < o.told.Term {
		// The server has forgotten: going back would make a term that has
		// ended the leader's.
		info = LeaderInfo{Name: info.Name, Term: o.told.Term}
	}
	if o.sure && info.Term == o.told.Term && info.Led == o.told.Led {
		return false, info.next(), nil
	}
	o.sure, o.told = true, info
	return true, 0, nil
}
