package keys

import (
	"strings"
)

// DefaultNamespace is what an empty namespace stands for.
const DefaultNamespace = "redisx"

const hex = "0123456789ABCDEF"

// Prefix returns how all keys of one object begin:
// "{namespace:primitive:name}:". The braces are the hash tag, which puts them
// into one slot of a cluster.
//
// An empty namespace means DefaultNamespace. The bytes %, { and } and control
// bytes are written as %XX; in namespace and primitive so is the colon, because
// {a:b:c} must not have two readings.
func Prefix(namespace, primitive, name string) string {
	var b strings.Builder
	b.Grow(max(len(namespace), len(DefaultNamespace)) + len(primitive) + len(name) + 5)
	Write(&b, namespace, primitive, name)
	return b.String()
}

// Write writes a Prefix to b, for who puts all keys of an object into one piece
// of memory.
func Write(b *strings.Builder, namespace, primitive, name string) {
	if namespace == "" {
		namespace = DefaultNamespace
	}
	b.WriteByte('{')
	escape(b, namespace, true)
	b.WriteByte(':')
	escape(b, primitive, true)
	b.WriteByte(':')
	escape(b, name, false)
	b.WriteString("}:")
}

func escape(b *strings.Builder, s string, colon bool) {
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c == 0x7f || c == '%' || c == '{' || c == '}' || colon && c == ':' {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
}

// Name is a key taken apart.
type Name struct {
	Namespace string // as given to Prefix, never empty
	Primitive string // such as "lease"
	Name      string // the user's name of the object
	Part      string // what follows the prefix, such as "fence"
}

// Parse takes a key apart that begins with a Prefix. It reports false for any
// other key.
func Parse(key string) (Name, bool) {
	if !strings.HasPrefix(key, "{") {
		return Name{}, false
	}
	tag, part, ok := strings.Cut(key[1:], "}:")
	if !ok {
		return Name{}, false
	}
	fields := strings.SplitN(tag, ":", 3)
	if len(fields) != 3 {
		return Name{}, false
	}
	for i, f := range fields {
		if fields[i], ok = unescape(f); !ok {
			return Name{}, false
		}
	}
	n := Name{Namespace: fields[0], Primitive: fields[1], Name: fields[2], Part: part}
	// Only the one form that Prefix writes is ours: "%41" for A is not.
	if Prefix(n.Namespace, n.Primitive, n.Name)+part != key {
		return Name{}, false
	}
	return n, true
}

func unescape(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, lo := strings.IndexByte(hex, s[i+1]), strings.IndexByte(hex, s[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		out = append(out, byte(hi<<4|lo))
		i += 2
	}
	return string(out), true
}
