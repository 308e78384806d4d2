package lease

import (
	"embed"
	"strconv"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/batch"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

var (
	//go:embed acquire.lua
	acquireSource string
	//go:embed renew.lua
	renewSource string
	//go:embed release.lua
	releaseSource string
	//go:embed do.lua
	doSource string
	//go:embed inspect.lua
	inspectSource string
	//go:embed queue.lua
	queueSource string
	//go:embed leave.lua
	leaveSource string
	//go:embed do_shared.lua
	doSharedSource string
	//go:embed renew_shared.lua
	renewSharedSource string
	//go:embed handover.lua
	handOverSource string
	//go:embed adopt.lua
	adoptSource string
	//go:embed takeover.lua
	takeOverSource string
	//go:embed strict.lua
	strictSource string
	//go:embed grant.lua why.lua
	parts embed.FS
)

// scripts are the steps of a lease.
type scripts struct {
	acquire *batch.Script[grant]
	release *batch.Script[bool]

	renew, do, inspect                  *command.Script
	queue, leave, renewShared, doShared *command.Script
	handOver, adopt, takeOver, strict   *command.Script
}

var lua = scripts{
	acquire: acquireRows(script.New(acquireSource, parts)),
	release: releaseRows(script.New(releaseSource, parts)),

	renew:   script.New(renewSource, parts),
	do:      script.New(doSource, parts),
	inspect: script.New(inspectSource, parts),

	queue:       script.New(queueSource, parts),
	leave:       script.New(leaveSource, parts),
	renewShared: script.New(renewSharedSource, parts),
	doShared:    script.New(doSharedSource, parts),

	handOver: script.New(handOverSource, parts),
	adopt:    script.New(adoptSource, parts),
	takeOver: script.New(takeOverSource, parts),

	strict: script.New(strictSource, parts),
}

func acquireRows(s *command.Script) *batch.Script[grant] {
	return batch.New(s, 2, 4, asGrant, command.Int(fenceTTL.Milliseconds()))
}

func releaseRows(s *command.Script) *batch.Script[bool] { return batch.New(s, 1, 1, command.AsBool) }

// holder is who has a lease, as the server tells.
type holder struct {
	id, owner string
	token     int64
	since     time.Time
	left, ttl time.Duration
	meta      string

	readers  int // how many hold it together, 0: one holds it alone
	position int // of the caller in the queue, from 1; 0: not in it
	waiting  int // how many are in it

	used, limit int64 // what the shares weigh, and may weigh; 0: without a limit
}

// holderOf reads who has a lease.
func holderOf(f *script.Fields) holder {
	h := holder{id: f.Text(), owner: f.Text(), token: f.Int()}
	h.since = time.UnixMicro(f.Int())
	h.left = time.Duration(f.Int()) * time.Millisecond
	h.ttl = time.Duration(f.Int()) * time.Millisecond
	h.meta = f.Text()
	return h
}

// grant is the answer of acquire.lua or queue.lua: a token, or who has the
// lease.
type grant struct {
	verdict verdict
	token   int64
	held    holder
	again   time.Duration // until something may change by itself
}

type verdict int64

const (
	refused verdict = 0
	granted verdict = 1
	// seeQueue: readers hold it or somebody waits in the queue, and queue.lua
	// knows more.
	seeQueue  verdict = 2
	queueFull verdict = 3 // or too many readers
	isReader  verdict = 4 // the caller has a share itself
	badTicket verdict = 5 // there is nothing to adopt
	neverFits verdict = 6 // a share weighs more than the limit
)

// errNoGrant: the answer is one to another question.
var errNoGrant = &resp3.TypeError{Want: "a grant", Got: resp3.Array}

func asGrant(v resp3.View) (grant, error) {
	if v.Kind() != resp3.Array {
		token, err := v.Int()
		if err == nil && token < 1 {
			err = &resp3.TypeError{Want: "a token", Got: v.Kind()}
		}
		return grant{verdict: granted, token: token}, err
	}
	f := script.Read(v)
	g := grant{verdict: verdict(f.Int())}
	switch g.verdict {
	case refused:
		g.held = holderOf(f)
		g.again = g.held.left
		if f.More() { // queue.lua
			g.held.readers, g.held.position, g.held.waiting = int(f.Int()), int(f.Int()), int(f.Int())
			g.again = time.Duration(f.Int()) * time.Millisecond
		}
		if f.More() { // with a limit
			g.held.used, g.held.limit = f.Int(), f.Int()
		}
	case neverFits:
		g.held.limit = f.Int()
	case seeQueue, queueFull, isReader, badTicket:
	default:
		f.Refuse(strconv.FormatInt(int64(g.verdict), 10))
	}
	return g, f.Err()
}
