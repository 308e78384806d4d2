package queue

import (
	_ "embed"

	"github.com/redisx/redisx/command"
)

// schema is the version of the layout of the keys, as the meta key states it.
const schema = "1"

// maxBatch bounds the jobs of one script call, in either direction: a longer
// script would hold the server up for others.
const maxBatch = 500

var (
	//go:embed enqueue.lua
	enqueueSource string
	//go:embed open.lua
	openSource string
	//go:embed claim.lua
	claimSource string
	//go:embed beat.lua
	beatSource string
	//go:embed ack.lua
	ackSource string
	//go:embed retry.lua
	retrySource string
	//go:embed dead.lua
	deadSource string
	//go:embed release.lua
	releaseSource string
	//go:embed leave.lua
	leaveSource string
	//go:embed tidy.lua
	tidySource string
	//go:embed stats.lua
	statsSource string
)

var (
	enqueueScript = command.NewScript(enqueueSource)
	openScript    = command.NewScript(openSource)
	claimScript   = command.NewScript(claimSource)
	beatScript    = command.NewScript(beatSource)
	ackScript     = command.NewScript(ackSource)
	retryScript   = command.NewScript(retrySource)
	deadScript    = command.NewScript(deadSource)
	releaseScript = command.NewScript(releaseSource)
	leaveScript   = command.NewScript(leaveSource)
	tidyScript    = command.NewScript(tidySource)
	statsScript   = command.NewScript(statsSource)
)

var (
	blpopSpec = command.NewSpec(command.Spec{
		Name: "BLPOP", Arity: -3, Flags: command.Write | command.Blocking,
		Keys: command.KeySpec{First: 1, Last: -2, Step: 1}, Since: "2.0.0",
	})
	xrangeSpec = command.NewSpec(command.Spec{
		Name: "XRANGE", Arity: -4, Flags: command.ReadOnly, Retry: command.RetryRead,
		Keys: command.KeySpec{First: 1, Last: 1, Step: 1}, Since: "5.0.0",
	})
	xdelSpec = command.NewSpec(command.Spec{
		Name: "XDEL", Arity: -3, Flags: command.Write,
		Keys: command.KeySpec{First: 1, Last: 1, Step: 1}, Since: "5.0.0",
	})
	unlinkSpec = command.NewSpec(command.Spec{
		Name: "UNLINK", Arity: -2, Flags: command.Write,
		Keys: command.KeySpec{First: 1, Last: -1, Step: 1}, Since: "4.0.0",
	})
)

// keyset are the keys of one queue; all have one hash tag.
type keyset struct {
	jobs      string // stream: every job that is not done or dead, with the consumer group
	deadlines string // sorted set: job id → server time in ms at which it is anyone's
	wake      string // list: one element when an idle consumer should look
	dead      string // stream: dead letters
	meta      string // hash: kind, schema, group, lost, regrouped, sweep
	tidied    string // string with a TTL: somebody tidied up lately
}

func newKeyset(prefix string) keyset {
	return keyset{
		jobs:      prefix + "jobs",
		deadlines: prefix + "deadlines",
		wake:      prefix + "wake",
		dead:      prefix + "dead",
		meta:      prefix + "meta",
		tidied:    prefix + "tidied",
	}
}
