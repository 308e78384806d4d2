package coord

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/explain"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

var (
	//go:embed latch_create.lua
	latchCreateSource string
	//go:embed latch_done.lua
	latchDoneSource string
	//go:embed latch_inspect.lua
	latchInspectSource string
)

// latchLua are the steps of a latch.
var latchLua = struct{ create, done, inspect *command.Script }{
	create:  command.NewScript(latchCreateSource),
	done:    command.NewScript(latchDoneSource),
	inspect: command.NewScriptRO(latchInspectSource),
}

const (
	defaultLatchTTL = 24 * time.Hour
	maxLatchCount   = 1_000_000
)

// ErrNotFound: there is no latch of that name: nobody has made it, it was
// deleted, or its TTL has passed.
var ErrNotFound = errors.New("coord: no such latch")

// MustExist makes Wait return ErrNotFound where there is no latch. Without it,
// Wait waits until somebody makes one. It counts for NewLatch.
func MustExist() Option { return func(o *options) { o.mustExist = true } }

// Latch is a gate that opens, once and for all, when a number of members are
// done. Its methods may be called by many goroutines.
type Latch struct {
	d    command.Doer
	name string
	o    options
	keys []string
	err  error // in what NewLatch got
}

// NewLatch returns the latch of that name; it asks the server nothing. TTL is
// for how long the server keeps a latch from its creation, and again from its
// opening: longer than the members take, and than anybody comes late. Its
// default is 24 h here. MustExist, Namespace and AllowEviction count, too. An
// error in the arguments is returned by each call.
func NewLatch(d command.Doer, name string, opts ...Option) *Latch {
	o, err := build("latch", name, append([]Option{TTL(defaultLatchTTL)}, opts...))
	p := keys.Prefix(o.namespace, "latch", name)
	return &Latch{d: d, name: name, o: o, keys: []string{p + "latch", p + "done"}, err: err}
}

// Create makes the latch, closed until count members are done, from 0 (open at
// once) to a million. A latch that is there already with that count stays as it
// is, so Create may be repeated; with another count the error is a *MismatchError.
func (l *Latch) Create(ctx context.Context, count int) error {
	if l.err != nil {
		return l.err
	}
	if count < 0 || count > maxLatchCount {
		return fmt.Errorf("coord: latch %s: a count of %d is not within 0 and %d", l.name, count, maxLatchCount)
	}
	if !l.o.allowEviction {
		if err := evict.Check(ctx, l.d); err != nil {
			return wrap("latch", l.name, wait.Because(ctx, err))
		}
	}
	theirs, err := command.RunScript(ctx, l.d, latchLua.create, func(v resp3.View) (int64, error) {
		f := script.Read(v)
		if f.Int() == 1 {
			return int64(count), f.Err()
		}
		return f.Int(), f.Err()
	}, l.keys, command.Int(int64(count)), command.Int(l.o.ttl.Milliseconds()))
	if err != nil {
		return wrap("latch", l.name, wait.Because(ctx, err))
	}
	if theirs != int64(count) {
		return &MismatchError{Kind: "latch", Name: l.name, Ours: count, Theirs: int(theirs)}
	}
	return nil
}

// Done says that a member, of at most 256 bytes, is done, and returns how many
// are still to be; with 0 the latch is open. A member that is done twice counts
// once, so Done may be repeated. Where there is no latch the error is
// ErrNotFound.
func (l *Latch) Done(ctx context.Context, member string) (left int, err error) {
	if l.err != nil {
		return 0, l.err
	}
	if member == "" || len(member) > maxName {
		return 0, fmt.Errorf("coord: latch %s: a member of %d bytes is not within 1 and %d", l.name, len(member), maxName)
	}
	n, err := command.RunScript(ctx, l.d, latchLua.done, command.AsInt, l.keys, command.Str(member))
	if err == nil && n < 0 {
		err = ErrNotFound
	}
	if err != nil {
		return 0, wrap("latch", l.name, wait.Because(ctx, err))
	}
	return int(n), nil
}

// Wait returns nil when the latch is open, at once if it is open already. Where
// there is none yet it waits for that, too, unless MustExist was given; where
// one goes away while Wait waits, the error is ErrNotFound. When ctx ends first,
// the error wraps its cause.
//
// A lost connection is no end: Wait asks again for as long as ctx lasts.
func (l *Latch) Wait(ctx context.Context) error {
	if l.err != nil {
		return l.err
	}
	seen := l.o.mustExist
	var last error
	err := wait.Until(ctx, l.d, l.keys[0], func(ctx context.Context) (bool, time.Duration, error) {
		i, err := l.ask(ctx)
		switch {
		case err != nil && (wait.Final(err) || ctx.Err() != nil || isClosed(l.d)):
			return false, 0, err
		case err != nil:
			last = err
			return false, askAgain, nil
		case i.Open:
			return true, 0, nil
		case i.Exists:
			seen = true
			// The server may be slow to say that a key has expired.
			return false, lapse(i.Left), nil
		case seen:
			return false, 0, ErrNotFound
		}
		return false, 0, nil
	})
	if err == nil {
		return nil
	}
	if last != nil && ctx.Err() != nil {
		err = wait.Because(ctx, last)
	}
	return wrap("latch", l.name, wait.Because(ctx, err))
}

func (l *Latch) ask(ctx context.Context) (LatchInfo, error) {
	return command.RunScript(ctx, l.d, latchLua.inspect, asLatchInfo, l.keys)
}

// Info returns how the latch stands. A latch that is not there is no error.
func (l *Latch) Info(ctx context.Context) (LatchInfo, error) {
	if l.err != nil {
		return LatchInfo{}, l.err
	}
	i, err := l.ask(ctx)
	if err != nil {
		return LatchInfo{}, wrap("latch", l.name, wait.Because(ctx, err))
	}
	i.Name = l.name
	return i, nil
}

// LatchInfo is what the server says of a latch at one moment.
type LatchInfo struct {
	Name   string `json:"name"`
	Exists bool   `json:"exists"`
	Open   bool   `json:"open"`

	// The rest is zero where there is none.

	Count  int           `json:"count"`            // how many members it waits for
	Done   int           `json:"done"`             // how many are done
	Since  time.Time     `json:"since,omitzero"`   // when it was made, by the server's clock
	Opened time.Time     `json:"opened,omitzero"`  // when it opened
	Left   time.Duration `json:"left_ns,omitzero"` // until the server forgets it; negative: somebody took its TTL away
}

func asLatchInfo(v resp3.View) (LatchInfo, error) {
	f := script.Read(v)
	if !f.More() {
		return LatchInfo{}, f.Err()
	}
	i := LatchInfo{Exists: true, Count: int(f.Int()), Done: int(f.Int()), Since: f.Micros(), Opened: f.Micros(), Left: f.Millis()}
	i.Open = !i.Opened.IsZero()
	return i, f.Err()
}

// Explain says whether it is open, or for how many it waits, in one line.
func (i LatchInfo) Explain() string {
	switch {
	case !i.Exists:
		return "none: nobody has made it, or its TTL has passed"
	case i.Open:
		return fmt.Sprintf("open since %s, %d of %d members done", explain.Clock(i.Opened), i.Done, i.Count)
	}
	return fmt.Sprintf("closed since %s, %d of %d members done", explain.Clock(i.Since), i.Done, i.Count)
}
