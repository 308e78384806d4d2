package redisx

import (
	"context"

	"github.com/redisx/redisx/command"
)

// Script is a Lua script as a value.
type Script = command.Script

// Library is a library of functions as a value; its methods Function and
// FunctionRO give what can be run.
type Library = command.Library

// NewScript returns the script of a source.
func NewScript(source string) *Script { return command.NewScript(source) }

// NewScriptRO returns the script of a source that only reads.
func NewScriptRO(source string) *Script { return command.NewScriptRO(source) }

// NewLibrary returns the library of a source (Redis 7.0).
func NewLibrary(code string) *Library { return command.NewLibrary(code) }

// Run runs a script or function on d with its keys and its arguments apart, and
// decodes what it returns: with command.AsInt, command.AsStrings, or a function
// of yours. Arguments are of the types that Client.Cmd takes.
//
// A server that does not know the program says so before running anything, and
// is then told within the same call, at most once. A program that fails may
// have written before it did: its error's Outcome is Done.
func Run[T any](ctx context.Context, d command.Doer, p command.Program, decode command.Decoder[T], keys []string, args ...any) (T, error) {
	return command.Run(ctx, d, p, decode, keys, args...)
}
