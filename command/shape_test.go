package command_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redisx/redisx/resp3"
)

// shape is a reply type in the notation of commands.def.
type shape struct {
	kind   string // "bulk", "array", "struct", …; "|" for alternatives; "const"
	text   string // of a constant
	elems  []shape
	fields map[string]shape
	tail   *shape // of a tuple: what follows, any number of times
}

type shapeParser struct {
	s string
	i int
}

func parseShape(s string) (shape, error) {
	p := &shapeParser{s: s}
	x, err := p.alternatives()
	if err == nil && p.i != len(s) {
		err = fmt.Errorf("%q: cannot read from %q", s, s[p.i:])
	}
	return x, err
}

func (p *shapeParser) take(lit string) bool {
	if strings.HasPrefix(p.s[p.i:], lit) {
		p.i += len(lit)
		return true
	}
	return false
}

func (p *shapeParser) want(lit string) error {
	if !p.take(lit) {
		return fmt.Errorf("%q: no %q at %d", p.s, lit, p.i)
	}
	return nil
}

func (p *shapeParser) alternatives() (shape, error) {
	x, err := p.one()
	if err != nil {
		return x, err
	}
	out := shape{kind: "|", elems: []shape{x}}
	for p.take("|") {
		if x, err = p.one(); err != nil {
			return x, err
		}
		out.elems = append(out.elems, x)
	}
	if len(out.elems) == 1 {
		return x, nil
	}
	return out, nil
}

func (p *shapeParser) one() (shape, error) {
	for _, k := range []string{"integer{0,1}", "integer", "bulk", "double", "verbatim", "null", "any", "OK", "push"} {
		if p.take(k) {
			return shape{kind: k}, nil
		}
	}
	switch {
	case p.take("'"):
		end := strings.IndexByte(p.s[p.i:], '\'')
		if end < 0 {
			return shape{}, fmt.Errorf("%q: a constant does not end", p.s)
		}
		x := shape{kind: "const", text: p.s[p.i : p.i+end]}
		p.i += end + 1
		return x, nil
	case p.take("array<"):
		return p.inner("array", 1)
	case p.take("set<"):
		return p.inner("set", 1)
	case p.take("map<"):
		return p.inner("map", 2)
	case p.take("["):
		return p.tuple()
	case p.take("struct{"):
		return p.fields()
	}
	return shape{}, fmt.Errorf("%q: no shape at %q", p.s, p.s[p.i:])
}

func (p *shapeParser) inner(kind string, n int) (shape, error) {
	x := shape{kind: kind}
	for i := range n {
		if i > 0 {
			if err := p.want(","); err != nil {
				return x, err
			}
		}
		e, err := p.alternatives()
		if err != nil {
			return x, err
		}
		x.elems = append(x.elems, e)
	}
	return x, p.want(">")
}

func (p *shapeParser) tuple() (shape, error) {
	x := shape{kind: "tuple"}
	for !p.take("]") {
		if len(x.elems) > 0 {
			if err := p.want(","); err != nil {
				return x, err
			}
		}
		tail := p.take("...")
		e, err := p.alternatives()
		if err != nil {
			return x, err
		}
		if tail {
			x.tail = &e
		} else {
			x.elems = append(x.elems, e)
		}
	}
	return x, nil
}

func (p *shapeParser) fields() (shape, error) {
	x := shape{kind: "struct", fields: map[string]shape{}}
	for !p.take("}") {
		if len(x.fields) > 0 {
			if err := p.want(","); err != nil {
				return x, err
			}
		}
		name, _, ok := strings.Cut(p.s[p.i:], ":")
		if !ok {
			return x, fmt.Errorf("%q: a field has no type", p.s)
		}
		p.i += len(name) + 1
		e, err := p.alternatives()
		if err != nil {
			return x, err
		}
		x.fields[name] = e
	}
	return x, nil
}

var scalarKinds = map[string][]resp3.Kind{
	"bulk":     {resp3.BulkString, resp3.SimpleString},
	"verbatim": {resp3.Verbatim},
	"integer":  {resp3.Integer},
	"double":   {resp3.Double},
	"null":     {resp3.Null},
	"push":     {resp3.Push},
}

