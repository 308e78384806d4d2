package keys

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPrefix(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, ns, primitive, in, want string }{
		{"an empty namespace is redisx", "", "lease", "video:42", "{redisx:lease:video:42}:"},
		{"a namespace of one's own", "app", "queue", "mail", "{app:queue:mail}:"},
		{"a closing brace does not end the tag", "", "lease", "a}b", "{redisx:lease:a%7Db}:"},
		{"an opening brace is escaped", "", "lease", "{a}", "{redisx:lease:%7Ba%7D}:"},
		{"a percent sign is escaped, so that escapes are not ambiguous", "", "lease", "a%7Db", "{redisx:lease:a%257Db}:"},
		{"control bytes are visible", "", "lease", "a\r\n\x00\x7f", "{redisx:lease:a%0D%0A%00%7F}:"},
		{"an empty name", "", "lease", "", "{redisx:lease:}:"},
		{"bytes that are no UTF-8 stay", "", "lease", "\xff\xc3", "{redisx:lease:\xff\xc3}:"},
		{"a colon in a namespace is escaped", "a:b", "lease", "c", "{a%3Ab:lease:c}:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Prefix(tt.ns, tt.primitive, tt.in); got != tt.want {
				t.Errorf("Prefix(%q, %q, %q) = %q, want %q", tt.ns, tt.primitive, tt.in, got, tt.want)
			}
		})
	}
}

func TestParseRefusesForeignKeys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"", "user:1", "{user:1}", "{user:1}:x", "{a:b:c}", "{a:b:%4}:x", "{a:b:%zz}:x", "{a:b:%41}:x", "{a:b:{}:x", "{:b:c}:x", "{a:b:%7d}:x",
	} {
		if n, ok := Parse(key); ok {
			t.Errorf("Parse(%q) = %+v, want it refused", key, n)
		}
	}
}

// tag is the part of a key that a server hashes to find its slot.
func tag(key string) string {
	i := strings.IndexByte(key, '{')
	if i < 0 {
		return key
	}
	j := strings.IndexByte(key[i+1:], '}')
	if j <= 0 {
		return key
	}
	return key[i+1 : i+1+j]
}

func FuzzPrefix(f *testing.F) {
	f.Add("", "lease", "a}b", "fence")
	f.Add("a:b", "le{ase", "%7D", "}:")
	f.Fuzz(func(t *testing.T, ns, primitive, name, part string) {
		p := Prefix(ns, primitive, name)
		if got, want := tag(p+part), p[1:len(p)-2]; got != want {
			t.Errorf("the slot of %q comes from %q, want %q", p+part, got, want)
		}
		if ns == "" {
			ns = DefaultNamespace
		}
		want := Name{Namespace: ns, Primitive: primitive, Name: name, Part: part}
		if got, ok := Parse(p + part); !ok || got != want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", p+part, got, ok, want)
		}
	})
}
