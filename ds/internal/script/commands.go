package script

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/redisx/redisx/command"
)

// maxWords bounds one command of a fenced write: Lua's stack holds about 8000
// values.
const maxWords = 4000

// Check returns why a command cannot be part of a fenced write, or nil.
func Check(r *command.Request) error {
	if err := r.Err(); err != nil {
		return err
	}
	switch spec := r.Spec(); {
	case r.Block() != 0 || spec.Has(command.Blocking):
		return fmt.Errorf("%s may block", spec.Name)
	case spec.Has(command.PubSub), spec.Has(command.Scripting), spec.Has(command.Admin):
		return fmt.Errorf("%s cannot be part of a script", spec.Name)
	case r.Len() > maxWords:
		return fmt.Errorf("%s has %d arguments, more than %d", spec.Name, r.Len(), maxWords)
	}
	return nil
}

// AppendWords appends a command as commands.lua reads it: how many words it
// has, and the words.
func AppendWords(args []command.Arg, r *command.Request) []command.Arg {
	name := strings.Fields(r.Name())
	args = append(args, command.Str(strconv.Itoa(len(name)+r.Len())))
	for _, w := range name {
		args = append(args, command.Str(w))
	}
	for i := range r.Len() {
		args = append(args, r.Arg(i))
	}
	return args
}
