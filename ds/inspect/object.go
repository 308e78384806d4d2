package inspect

import (
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx/ds/internal/keys"
)

// Unknown is the kind of a key that says it belongs to a primitive, of which
// this version of redisX knows nothing.
const Unknown = "unknown"

// Object is what one name of one primitive has left on a server.
type Object struct {
	// Kind is one of Kinds.
	Kind string `json:"kind"`
	// Namespace is the first part of the keys; "" for a value, which has none.
	Namespace Text `json:"namespace,omitempty"`
	// Name is the one that the user gave; of a value, its key.
	Name Text `json:"name"`
	// Keys are its keys that were there. Those of single generations of a
	// barrier, and others that come and go, are not among them.
	Keys []Key `json:"keys"`
	// Problem says why Explain does not know what to make of the keys: they
	// are of a newer schema, or of another type. "" when they are as expected.
	Problem string `json:"problem,omitempty"`
}

// Key is one key of an object.
type Key struct {
	Name Text   `json:"name"`
	Type string `json:"type"` // as the command TYPE says
	// Left is the time until it expires, negative if it does not.
	Left time.Duration `json:"left_ns"`
}

// prefix returns how the object's keys begin.
func (o *Object) prefix(primitive string) string {
	return keys.Prefix(string(o.Namespace), primitive, string(o.Name))
}

// form is what describe.lua says of a key; its typ is "" if there is none.
type form struct {
	typ           string
	left          time.Duration
	kind, version string
}

// candidate is what may be an object: the keys to ask about.
type candidate struct {
	kind *kind // nil for unknown
	name keys.Name
	keys []string
}

// id tells candidates apart: each has a first key of its own.
func (c *candidate) id() string {
	return c.keys[0]
}

// candidateOf takes a key apart. It reports false if the key is not ours.
func candidateOf(key string) (candidate, bool) {
	if value, ok := valueOf(key); ok {
		return besideValue(value), true
	}
	n, ok := keys.Parse(key)
	if !ok {
		return candidate{}, false
	}
	if n.Name == "" && n.Primitive == "lease" && n.Part == "server" {
		return candidate{}, false // what lease.Strict notes of the server
	}
	if n.Primitive == rules.primitive {
		if c, ok := ruleCandidate(n.Namespace, n.Name, n.Part); ok {
			return c, true
		}
	}
	for _, k := range kinds {
		if k.has(n) {
			return k.candidate(n.Namespace, n.Name[len(k.under):]), true
		}
	}
	return candidate{name: n, keys: []string{key}}, true
}

// candidate returns the object of that name, with all the keys it may have; none
// if the name is not one of that kind.
func (k *kind) candidate(namespace, name string) candidate {
	switch k {
	case values:
		return besideValue(name)
	case rules:
		group, rule, _ := strings.Cut(name, ruleMark)
		c, _ := ruleCandidate(namespace, group, ruleMark[1:]+rule+":"+limiterParts[0].name)
		return c
	}
	c := candidate{kind: k, name: keys.Name{Namespace: namespace, Primitive: k.primitive, Name: name}}
	prefix := keys.Prefix(namespace, k.primitive, k.under+name)
	for _, p := range k.parts {
		c.keys = append(c.keys, prefix+p.name)
	}
	return c
}

// ruleMark stands between the name of a group of limiters and that of a rule, in
// keys and in the names of objects: "api:rule:user:ada".
const ruleMark = ":rule:"

// ruleCandidate returns the rule, for one key that it counts, whose part of the
// keys of a group is "rule:RULE:KEY:PART". It reports false if part is of another
// form.
func ruleCandidate(namespace, group, part string) (candidate, bool) {
	rest, ok := strings.CutPrefix(part, ruleMark[1:])
	rest = strings.TrimSuffix(rest, ":reserved")
	for _, p := range limiterParts {
		if counted, is := strings.CutSuffix(rest, ":"+p.name); ok && is && strings.Contains(counted, ":") {
			c := candidate{kind: rules, name: keys.Name{Namespace: namespace, Primitive: rules.primitive, Name: group + ruleMark + counted}}
			prefix := keys.Prefix(namespace, rules.primitive, group) + ruleMark[1:] + counted + ":"
			for _, p := range limiterParts {
				c.keys = append(c.keys, prefix+p.name)
			}
			return c, true
		}
	}
	return candidate{}, false
}

// object returns what a candidate is by the forms of its keys. It reports false
// if there is nothing, or nothing of ours.
func (c *candidate) object(forms []form) (Object, bool) {
	o := Object{Kind: Unknown, Namespace: Text(c.name.Namespace), Name: Text(c.name.Name)}
	if c.kind != nil {
		o.Kind = c.kind.name
	}
	for i, f := range forms {
		if f.typ == "" {
			continue
		}
		o.Keys = append(o.Keys, Key{Text(c.keys[i]), f.typ, f.left})
		if o.Problem == "" && c.kind != nil {
			o.Problem = c.kind.parts[i].problem(c.keys[i], f)
		}
	}
	if len(o.Keys) == 0 {
		return Object{}, false
	}
	if c.kind == nil {
		f := forms[0]
		// Keys of others may look like ours, but do not say what they are.
		if f.kind == "" || f.version == "" {
			return Object{}, false
		}
		o.Problem = fmt.Sprintf("a %s of schema version %s, which this version of redisX does not know", visible(f.kind), visible(f.version))
	}
	return o, true
}

// problem says what is wrong with a key of that part, "" if nothing is.
func (p *part) problem(key string, f form) string {
	kind, version := f.kind, f.version
	if k, v, ok := strings.Cut(kind, "/"); ok && version == "" {
		kind, version = k, v // as in "coalesce.fill/1"
	}
	switch {
	case p.typ != "" && f.typ != p.typ:
		return fmt.Sprintf("%v holds a %s, not a %s", Text(key), f.typ, p.typ)
	case p.kind == "":
	case kind != p.kind:
		return fmt.Sprintf("%v does not say that it is of kind %s", Text(key), p.kind)
	case version != p.version:
		return fmt.Sprintf("%v is of schema version %s; this version of redisX knows %s", Text(key), visible(version), p.version)
	}
	return ""
}
