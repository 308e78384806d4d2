package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

type parser struct {
	t      *table
	line   int
	doc    string
	before []string
	cmd    *command
	fn     *function
	names  map[string]bool
}

// parse reads the table.
func parse(src string) (*table, error) {
	p := &parser{t: &table{}, names: map[string]bool{}}
	for text := range strings.Lines(src) {
		p.line++
		text = strings.TrimRight(text, " \n")
		if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "//") {
			continue
		}
		if err := p.parse(text); err != nil {
			return nil, fmt.Errorf("commands.def:%d: %w", p.line, err)
		}
	}
	for _, g := range p.t.groups {
		for _, c := range g.commands {
			if err := p.t.check(c); err != nil {
				return nil, fmt.Errorf("commands.def:%d: %s: %w", c.line, c.name, err)
			}
		}
	}
	return p.t, nil
}

func (p *parser) parse(text string) error {
	indent := len(text) - len(strings.TrimLeft(text, " "))
	text = text[indent:]
	if doc, ok := strings.CutPrefix(text, "# "); ok {
		p.doc = doc
		return nil
	}
	first, rest, _ := strings.Cut(text, " ")
	switch {
	case indent == 0 && first == "word":
		return p.word(rest)
	case indent == 0 && first == "option":
		return p.option(rest)
	case indent == 0 && first == "group":
		p.t.groups = append(p.t.groups, &group{name: rest})
		return nil
	case indent == 0:
		return p.command(text)
	case p.cmd == nil:
		return fmt.Errorf("%q belongs to no command", text)
	case indent == 2 && first == "raw":
		return p.raw(rest)
	case indent == 2:
		return p.function(text)
	case indent == 4 && first == "before":
		for one := range strings.SplitSeq(rest, "; ") {
			p.before = append(p.before, one)
		}
		return nil
	case indent == 4 && p.fn != nil:
		return p.sample(text)
	}
	return fmt.Errorf("cannot read %q", text)
}

// take returns the sentence above a line; there must be one.
func (p *parser) take(what string) (string, error) {
	doc := p.doc
	p.doc = ""
	if doc == "" || !strings.HasSuffix(doc, ".") {
		return "", fmt.Errorf("%s needs a sentence above it", what)
	}
	return doc, nil
}

func (p *parser) word(rest string) (err error) {
	left, wire, _ := strings.Cut(rest, " = ")
	fields := strings.Fields(left)
	w := &word{name: fields[0]}
	if w.doc, err = p.take(w.name); err != nil {
		return err
	}
	tokens := []string{w.name}
	for _, f := range fields[1:] {
		x, err := parseParam(f)
		if err != nil {
			return err
		}
		w.params = append(w.params, x)
		tokens = append(tokens, x.name)
	}
	if wire != "" {
		tokens = strings.Fields(wire)
	}
	w.wire = tokens
	p.t.words = append(p.t.words, w)
	return nil
}

func (p *parser) option(rest string) (err error) {
	fields := strings.Fields(rest)
	o := &optionSet{name: fields[0]}
	if o.doc, err = p.take(o.name); err != nil {
		return err
	}
	index := func(name string) (int, error) {
		w := p.t.word(name)
		if w == nil {
			return 0, fmt.Errorf("no word %s", name)
		}
		i := slices.Index(o.words, w)
		if i < 0 {
			i = len(o.words)
			o.words, o.not = append(o.words, w), append(o.not, 1<<i)
		}
		return i, nil
	}
	for _, f := range fields[1:] {
		if name, ok := strings.CutSuffix(f, "+"); ok {
			i, err := index(name)
			if err != nil {
				return err
			}
			o.not[i] = 0
			continue
		}
		var mask uint32
		var members []int
		for name := range strings.SplitSeq(f, "|") {
			i, err := index(name)
			if err != nil {
				return err
			}
			mask |= 1 << i
			members = append(members, i)
		}
		for _, i := range members {
			o.not[i] |= mask
		}
	}
	p.t.options = append(p.t.options, o)
	return nil
}

var (
	rowForm   = regexp.MustCompile(`^([A-Z][A-Z_-]*(?: [A-Z_-]+)?) (-?\d+) ([\d.,a-z-]+) (read|state|unsafe|session|admin)( .*)?$`)
	sinceForm = regexp.MustCompile(`^(\d+\.\d+\.\d+)?(?:(?:^|,)valkey-(\d+\.\d+\.\d+))?$`)
)

// firstValkey is the first release of Valkey. It began as Redis 7.2.4, so it
// has all that Redis had by then.
const firstValkey = "7.2.5"

