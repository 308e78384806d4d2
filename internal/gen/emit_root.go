package main

import (
	"fmt"
	"slices"
	"strings"
)

// methodsFile returns the methods of clients and pipelines.
func methodsFile(t *table) string {
	var b strings.Builder
	b.WriteString(`// Commands is the commands as methods. Clients and sessions have them; each
// sends one command and waits for its reply. Commands that are bound to a
// connection, that are for operators or that empty a database have no method:
// run their values with Do.
type Commands struct{ d command.Doer }

`)
	each(t, func(c *command, f *function) {
		args := signature(f)
		b.WriteString(comment(f.doc))
		list := declare(args, true)
		if list != "" {
			list = ", " + list
		}
		call := fmt.Sprintf("command.%s(%s)", f.name, pass(args))
		if f.typ == "Void" {
			fmt.Fprintf(&b, "func (c Commands) %s(ctx context.Context%s) error {\ncmd := %s\n_, err := run(ctx, c.d, &cmd)\nreturn err\n}\n\n", f.name, list, call)
			return
		}
		fmt.Fprintf(&b, "func (c Commands) %s(ctx context.Context%s) (%s, error) {\ncmd := %s\nreturn run(ctx, c.d, &cmd)\n}\n\n", f.name, list, qualify(f.typ), call)
	})
	b.WriteString(`// PipelineCommands is the commands as methods that queue, of pipelines and
// transactions. Each returns the future of its reply. Commands that block have
// no method here.
type PipelineCommands struct{ q *queue }

`)
	each(t, func(c *command, f *function) {
		if slices.ContainsFunc(f.params, func(p param) bool { return p.typ == "block" }) {
			return
		}
		args := signature(f)
		fmt.Fprintf(&b, "// %s queues [command.%s].\n", f.name, f.name)
		fmt.Fprintf(&b, "func (c PipelineCommands) %s(%s) Future[%s] {\ncmd := command.%s(%s)\nreturn enqueue(c.q, &cmd)\n}\n\n",
			f.name, declare(args, true), qualify(f.typ), f.name, pass(args))
	})
	return fileOf("redisx", b.String())
}

// each visits the functions that become methods.
func each(t *table, visit func(*command, *function)) {
	for _, g := range t.groups {
		for _, c := range g.commands {
			for _, f := range c.funcs {
				private := c.retry == "session" || c.retry == "admin"
				if private && !f.marks["sugar"] || f.marks["nosugar"] {
					continue
				}
				for _, form := range forms(f) {
					visit(c, form)
				}
			}
		}
	}
}

// samplesFile returns the table's samples as values, for tests.
func samplesFile(t *table) string {
	var b strings.Builder
	b.WriteString("// samples are the table's, in its order: a call, and what it must send.\nvar samples = []sample{\n")
	for _, g := range t.groups {
		for _, c := range g.commands {
			for _, s := range c.samples {
				fmt.Fprintf(&b, "%s\n", sampleValue(c, "", "raw("+quote(s.wire)+")", s))
			}
			for _, f := range c.funcs {
				for _, s := range f.samples {
					fmt.Fprintf(&b, "%s\n", sampleValue(c, f.name, "typed("+s.expr+")", s))
				}
				for _, form := range forms(f)[1:] {
					s := f.samples[0]
					fmt.Fprintf(&b, "%s\n", sampleValue(c, form.name, "typed("+blobCall(form, s.expr)+")", s))
				}
			}
		}
	}
	b.WriteString("}\n")
	body := b.String()
	imports := ". \"github.com/redisx/redisx/command\""
	return "package command_test\n\nimport (\n\"time\"\n\n" + imports + "\n)\n\n" + body
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

func sampleValue(c *command, name, cmd string, s sample) string {
	out := fmt.Sprintf("{command: %q, function: %q, cmd: %s, wire: %q, reply: %q", c.name, name, cmd, s.wire, s.reply)
	if len(s.before) > 0 {
		out += ", before: []string{" + quoted(s.before) + "}"
	}
	if s.varies {
		out += ", varies: true"
	}
	if s.resp3 {
		out += ", resp3: true"
	}
	if s.unrun {
		out += ", unrun: true"
	}
	if s.since+s.sinceValkey != "" {
		out += fmt.Sprintf(", since: %q, sinceValkey: %q", s.since, s.sinceValkey)
	}
	return out + "},"
}

// blobCall rewrites a sample's call for the twin that takes bytes: the string
// literals of value parameters become byte slices.
func blobCall(f *function, expr string) string {
	_, list, _ := strings.Cut(strings.TrimSuffix(expr, ")"), "(")
	args := splitArgs(list)
	for i, a := range signature(f) {
		for j := i; j < len(args) && (j == i || a.variadic); j++ {
			if a.typ == "[]byte" {
				args[j] = "[]byte(" + args[j] + ")"
			}
		}
	}
	return f.name + "(" + strings.Join(args, ", ") + ")"
}

// splitArgs splits a Go argument list at its commas.
func splitArgs(list string) []string {
	var out []string
	depth, start, text := 0, 0, false
	for i := 0; i < len(list); i++ {
		switch ch := list[i]; {
		case ch == '\\' && text:
			i++
		case ch == '"':
			text = !text
		case text:
		case strings.IndexByte("([{", ch) >= 0:
			depth++
		case strings.IndexByte(")]}", ch) >= 0:
			depth--
		case ch == ',' && depth == 0:
			out = append(out, strings.TrimSpace(list[start:i]))
			start = i + 1
		}
	}
	if rest := strings.TrimSpace(list[start:]); rest != "" {
		out = append(out, rest)
	}
	return out
}
