package command

import (
	"fmt"
	"iter"
	"sort"
	"strconv"
	"strings"

	"github.com/redisx/redisx/resp3"
)

// Lookup returns the facts on a command by its name, in upper or lower case.
// Subcommands are found by both words: "XGROUP CREATE". The containers
// themselves are no commands.
func Lookup(name string) (*Spec, bool) {
	name = upper(name)
	i := sort.Search(len(specs), func(i int) bool { return specs[i].Name >= name })
	if i < len(specs) && specs[i].Name == name {
		return specs[i], true
	}
	return nil, false
}

// Table yields the facts on all commands of the table, by name.
func Table() iter.Seq[*Spec] {
	return func(yield func(*Spec) bool) {
		for _, s := range specs {
			if !yield(s) {
				return
			}
		}
	}
}

// Untyped returns a command by its name, with arguments of any of the types
// that commands can carry: string, []byte, integers, floats and bool (1 or 0).
// Its reply is read as an untyped value.
//
// name is one word and is never split: arguments are passed apart, and so are
// subcommands: Untyped("XGROUP", "CREATE", …). Names that the table lacks are
// sent as they are, in the retry class of what is unknown: unsafe. A name with
// a space or a control byte, an argument of another type and nil make a
// command that is refused before it is sent.
func Untyped(name string, args ...any) Cmd[resp3.Value] {
	r := Request{spec: invalid}
	if reason := badName(name); reason != "" {
		r.wrong("", reason)
		return New(r, AsValue)
	}
	r.spec, args = resolve(name, args)
	r.grow(len(args))
	for i, a := range args {
		arg, ok := ArgOf(a)
		if !ok {
			r.wrong(fmt.Sprintf("argument %d", i+r.spec.words), fmt.Sprintf("type %T is neither string, []byte, integer, float nor bool", a))
		}
		r.Add(arg)
	}
	r.infer()
	return New(r, AsValue)
}

// invalid stands for a command whose name cannot be right. The name itself is
// not shown: it may be a whole command line, with a password.
var invalid = NewSpec(Spec{})

func badName(name string) string {
	if name == "" {
		return "the name of the command is empty"
	}
	if len(name) > 128 {
		return "the name of the command is longer than 128 bytes"
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c == 0x7f {
			return `the name of the command must be one word: arguments are passed apart, as in "GET", "key"`
		}
	}
	return ""
}

// resolve returns the facts on a command and the arguments after its name.
func resolve(name string, args []any) (*Spec, []any) {
	if s, ok := Lookup(name); ok {
		return s, args
	}
	name = upper(name)
	i := sort.Search(len(specs), func(i int) bool { return specs[i].Name >= name+" " })
	container := i < len(specs) && strings.HasPrefix(specs[i].Name, name+" ")
	if container && len(args) > 0 {
		// Whatever type the second word has: CONFIG SET must be known as such,
		// for its arguments are secret.
		if sub, ok := ArgOf(args[0]); ok && sub.isText() {
			if s, ok := Lookup(name + " " + sub.text()); ok {
				return s, args[1:]
			}
		}
	}
	return NewSpec(Spec{Name: name}), args
}

// ArgOf returns a as an argument, or false when it is of a type that commands
// do not carry: neither string, []byte, integer, float nor bool.
func ArgOf(a any) (Arg, bool) {
	switch a := a.(type) {
	case string:
		return Str(a), true
	case []byte:
		return Bytes(a), a != nil
	case int:
		return Int(int64(a)), true
	case int8:
		return Int(int64(a)), true
	case int16:
		return Int(int64(a)), true
	case int32:
		return Int(int64(a)), true
	case int64:
		return Int(a), true
	case uint:
		return Uint(uint64(a)), true
	case uint8:
		return Int(int64(a)), true
	case uint16:
		return Int(int64(a)), true
	case uint32:
		return Int(int64(a)), true
	case uint64:
		return Uint(a), true
	case float32:
		return Str(strconv.FormatFloat(float64(a), 'g', -1, 32)), true
	case float64:
		return Float(a), true
	case bool:
		if a {
			return Int(1), true
		}
		return Int(0), true
	}
	return Arg{}, false
}

// upper is strings.ToUpper for ASCII; it allocates only if it must.
func upper(s string) string {
	for i := 0; i < len(s); i++ {
		if 'a' <= s[i] && s[i] <= 'z' {
			return strings.Map(func(r rune) rune {
				if 'a' <= r && r <= 'z' {
					r -= 'a' - 'A'
				}
				return r
			}, s)
		}
	}
	return s
}
