package script

import (
	"slices"
	"testing"

	"github.com/redisx/redisx/command"
)

func TestCommandsThatScriptsRefuseAreRefusedBefore(t *testing.T) {
	for name, r := range map[string]command.Request{
		"none":     {},
		"blocking": command.Untyped("BLPOP", "q", 0).Request(),
		"a script": command.Untyped("EVAL", "return 1", 0).Request(),
		"pub/sub":  command.Untyped("SUBSCRIBE", "c").Request(),
		"admin":    command.Untyped("CONFIG", "GET", "*").Request(),
		"too long": command.Untyped("DEL", slices.Repeat([]any{"k"}, maxWords+1)...).Request(),
	} {
		if Check(&r) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	r := command.Incr("n").Request()
	if err := Check(&r); err != nil {
		t.Errorf("INCR: %v", err)
	}
}

func TestACommandIsWrittenWithItsLength(t *testing.T) {
	r := command.Untyped("XGROUP", "CREATE", "s", "g", "$").Request()
	var words []string
	for _, a := range AppendWords(nil, &r) {
		words = append(words, a.Text())
	}
	if want := []string{"5", "XGROUP", "CREATE", "s", "g", "$"}; !slices.Equal(words, want) {
		t.Errorf("wrote %q, want %q", words, want)
	}
}
