package coalesce

import (
	"fmt"
	"io"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/codec"
	"github.com/redisx/redisx/ds/internal/fill"
)

// Limits and defaults of the options.
const (
	// DefaultLease is how long a fill outlives the last word of its process.
	DefaultLease = fill.DefaultLease
	// MinLease is the shortest lease that Lease takes.
	MinLease = fill.MinLease
	// DefaultKeep is how long the result of Do stays readable.
	DefaultKeep = time.Second
)

// Option tunes Do and Forget.
type Option func(*options)

type options struct {
	lease     time.Duration
	keep      time.Duration
	codec     Codec
	group     *Group
	namespace string
}

// Lease sets for how long the server lets a process compute without a word
// from it; it is renewed about every third of that while the compute runs. When
// the process dies, another one computes after at most this time. The default is
// DefaultLease; less than MinLease is an error.
func Lease(d time.Duration) Option { return func(o *options) { o.lease = d } }

// Keep sets how long the result of Do stays readable for those who waited in
// other processes; who calls within that time gets it, too. The default is
// DefaultKeep; less than 1 ms is an error.
func Keep(d time.Duration) Option { return func(o *options) { o.keep = d } }

// WithCodec sets how values become text. The default is encoding/json. All who
// use a key must agree.
func WithCodec(c Codec) Option { return func(o *options) { o.codec = c } }

// In sets the Group that joins the callers of this process. The default is the
// one that hangs on the client: it is made on first use and closed by the
// client's Close. A Doer that is no command.Attacher has none: then every call
// runs its compute itself, on its own goroutine and context. A Group tells
// callers apart by key only, so clients of different servers must not share one.
func In(g *Group) Option { return func(o *options) { o.group = g } }

// Namespace sets the first part of the key's name for Do and Forget. The default
// is "redisx".
func Namespace(name string) Option { return func(o *options) { o.namespace = name } }

// Codec turns values into text and back: Encode(v) and Decode(data, &v).
type Codec = codec.Codec

// set sets the defaults and then what opts say.
func (o *options) set(opts []Option) error {
	*o = options{lease: DefaultLease, keep: DefaultKeep, codec: codec.JSON{}}
	for _, opt := range opts {
		opt(o)
	}
	switch {
	case o.lease < MinLease:
		return &OptionError{"lease", fmt.Sprintf("is %v, want at least %v", o.lease, MinLease)}
	case o.keep < time.Millisecond:
		return &OptionError{"keep", fmt.Sprintf("is %v, want at least 1ms", o.keep)}
	case o.codec == nil:
		return &OptionError{"codec", "is nil"}
	}
	return nil
}

type attached struct{}

// groupOf returns the Group that joins the calls on d, or nil.
func (o *options) groupOf(d command.Doer) (*Group, error) {
	if o.group != nil {
		return o.group, nil
	}
	a, ok := d.(command.Attacher)
	if !ok {
		return nil, nil
	}
	c, err := a.Attach(attached{}, func() io.Closer { return new(Group) })
	if err != nil {
		return nil, fmt.Errorf("coalesce: %w", err)
	}
	return c.(*Group), nil
}
