package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// groupFile returns the facts and constructors of one group.
func groupFile(t *table, g *group) string {
	var b strings.Builder
	for _, c := range g.commands {
		writeSpec(&b, t, c)
		for _, f := range c.funcs {
			for _, form := range forms(f) {
				writeFunction(&b, t, c, form)
			}
		}
	}
	return fileOf("command", b.String())
}

func writeSpec(b *strings.Builder, t *table, c *command) {
	words := strings.Fields(c.name)
	var wire strings.Builder
	for _, w := range words {
		fmt.Fprintf(&wire, "$%d\r\n%s\r\n", len(w), w)
	}
	fmt.Fprintf(b, "var %s = Spec{\n", c.spec())
	fmt.Fprintf(b, "Name: %q, Arity: %s, Since: %q, SinceValkey: %q, Group: %q,\n", c.name, c.arity, c.since, c.sinceValkey, c.group)
	var flags []string
	for _, f := range c.flags {
		flags = append(flags, flagNames[f])
	}
	retry := "Retry" + strings.ToUpper(c.retry[:1]) + c.retry[1:]
	if len(flags) > 0 {
		fmt.Fprintf(b, "Flags: %s, ", strings.Join(flags, " | "))
	}
	fmt.Fprintf(b, "Retry: %s,\n", retry)
	if k, _ := keySpec(c.keys); k != "" {
		fmt.Fprintf(b, "Keys: %s,\n", k)
	}
	fmt.Fprintf(b, "Summary: %q,\n", summary(c))
	fmt.Fprintf(b, "Syntax: %q, Reply: %q,\n", syntax(t, c), replyOf(c))
	fmt.Fprintf(b, "wire: %q, words: %d,\n", wire.String(), len(words))
	if len(c.unless) > 0 {
		fmt.Fprintf(b, "unless: []string{%s},\n", quoted(c.unless))
	}
	if k, _ := blockSpec(c.block); k != "" {
		fmt.Fprintf(b, "block: %s,\n", k)
	}
	b.WriteString("}\n\n")
}

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, strconv.Quote(s))
	}
	return strings.Join(out, ", ")
}

