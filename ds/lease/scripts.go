package lease

import (
	"embed"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
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
	//go:embed clock.lua commands.lua grant.lua tickets.lua shares.lua
	parts embed.FS
)

// scripts are the steps of a lease.
type scripts struct {
	acquire, renew, release, do, inspect *command.Script
	queue, leave, renewShared, doShared  *command.Script
	handOver, adopt, takeOver            *command.Script
}

var lua = scripts{
	acquire: script(acquireSource),
	renew:   command.NewScript(renewSource),
	release: script(releaseSource),
	do:      script(doSource),
	inspect: script(inspectSource),

	queue:       script(queueSource),
	leave:       script(leaveSource),
	renewShared: script(renewSharedSource),
	doShared:    script(doSharedSource),

	handOver: script(handOverSource),
	adopt:    script(adoptSource),
	takeOver: script(takeOverSource),
}

// script puts what several scripts share where a line of the source says
// "-- include FILE".
func script(source string) *command.Script {
	var b strings.Builder
	for line := range strings.Lines(source) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "-- include ")
		part, err := parts.ReadFile(name)
		if !ok || err != nil { // then a test that runs the script finds it
			b.WriteString(line)
			continue
		}
		b.Write(part)
	}
	return command.NewScript(b.String())
}

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
}

// fields reads the elements of one flat array in turn. The first failure
// stays; what is read after it is zero.
type fields struct {
	c   resp3.Cursor
	err error
}

func fieldsOf(v resp3.View) *fields {
	f := &fields{c: v.Cursor()}
	if v.Kind() != resp3.Array {
		f.err = &resp3.TypeError{Want: "an array", Got: v.Kind()}
	}
	return f
}

func (f *fields) next() resp3.View {
	v, ok := f.c.Next()
	if !ok && f.err == nil {
		f.err = &resp3.TypeError{Want: "a longer array", Got: resp3.Array}
	}
	return v
}

func (f *fields) int() int64 {
	v := f.next()
	if f.err != nil {
		return 0
	}
	n, err := v.Int()
	f.err = err
	return n
}

func (f *fields) text() string {
	v := f.next()
	if f.err != nil {
		return ""
	}
	s, err := v.Str()
	f.err = err
	return s
}

func (f *fields) holder() holder {
	h := holder{id: f.text(), owner: f.text(), token: f.int()}
	h.since = time.UnixMicro(f.int())
	h.left = time.Duration(f.int()) * time.Millisecond
	h.ttl = time.Duration(f.int()) * time.Millisecond
	h.meta = f.text()
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
)

func asGrant(v resp3.View) (grant, error) {
	f := fieldsOf(v)
	g := grant{verdict: verdict(f.int())}
	switch g.verdict {
	case granted:
		g.token = f.int()
	case refused:
		g.held = f.holder()
		g.again = g.held.left
		if f.err == nil && f.c.Len() > 0 { // queue.lua
			g.held.readers, g.held.position, g.held.waiting = int(f.int()), int(f.int()), int(f.int())
			g.again = time.Duration(f.int()) * time.Millisecond
		}
	}
	return g, f.err
}