// parseSince reads the first versions of Redis and of Valkey that have
// something; "" is none.
func parseSince(s string) (redis, valkey string, err error) {
	m := sinceForm.FindStringSubmatch(s)
	if m == nil || s == "" {
		return "", "", fmt.Errorf("cannot read the version %q", s)
	}
	if m[1] != "" && m[2] == "" && before(m[1], firstValkey) {
		m[2] = firstValkey
	}
	return m[1], m[2], nil
}

// before compares two versions of three numbers.
func before(a, b string) bool {
	var x, y [3]int
	fmt.Sscanf(a, "%d.%d.%d", &x[0], &x[1], &x[2])
	fmt.Sscanf(b, "%d.%d.%d", &y[0], &y[1], &y[2])
	return slices.Compare(x[:], y[:]) < 0
}

var flagNames = map[string]string{
	"readonly": "ReadOnly", "write": "Write", "blocking": "Blocking", "pubsub": "PubSub", "admin": "Admin",
	"noauth": "NoAuth", "scripting": "Scripting", "cacheable": "Cacheable", "movable": "Movable", "secret": "Secret",
}

func (p *parser) command(text string) error {
	m := rowForm.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("cannot read the row %q", text)
	}
	if len(p.t.groups) == 0 {
		return fmt.Errorf("%s has no group", m[1])
	}
	if p.names[m[1]] {
		return fmt.Errorf("%s stands in the table twice", m[1])
	}
	p.names[m[1]] = true
	g := p.t.groups[len(p.t.groups)-1]
	c := &command{line: p.line, name: m[1], group: g.name, arity: m[2], retry: m[4]}
	var err error
	if c.since, c.sinceValkey, err = parseSince(m[3]); err != nil {
		return err
	}
	for _, f := range strings.Fields(m[5]) {
		name, value, attribute := strings.Cut(f, "=")
		switch {
		case !attribute && flagNames[f] != "":
			c.flags = append(c.flags, f)
		case name == "keys":
			c.keys = value
		case name == "block":
			c.block = value
		case name == "unless":
			c.unless = strings.Split(value, ",")
		default:
			return fmt.Errorf("no such flag: %q", f)
		}
	}
	g.commands = append(g.commands, c)
	p.cmd, p.fn = c, nil
	return nil
}

// raw reads "WORDS -> reply": a sample of a command without a function.
func (p *parser) raw(rest string) (err error) {
	wire, reply, ok := strings.Cut(rest, " -> ")
	if !ok {
		return fmt.Errorf("a raw request needs its reply")
	}
	if p.cmd.doc, err = p.take(p.cmd.name); err != nil {
		return err
	}
	s := sample{reply: reply, before: p.before}
	p.before = nil
	if s.wire, err = s.marks(wire); err != nil {
		return err
	}
	p.cmd.samples = append(p.cmd.samples, s)
	return nil
}

// marks reads the marks before a sample and returns the rest.
func (s *sample) marks(text string) (string, error) {
	for {
		mark, rest, _ := strings.Cut(text, " ")
		switch {
		case mark == "~":
			s.varies = true
		case mark == "resp3":
			s.resp3 = true
		case mark == "unrun":
			s.unrun = true
		case strings.HasPrefix(mark, "@"):
			var err error
			if s.since, s.sinceValkey, err = parseSince(mark[1:]); err != nil {
				return "", err
			}
		default:
			return text, nil
		}
		text = rest
	}
}

func (p *parser) function(text string) (err error) {
	left, right, ok := strings.Cut(text, "-> ")
	if !ok {
		return fmt.Errorf("no reply in %q", text)
	}
	fields := strings.Fields(left)
	f := &function{line: p.line, name: fields[0], marks: map[string]bool{}}
	if p.names["func "+f.name] {
		return fmt.Errorf("%s stands in the table twice", f.name)
	}
	p.names["func "+f.name] = true
	if f.doc, err = p.take(f.name); err != nil {
		return err
	}
	if !strings.HasPrefix(f.doc, f.name+" ") {
		return fmt.Errorf("the sentence of %s does not begin with its name", f.name)
	}
	for _, x := range fields[1:] {
		q, err := parseParam(x)
		if err != nil {
			return err
		}
		f.params = append(f.params, q)
	}
	words := strings.Fields(right)
	f.reply = words[0]
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "as":
			if i+2 >= len(words) {
				return fmt.Errorf("as needs a decoder and a type")
			}
			f.decoder, f.typ = words[i+1], words[i+2]
			i += 2
		case "bytes", "sugar", "nosugar":
			f.marks[words[i]] = true
		default:
			return fmt.Errorf("no such mark: %q", words[i])
		}
	}
	if f.decoder == "" {
		d, ok := decoders[f.reply]
		if !ok {
			return fmt.Errorf("the reply %s needs a decoder: as Decoder Type", f.reply)
		}
		f.decoder, f.typ = d[0], d[1]
	}
	p.cmd.funcs = append(p.cmd.funcs, f)
	p.fn = f
	return nil
}