// match reports where a RESP3 reply is not of the shape.
func (x shape) match(v resp3.View) error {
	bad := fmt.Errorf("a %s is no %s", v.Kind(), x.kind)
	switch x.kind {
	case "any": // even an error: each answers one command of a transaction
		return nil
	case "|":
		return x.matchAny(v)
	case "OK", "const":
		text := x.text
		if x.kind == "OK" {
			text = "OK"
		}
		if (v.Kind() != resp3.SimpleString && v.Kind() != resp3.BulkString) || v.Text() != text {
			return fmt.Errorf("%s %q is not %q", v.Kind(), v.Text(), text)
		}
		return nil
	case "integer{0,1}":
		if n, err := v.Int(); v.Kind() != resp3.Integer || err != nil || n < 0 || n > 1 {
			return bad
		}
		return nil
	case "array", "set":
		if v.Kind() != map[string]resp3.Kind{"array": resp3.Array, "set": resp3.Set}[x.kind] {
			return bad
		}
		return x.matchEach(v, func(int) *shape { return &x.elems[0] })
	case "tuple":
		if v.Kind() != resp3.Array || v.Len() < len(x.elems) || (v.Len() > len(x.elems) && x.tail == nil) {
			return fmt.Errorf("%s of %d is no tuple of %d", v.Kind(), v.Len(), len(x.elems))
		}
		return x.matchEach(v, func(i int) *shape {
			if i < len(x.elems) {
				return &x.elems[i]
			}
			return x.tail
		})
	case "map":
		if v.Kind() != resp3.Map {
			return bad
		}
		return x.matchEach(v, func(i int) *shape { return &x.elems[i%2] })
	case "struct":
		return x.matchFields(v)
	}
	if !slices.Contains(scalarKinds[x.kind], v.Kind()) {
		return bad
	}
	return nil
}

func (x shape) matchAny(v resp3.View) error {
	var all []string
	for _, e := range x.elems {
		err := e.match(v)
		if err == nil {
			return nil
		}
		all = append(all, err.Error())
	}
	return fmt.Errorf("%s", strings.Join(all, ", and "))
}

func (x shape) matchEach(v resp3.View, of func(i int) *shape) error {
	i := 0
	for e := range v.Elems() {
		if err := of(i).match(e); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		i++
	}
	return nil
}

func (x shape) matchFields(v resp3.View) error {
	if v.Kind() != resp3.Map {
		return fmt.Errorf("a %s is no struct", v.Kind())
	}
	c := v.Cursor()
	known := 0
	for k, ok := c.Next(); ok; k, ok = c.Next() {
		e, _ := c.Next()
		f, ok := x.fields[k.Text()]
		if !ok {
			continue // of a newer server
		}
		known++
		if err := f.match(e); err != nil {
			return fmt.Errorf("field %s: %w", k.Text(), err)
		}
	}
	if known == 0 {
		return fmt.Errorf("no field of the struct is there")
	}
	return nil
}

func TestShapes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		shape, reply string
		fits         bool
	}{
		{"OK", "+OK\r\n", true},
		{"OK", "+QUEUED\r\n", false},
		{"bulk|null", "_\r\n", true},
		{"bulk", "_\r\n", false},
		{"bulk", ":1\r\n", false},
		{"verbatim", "$1\r\na\r\n", false},
		{"integer{0,1}", ":2\r\n", false},
		{"double", "$1\r\n1\r\n", false},
		{"array<bulk>", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", true},
		{"array<bulk>", "~1\r\n$1\r\na\r\n", false},
		{"set<bulk>", "*1\r\n$1\r\na\r\n", false},
		{"array<bulk>", "*1\r\n-ERR x\r\n", false},
		{"[bulk,...integer]", "*3\r\n$1\r\na\r\n:1\r\n:2\r\n", true},
		{"[bulk,integer]", "*3\r\n$1\r\na\r\n:1\r\n:2\r\n", false},
		{"map<bulk,integer>", "%1\r\n$1\r\na\r\n:1\r\n", true},
		{"map<bulk,bulk>", "%1\r\n$1\r\na\r\n:1\r\n", false},
		{"struct{a:integer}", "%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:1\r\n", true},
		{"struct{a:bulk}", "%1\r\n$1\r\na\r\n:1\r\n", false},
		{"array<any>", "*2\r\n-ERR x\r\n:1\r\n", true},
		{"array<any>", "-ERR x\r\n", false},
	} {
		x, err := parseShape(tt.shape)
		if err != nil {
			t.Errorf("%s: %v", tt.shape, err)
			continue
		}
		if err := x.match(resp3.NewView([]byte(tt.reply))); (err == nil) != tt.fits {
			t.Errorf("%s and %q: %v, want a fit: %t", tt.shape, tt.reply, err, tt.fits)
		}
	}
	for _, bad := range []string{"", "bulks", "array<bulk", "[bulk", "struct{a}", "'x", "map<bulk>"} {
		if _, err := parseShape(bad); err == nil {
			t.Errorf("the shape %q is accepted", bad)
		}
	}
}
