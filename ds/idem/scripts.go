package idem

import (
	"embed"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

//go:embed *.lua
var sources embed.FS

// scripts are the steps of a run.
type scripts struct {
	begin, renew, checkpoint, finish, commit, abandon, forget, inspect *command.Script
}

var lua = scripts{
	begin:      load("begin"),
	renew:      load("renew"),
	checkpoint: load("checkpoint"),
	finish:     load("finish"),
	commit:     load("commit"),
	abandon:    load("abandon"),
	forget:     load("forget"),
	inspect:    load("inspect"),
}

func load(name string) *command.Script {
	source, err := sources.ReadFile(name + ".lua")
	if err != nil {
		panic(err) // it is embedded: a wrong name here
	}
	return script.New(string(source), sources)
}

// recordKey returns the one key of an operation on the server.
func recordKey(namespace, key string) []string {
	return []string{keys.Prefix(namespace, "idem", key) + "record"}
}

// state is what a record is in, or what begin answers; see the drawing in
// doc.go.
type state string

const (
	claimed  state = "claimed" // the caller is the runner now
	running  state = "running"
	open     state = "open" // ended without an outcome, and has checkpoints
	done     state = "done"
	final    state = "final"
	unstored state = "unstored"
	lost     state = "lost"
	mismatch state = "mismatch"

	// What only errors are in.

	fenced    state = "fenced"
	unsettled state = "unsettled"
)

// reply is what begin and forget answer.
type reply struct {
	state   state
	token   int64
	runner  string
	since   time.Time
	left    time.Duration // of the runner's lease
	payload string
	saved   map[string][]byte // what checkpoints saved, by their names
	sent    time.Time         // when the request left, on the local clock
}

func decodeReply(v resp3.View) (reply, error) {
	f := script.Read(v)
	r := reply{state: state(f.Text()), token: f.Int(), runner: f.Text(), since: f.Micros(), left: f.Millis(), payload: f.Text()}
	for f.More() {
		if r.saved == nil {
			r.saved = map[string][]byte{}
		}
		name := f.Text()
		r.saved[name] = []byte(f.Text())
	}
	return r, f.Err()
}

// verdict is what the steps of a run answer.
type verdict struct {
	ok    bool
	state state // why not: what the record is in
	// before is how many effects took place before one of them failed, and
	// failure its error, "" when none did. Only commit has them.
	before  int
	failure string
}

func decodeVerdict(v resp3.View) (verdict, error) {
	f := script.Read(v)
	var a verdict
	switch f.Int() {
	case 1:
		a.ok = true
	case 2:
		a.before, a.failure = int(f.Int()), f.Text()
	default:
		a.state = state(f.Text())
	}
	return a, f.Err()
}

// row is a run as its renewals see it.
type row run

// Script returns the script that renews many.
func (*row) Script() *command.Script { return lua.renew }

// Append appends the key of the record, the token and the two clocks.
func (r *row) Append(keys []string, args []command.Arg) ([]string, []command.Arg) {
	return append(keys, r.record...), append(args,
		command.Int(r.token), command.Int(r.ttl.Milliseconds()), command.Int(r.retention.Milliseconds()))
}