// summary returns the sentence of a command without its subject.
func summary(c *command) string {
	doc := c.doc
	if doc == "" {
		doc = c.funcs[0].doc
	}
	_, rest, _ := strings.Cut(strings.TrimPrefix(doc, c.name), " ")
	if c.doc != "" {
		rest = strings.TrimSpace(strings.TrimPrefix(doc, c.name))
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

func replyOf(c *command) string {
	if len(c.funcs) > 0 {
		return c.funcs[0].reply
	}
	return c.samples[0].reply
}

// syntax returns the arguments of a command's first function, for people.
func syntax(t *table, c *command) string {
	if len(c.funcs) == 0 {
		return ""
	}
	var out []string
	for _, p := range c.funcs[0].params {
		switch p.kind {
		case literal, single:
			out = append(out, p.name)
		case count:
			out = append(out, "num"+p.name)
		case many:
			if p.token != "" {
				out = append(out, p.token)
			}
			out = append(out, p.name+"...")
		case manyZero:
			out = append(out, "["+p.name+"...]")
		case options:
			for _, w := range t.option(p.typ).words {
				out = append(out, "["+strings.Join(w.wire, " ")+"]")
			}
		case option:
			var words []string
			for _, w := range t.option(p.typ).words {
				words = append(words, strings.Join(w.wire, " "))
			}
			out = append(out, "<"+strings.Join(words, "|")+">")
		}
	}
	return strings.Join(out, " ")
}

// keySpec returns the KeySpec of a keys attribute.
func keySpec(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	bad := fmt.Errorf("cannot read keys=%s", s)
	num := func(s string) (int, bool) {
		n, err := strconv.Atoi(s)
		return n, err == nil
	}
	if first, word, ok := strings.Cut(s, "@"); ok {
		word, from, has := strings.Cut(word, ":")
		n, ok1 := num(first)
		f, ok2 := num(from)
		if !ok1 || has != ok2 || has != (word == "STORE") {
			return "", bad
		}
		switch word {
		case "STORE":
			return fmt.Sprintf("KeySpec{First: %d, Last: %d, Step: 1, Keyword: %q, From: %d}", n, n, word, f), nil
		case "KEYS":
			return fmt.Sprintf("KeySpec{First: %d, Last: %d, Step: 1, Keyword: %q}", n, n, word), nil
		}
		return fmt.Sprintf("KeySpec{First: %d, Step: 1, Keyword: %q}", n, word), nil
	}
	if rest, keys, ok := strings.Cut(s, "#"); ok {
		dest, first, has := strings.Cut(rest, ",")
		if !has {
			first = rest
		}
		keys, step, stepped := strings.Cut(keys, ":")
		if !stepped {
			step = "1"
		}
		f, ok1 := num(first)
		k, ok2 := num(keys)
		n, ok3 := num(step)
		if !ok1 || !ok2 || !ok3 || (has && stepped) {
			return "", bad
		}
		if !has {
			return fmt.Sprintf("KeySpec{First: %d, Step: %d, NumKeys: %d}", f, n, k), nil
		}
		d, ok := num(dest)
		if !ok {
			return "", bad
		}
		return fmt.Sprintf("KeySpec{First: %d, Step: 1, NumKeys: %d, Dest: %d}", f, k, d), nil
	}
	parts := append(strings.Split(s, ":"), "", "")
	first, ok := num(parts[0])
	if !ok {
		return "", bad
	}
	last, step := first, 1
	if parts[1] != "" {
		if last, ok = num(parts[1]); !ok {
			return "", bad
		}
	}
	if parts[2] != "" {
		if step, ok = num(parts[2]); !ok {
			return "", bad
		}
	}
	return fmt.Sprintf("KeySpec{First: %d, Last: %d, Step: %d}", first, last, step), nil
}

// blockSpec returns the blockSpec of a block attribute.
func blockSpec(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if s == strings.ToUpper(s) && s[0] >= 'A' {
		return fmt.Sprintf("blockSpec{keyword: %q, millis: true}", s), nil
	}
	n, millis := strings.CutSuffix(s, "ms")
	if !millis {
		n = strings.TrimSuffix(s, "s")
	}
	if _, err := strconv.Atoi(n); err != nil || n == s {
		return "", fmt.Errorf("cannot read block=%s", s)
	}
	if millis {
		return fmt.Sprintf("blockSpec{at: %s, millis: true}", n), nil
	}
	return fmt.Sprintf("blockSpec{at: %s}", n), nil
}

func writeFunction(b *strings.Builder, t *table, c *command, f *function) {
	b.WriteString(comment(f.doc))
	fmt.Fprintf(b, "func %s(%s) Cmd[%s] {\n", f.name, declare(signature(f), false), f.typ)
	risky := slices.ContainsFunc(f.params, func(p param) bool {
		return p.kind == literal && slices.Contains(c.unless, p.name)
	})
	fields := "spec: &" + c.spec()
	if risky {
		fields += ", risky: true"
	}
	// Built in place, as every copy of a command costs its caller stack.
	fmt.Fprintf(b, "c := Cmd[%s]{req: Request{%s}, decode: %s}\n", f.typ, fields, f.decoder)
	if len(f.params) > 0 {
		b.WriteString("r := &c.req\n")
	}
	for _, p := range f.params {
		writeParam(b, t, f, p)
	}
	b.WriteString("return c\n}\n\n")
}

func writeParam(b *strings.Builder, t *table, f *function, p param) {
	blob := f.blob && p.typ == "value"
	switch p.kind {
	case literal:
		fmt.Fprintf(b, "r.Add(Str(%q))\n", p.name)
	case count:
		fmt.Fprintf(b, "r.Add(Int(int64(len(%s))))\n", p.name)
	case options:
		method := t.option(p.typ).method()
		fmt.Fprintf(b, "var seen uint32\nfor _, o := range opts {\nif r.given(o != nil) {\nr.option(&seen, o.%s())\n}\n}\n", method)
	case option:
		fmt.Fprintf(b, "if r.given(%[1]s != nil) {\nvar seen uint32\nr.option(&seen, %[1]s.%[2]s())\n}\n", p.name, t.option(p.typ).method())
	case many, manyZero:
		if p.kind == many {
			fmt.Fprintf(b, "r.need(len(%s), %q)\n", p.name, p.name)
		}
		if p.token != "" {
			fmt.Fprintf(b, "r.each(%q, %s)\n", p.token, p.name)
			return
		}
		method := map[string]string{
			"int": "ints", "arg": "list", "Pair": "pairs", "Z": "scored", "From": "streams",
			"GeoMember": "located", "BitFieldOp": "bitfield", "BitFieldGet": "bitfieldRO",
		}[p.typ]
		if method == "" {
			method = "strs"
		}
		if blob {
			method = "blobs"
		}
		fmt.Fprintf(b, "r.%s(%s)\n", method, p.name)
	case single:
		b.WriteString(addSingle(p, blob))
	}
}

// addSingle returns the statement that appends a parameter.
func addSingle(p param, blob bool) string {
	milli := ""
	if p.milli != "" {
		milli = (&command{name: p.milli}).spec()
	}
	switch p.typ {
	case "key", "str", "value":
		if blob {
			return fmt.Sprintf("r.Add(Bytes(%s))\n", p.name)
		}
		return fmt.Sprintf("r.Add(Str(%s))\n", p.name)
	case "name":
		return fmt.Sprintf("r.plain(%s, %q)\n", p.name, p.name)
	case "int", "uint", "float":
		return fmt.Sprintf("r.Add(%s(%s))\n", strings.ToUpper(p.typ[:1])+p.typ[1:], p.name)
	case "arg":
		return fmt.Sprintf("r.Add(%s)\n", p.name)
	case "bit":
		return fmt.Sprintf("r.bit(%s)\n", p.name)
	case "ms":
		return fmt.Sprintf("r.millis(%s, %q)\n", p.name, p.name)
	case "span", "ttl":
		return fmt.Sprintf("r.%s(%s, &%s)\n", p.typ, p.name, milli)
	case "time":
		return fmt.Sprintf("r.at(%s, &%s)\n", p.name, milli)
	case "block":
		return fmt.Sprintf("r.timeout(%s)\n", p.name)
	case "blockms":
		return fmt.Sprintf("r.timeoutMillis(%s)\n", p.name)
	}
	return fmt.Sprintf("r.Add(Str(string(%s)))\n", p.name)
}

// tableFile returns the list of all facts by name.
func tableFile(t *table) string {
	var all []*command
	for _, g := range t.groups {
		all = append(all, g.commands...)
	}
	slices.SortFunc(all, func(a, b *command) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString("// specs are the facts on all commands of the table, sorted by name.\nvar specs = [...]*Spec{\n")
	for _, c := range all {
		fmt.Fprintf(&b, "&%s,\n", c.spec())
	}
	b.WriteString("}\n")
	return fileOf("command", b.String())
}
