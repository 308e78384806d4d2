package main

import (
	"fmt"
	"strconv"
	"strings"
)

// wordType returns the Go type of a word.
func wordType(w *word) string { return "Word" + w.name }

// optionsFile returns the option words and the interfaces that take them.
func optionsFile(t *table) string {
	var b strings.Builder
	for _, w := range t.words {
		writeWord(&b, w)
	}
	for _, o := range t.options {
		b.WriteString(comment(o.doc))
		fmt.Fprintf(&b, "type %s interface{ %s() option }\n\n", o.name, o.method())
		var names []string
		for _, w := range o.words {
			names = append(names, w.name)
		}
		list := o.method() + "Words"
		fmt.Fprintf(&b, "var %s = []string{%s}\n\n", list, quoted(names))
		for i, w := range o.words {
			fmt.Fprintf(&b, "func (w %s) %s() option { return w.option().as(%s, %d, %d, %t) }\n\n",
				wordType(w), o.method(), list, i, o.not[i], t.risky(o, w.name))
		}
	}
	return fileOf("command", b.String())
}

// risky reports whether a word makes a repeat unsafe where the set is taken.
func (t *table) risky(o *optionSet, name string) bool {
	for _, g := range t.groups {
		for _, c := range g.commands {
			for _, f := range c.funcs {
				for _, p := range f.params {
					if p.typ != o.name || (p.kind != options && p.kind != option) {
						continue
					}
					for _, u := range c.unless {
						if u == name {
							return true
						}
					}
				}
			}
		}
	}
	return false
}

func writeWord(b *strings.Builder, w *word) {
	typ := wordType(w)
	if len(w.params) == 0 {
		fmt.Fprintf(b, "// %s is the type of %s.\ntype %s string\n\n", typ, w.name, typ)
		b.WriteString(comment(w.doc))
		fmt.Fprintf(b, "const %s %s = %q\n\n", w.name, typ, w.name)
		fmt.Fprintf(b, "func (w %s) option() option { return word(%s) }\n\n", typ, tokens(w))
		return
	}
	var args []arg
	var names, fields []string
	for _, p := range w.params {
		t, _ := goType(p.typ)
		field := t
		if p.kind == many {
			field = "[]" + t
		}
		args = append(args, arg{p.name, t, p.kind == many})
		fields = append(fields, p.name+" "+field)
		names = append(names, p.name)
	}
	fmt.Fprintf(b, "// %s is what %s returns.\ntype %s struct{ %s }\n\n", typ, w.name, typ, strings.Join(fields, "; "))
	b.WriteString(comment(w.doc))
	fmt.Fprintf(b, "func %s(%s) %s { return %s{%s} }\n\n", w.name, declare(args, false), typ, typ, strings.Join(names, ", "))
	fmt.Fprintf(b, "func (w %s) option() option { return %s }\n\n", typ, makeOption(w))
}

// makeOption returns the expression that makes a word's option.
func makeOption(w *word) string {
	p := w.params[0]
	switch {
	case p.typ == "ttl":
		return fmt.Sprintf("spanOption(%q, %q, w.%s)", w.name, p.milli, p.name)
	case p.typ == "time":
		return fmt.Sprintf("timeOption(%q, %q, w.%s)", w.name, p.milli, p.name)
	case p.typ == "ms":
		return fmt.Sprintf("millisOption(%q, w.%s)", w.name, p.name)
	case p.typ == "block":
		return fmt.Sprintf("blockOption(%q, w.%s)", w.name, p.name)
	case p.typ == "name":
		return fmt.Sprintf("plainOption(%q, w.%s)", w.name, p.name)
	case p.kind == many:
		return fmt.Sprintf("floatsOption(%q, w.%s)", w.name, p.name)
	}
	return "word(" + tokens(w) + ")"
}

// tokens returns what a word sends, as arguments.
func tokens(w *word) string {
	var out []string
	for _, token := range w.wire {
		value := "Str(" + strconv.Quote(token) + ")"
		for _, p := range w.params {
			if p.name != token {
				continue
			}
			switch p.typ {
			case "int", "uint", "float":
				value = strings.ToUpper(p.typ[:1]) + p.typ[1:] + "(w." + p.name + ")"
			case "str":
				value = "Str(w." + p.name + ")"
			default:
				value = "Str(string(w." + p.name + "))"
			}
		}
		out = append(out, value)
	}
	return strings.Join(out, ", ")
}

// aliasesFile returns the option words of the root package.
func aliasesFile(t *table) string {
	var b strings.Builder
	b.WriteString("// The option words, as in package command.\nconst (\n")
	for _, w := range t.words {
		if len(w.params) == 0 {
			b.WriteString(comment(w.doc))
			fmt.Fprintf(&b, "%s = command.%s\n", w.name, w.name)
		}
	}
	b.WriteString(")\n\n")
	for _, w := range t.words {
		if len(w.params) == 0 {
			continue
		}
		var args []arg
		for _, p := range w.params {
			typ, _ := goType(p.typ)
			args = append(args, arg{p.name, typ, p.kind == many})
		}
		b.WriteString(comment(w.doc))
		fmt.Fprintf(&b, "func %s(%s) command.%s { return command.%s(%s) }\n\n", w.name, declare(args, true), wordType(w), w.name, pass(args))
	}
	b.WriteString(argumentAliases)
	return fileOf("redisx", b.String())
}

// argumentAliases are the types that arguments of methods have.
const argumentAliases = `
// What methods take as arguments, as in package command.
type (
	// Pair is a name and its value, such as a field of a hash.
	Pair = command.Pair
	// Z is a member of a sorted set with its score.
	Z = command.Z
	// From says where to read a stream on.
	From = command.From
)

// The ends of a list.
const (
	Left  = command.Left
	Right = command.Right
)

// KV returns a Pair.
func KV(key, value string) Pair { return command.KV(key, value) }
`
