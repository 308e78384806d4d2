package inspect

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redisx/redisx/ds/internal/keys"
)

const (
	defaultRate  = 50_000
	defaultLimit = 100_000

	// maxPage bounds one step of SCAN, in keys looked at: at 0.7 µs each, some
	// 200 µs during which the server does nothing else.
	maxPage = 250
	minPage = 10

	// describing is what it costs the server to run a script for one object,
	// in keys looked at: some 15 µs.
	describing = 20
)

// Option says what Find looks for, and how fast.
type Option func(*options)

type options struct {
	namespace string
	kinds     []*kind
	unknown   bool
	pattern   string
	rate      int
	limit     int
	err       error
}

// InNamespace looks for objects of that namespace only. The default is all of
// them; for Lookup it is "redisx".
func InNamespace(ns string) Option {
	return func(o *options) { o.namespace = ns }
}

// OfKind looks for objects of those kinds only; see Kinds. The default is all.
func OfKind(names ...string) Option {
	return func(o *options) {
		o.kinds, o.unknown = nil, false
		for _, name := range names {
			if name == Unknown {
				o.unknown = true
				continue
			}
			i := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == name })
			if i < 0 {
				o.err = fmt.Errorf("inspect: no kind %s: there are %s", Text(name), strings.Join(Kinds(), ", "))
				return
			}
			if !slices.Contains(o.kinds, kinds[i]) {
				o.kinds = append(o.kinds, kinds[i])
			}
		}
	}
}

// Named looks for objects whose name matches a pattern: * stands for any bytes,
// ? for one byte, \ takes the next byte as it is. The default is "*".
func Named(pattern string) Option {
	return func(o *options) { o.pattern = pattern }
}

// Rate bounds how many keys a second the server looks at for us: 10 at least,
// by default 50 000, which costs it about 4 % of its time. Telling what an
// object is, and explaining it, count as 20 keys each.
func Rate(keys int) Option {
	return func(o *options) {
		o.rate = keys
		if keys < minPage {
			o.err = fmt.Errorf("inspect: a rate of %d keys a second is less than %d", keys, minPage)
		}
	}
}

// AtMost bounds how many objects are found before the search ends with
// ErrTooMany, and with it the memory that it takes: about 100 bytes and a name
// for each. The default is 100 000.
func AtMost(objects int) Option {
	return func(o *options) {
		o.limit = objects
		if objects < 1 {
			o.err = fmt.Errorf("inspect: at most %d objects are none", objects)
		}
	}
}

func build(opts []Option) (options, error) {
	o := options{kinds: kinds, unknown: true, pattern: "*", rate: defaultRate, limit: defaultLimit}
	for _, opt := range opts {
		opt(&o)
	}
	return o, o.err
}

// wants reports whether objects of a kind are looked for.
func (o *options) wants(k *kind) bool { return slices.Contains(o.kinds, k) }

// scanPattern returns the narrowest pattern of keys that leaves nothing out.
func (o *options) scanPattern() string {
	if o.namespace == "" && o.wants(values) {
		if len(o.kinds) == 1 && !o.unknown {
			return "{*" + valueMark + "*"
		}
		return "{*}:*" // what is beside values has tags of another form
	}
	namespace, primitive := "*", "*"
	if o.namespace != "" {
		// As Prefix writes it: what is between the brace and the first colon.
		namespace, _, _ = strings.Cut(keys.Prefix(o.namespace, "", "")[1:], ":")
		namespace = literal(namespace)
	}
	if len(o.kinds) == 1 && !o.unknown {
		primitive = literal(o.kinds[0].primitive)
	}
	return "{" + namespace + ":" + primitive + ":*}:*"
}