// decoders are the decoders of replies that name none, with their Go types.
var decoders = map[string][2]string{
	"OK":                  {"AsVoid", "Void"},
	"OK|null":             {"AsOK", "Void"},
	"bulk":                {"AsString", "string"},
	"bulk|null":           {"AsString", "string"},
	"verbatim":            {"AsString", "string"},
	"integer":             {"AsInt", "int64"},
	"integer|null":        {"AsInt", "int64"},
	"integer{0,1}":        {"AsBool", "bool"},
	"double":              {"AsFloat", "float64"},
	"double|null":         {"AsFloat", "float64"},
	"array<bulk>":         {"AsStrings", "[]string"},
	"array<bulk>|null":    {"AsStrings", "[]string"},
	"set<bulk>":           {"AsStrings", "[]string"},
	"array<bulk|null>":    {"AsOptionalStrings", "[]Optional[string]"},
	"array<double|null>":  {"AsOptionalFloats", "[]Optional[float64]"},
	"array<integer>":      {"AsInts", "[]int64"},
	"array<integer{0,1}>": {"AsBools", "[]bool"},
	"map<bulk,bulk>":      {"AsStringMap", "map[string]string"},
	"any":                 {"AsValue", "resp3.Value"},
}

var namedOption = regexp.MustCompile(`^<([a-z]\w*):(\w+)>$`)

var paramForm = regexp.MustCompile(`^([a-z]\w*)(?::(\w+)(?:/(\w+))?)?(\.\.\.|\*)?$`)

func parseParam(s string) (param, error) {
	if m := namedOption.FindStringSubmatch(s); m != nil {
		return param{kind: option, name: m[1], typ: m[2]}, nil
	}
	if token, list, ok := strings.Cut(s, "="); ok {
		q, err := parseParam(list)
		if err == nil && q.kind != many {
			err = fmt.Errorf("only a list repeats its word: %q", s)
		}
		q.token = token
		return q, err
	}
	switch {
	case s[0] == '#':
		return param{kind: count, name: s[1:]}, nil
	case s[0] == '[' && strings.HasSuffix(s, "]"):
		return param{kind: options, typ: s[1 : len(s)-1]}, nil
	case s[0] == '<' && strings.HasSuffix(s, ">"):
		return param{kind: option, name: "opt", typ: s[1 : len(s)-1]}, nil
	case s == strings.ToUpper(s):
		return param{kind: literal, name: s}, nil
	}
	m := paramForm.FindStringSubmatch(s)
	if m == nil {
		return param{}, fmt.Errorf("cannot read the parameter %q", s)
	}
	q := param{kind: single, name: m[1], typ: m[2], milli: m[3]}
	if q.typ == "" {
		q.typ = "str"
		if q.name == "key" {
			q.typ = "key"
		}
	}
	switch m[4] {
	case "...":
		q.kind = many
	case "*":
		q.kind = manyZero
	}
	if _, ok := goType(q.typ); !ok {
		return param{}, fmt.Errorf("no such type: %q", q.typ)
	}
	return q, nil
}

func (p *parser) sample(text string) error {
	s := sample{reply: p.fn.reply, before: p.before}
	p.before = nil
	text, err := s.marks(text)
	if err != nil {
		return err
	}
	expr, wire, ok := strings.Cut(text, " => ")
	if !ok {
		return fmt.Errorf("no => in the sample %q", text)
	}
	if !strings.HasPrefix(expr, p.fn.name+"(") {
		return fmt.Errorf("the sample %q does not call %s", expr, p.fn.name)
	}
	s.expr, s.wire = expr, wire
	p.fn.samples = append(p.fn.samples, s)
	return nil
}

// check finds what no single line shows.
func (t *table) check(c *command) error {
	if len(c.funcs) == 0 && len(c.samples) == 0 {
		return fmt.Errorf("no function and no raw request")
	}
	for _, f := range c.funcs {
		if len(f.samples) == 0 {
			return fmt.Errorf("%s has no sample", f.name)
		}
		for _, p := range f.params {
			if (p.kind == options || p.kind == option) && t.option(p.typ) == nil {
				return fmt.Errorf("no option %s", p.typ)
			}
		}
	}
	if _, err := keySpec(c.keys); err != nil {
		return err
	}
	_, err := blockSpec(c.block)
	return err
}
