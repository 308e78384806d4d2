package lease

import (
	_ "embed" // the scripts
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
)

// scripts are the steps of a lease.
type scripts struct {
	acquire, renew, release, do, inspect *command.Script
}

var lua = scripts{
	acquire: command.NewScript(acquireSource),
	renew:   command.NewScript(renewSource),
	release: command.NewScript(releaseSource),
	do:      command.NewScript(doSource),
	inspect: command.NewScript(inspectSource),
}

// holder is who has a lease, as the server tells.
type holder struct {
	id, owner string
	token     int64
	since     time.Time
	left, ttl time.Duration
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
	return h
}

// grant is the answer of acquire: a token, or who has the lease.
type grant struct {
	granted bool
	token   int64
	held    holder
}

func asGrant(v resp3.View) (grant, error) {
	f := fieldsOf(v)
	g := grant{granted: f.int() == 1}
	if g.granted {
		g.token = f.int()
	} else {
		g.held = f.holder()
	}
	return g, f.err
}
