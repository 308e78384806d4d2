package script

import (
	"embed"
	"errors"
	"strings"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

//go:embed *.lua
var common embed.FS

// New returns the script of a source, with the parts in place that it includes:
// a line "-- include FILE" stands for that file of parts, or of this package.
func New(source string, parts embed.FS) *command.Script {
	var b strings.Builder
	for line := range strings.Lines(source) {
		part := []byte(line) // one that is not there is left for a test to find, which runs the script
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "-- include "); ok {
			for _, from := range []embed.FS{parts, common} {
				if text, err := from.ReadFile(name); err == nil {
					part = text
					break
				}
			}
		}
		b.Write(part)
	}
	return command.NewScript(b.String())
}

// MayHaveRun reports whether a script may have done its work although it
// returned err. An error that the server raised is proof that it has not: our
// scripts read what may fail before they write.
func MayHaveRun(err error) bool {
	var said resp3.ServerError
	return !command.SafeToRetry(err) && !errors.As(err, &said)
}
