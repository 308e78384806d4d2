package redisx

import (
	"context"
	"fmt"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// Script is a Lua script as a value; it may be used by many goroutines.
type Script struct{ s *command.Script }

// NewScript returns the script of a source.
func NewScript(source string) *Script { return &Script{command.NewScript(source)} }

// Run runs the script on d with its keys and its arguments apart, and returns
// what it returns. Arguments are of the types that Client.Cmd takes.
//
// The script is sent by its digest; a server that does not know it says so
// before anything runs, and is then sent the source. A script that fails may
// have written before it did: its error's Outcome is Done.
func (s *Script) Run(ctx context.Context, d command.Doer, keys []string, args ...any) (resp3.Value, error) {
	list := make([]command.Arg, len(args))
	for i, a := range args {
		arg, ok := command.ArgOf(a)
		if !ok {
			return resp3.Value{}, fmt.Errorf("redisx: script argument %d: type %T is neither string, []byte, integer, float nor bool", i, a)
		}
		list[i] = arg
	}
	return command.RunScript(ctx, d, s.s, command.AsValue, keys, list...)
}
