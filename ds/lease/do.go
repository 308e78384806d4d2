package lease

import (
	"context"
	"fmt"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/hold"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

// Do is the fenced write: in one step the server checks that the lease is still
// held with this token and runs the commands, in order. If it is not held the
// error is a *FencedError, nothing was written, and the lease's context ends.
//
// It returns one reply for each command, as RESP2 has them (a hash is an array
// of fields and values, a missing value a null). Commands are not rolled back:
// when one fails, those before it have been run, those after it not; then Do
// returns the replies so far and the error. An error with command.Maybe in it
// leaves open whether they ran.
//
// The server decides, not the local clock: Do is sent even when the lease's
// context has ended, if ctx has not.
//
// Commands must say where their keys are, must not block and must not be of the
// kinds that servers refuse in scripts; each has at most 4000 words. In a
// cluster all keys must be in the slot of the lease: give them its hash tag,
// "{redisx:lease:NAME}" for a name without %, {, } and control bytes.
func (l *Lease) Do(ctx context.Context, commands ...command.Sendable) ([]resp3.Value, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	cmds := make([]command.Request, len(commands))
	for i, c := range commands {
		cmds[i] = c.Request()
	}
	fenced, keys := lua.do, []string{l.names.lease, l.names.fence}
	if l.share {
		fenced, keys = lua.doShared, append(keys, l.names.readers)
	}
	args := []command.Arg{command.Str(l.id), command.Int(l.token)}
	for i := range cmds {
		if err := script.Check(&cmds[i]); err != nil {
			return nil, fmt.Errorf("lease: %s: command %d: %w", l.name, i, err)
		}
		for k := range cmds[i].Keys() {
			keys = append(keys, k)
		}
		args = script.AppendWords(args, &cmds[i])
	}
	replies, err := command.RunScript(ctx, l.d, fenced, asReplies, keys, args...)
	if err != nil {
		return nil, wrap(l.name, wait.Because(ctx, err))
	}
	return l.read(cmds, replies)
}

// asReplies reads an array whose elements may be errors.
func asReplies(v resp3.View) ([]resp3.Value, error) {
	if v.Kind() != resp3.Array {
		return nil, &resp3.TypeError{Want: "an array", Got: v.Kind()}
	}
	return v.Value().Elems(), nil
}

// read turns what the script returned into replies or an error.
func (l *Lease) read(cmds []command.Request, replies []resp3.Value) ([]resp3.Value, error) {
	if len(replies) == 0 {
		return nil, wrap(l.name, &resp3.TypeError{Want: "a longer array", Got: resp3.Array})
	}
	ran, err := replies[0].Int()
	if err != nil {
		return nil, wrap(l.name, err)
	}
	replies = replies[1:]
	if ran == 0 {
		e := &FencedError{Name: l.name, Token: l.token}
		reason, server := hold.Gone, ""
		if len(replies) == 4 {
			e.Holder = replies[0].Text()
			e.HolderToken, _ = replies[1].Int() // 0 when unreadable: it only informs
			reason, server = hold.ReasonOf(replies[2].Text()), replies[3].Text()
		}
		l.hold.Refused(server, reason, e)
		return nil, e
	}
	last := len(replies) - 1
	if last >= 0 {
		err = replies[last].Err()
	}
	switch {
	case last >= len(cmds), err == nil && last < len(cmds)-1:
		return nil, wrap(l.name, &resp3.TypeError{Want: "a reply for each command", Got: resp3.Array})
	case err != nil:
		// Not Refused, although this command may have been: those before
		// it have run, so sending all of them again is not safe.
		e := &command.Error{Command: cmds[last].Name(), Phase: "reply", Node: "the server", Outcome: command.Done, Err: err}
		return replies[:last], fmt.Errorf("lease: %s: command %d: %w", l.name, last, e)
	}
	return replies, nil
}
