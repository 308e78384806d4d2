package aside

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redisx/redisx/ds/internal/codec"
	"github.com/redisx/redisx/ds/internal/fill"
)

// Limits and defaults.
const (
	// DefaultLease is how long a fill outlives the last word of its process.
	DefaultLease = fill.DefaultLease
	// DefaultJitter is the share of its ttl by which a value may live shorter.
	DefaultJitter = 0.1
	// DefaultEarly is the last share of its ttl in which a value may be refreshed
	// before it ends.
	DefaultEarly = 0.2
	// MaxTags is how many tags a value may have: each costs a read on a hit.
	MaxTags = 16
)

// longest is what longer durations are cut to, so that sums of some of them,
// and of server times, are numbers still.
const longest = 10 * 365 * 24 * time.Hour

// backOff is for how long nobody refreshes a value after a refresh has failed.
const backOff = time.Second

// Option tunes a Cache or a call. It is a plain value: to make one allocates
// nothing.
type Option struct {
	set   setting
	d     time.Duration
	share float64
	n     int
	tags  []string
	tagBy func(key string) []string
	codec Codec
	text  string
}

type setting uint8

const (
	_ setting = iota
	setLease
	setJitter
	setEarly
	setStale
	setStaleIfError
	setNegative
	setTags
	setTagBy
	setMemory
	setCodec
	setNamespace
	setStrict
)

// Lease sets for how long the server lets a process compute without a word
// from it; it is renewed about every third of that while the compute runs. When
// the process dies, another one computes after at most this time. The default is
// DefaultLease; less than 50 ms is an error.
func Lease(d time.Duration) Option { return Option{set: setLease, d: d} }

// Jitter makes each value live between (1 − share) and 1 times its ttl, so that
// values stored together do not end together. At least 0 and below 1; the
// default is DefaultJitter.
func Jitter(share float64) Option { return Option{set: setJitter, share: share} }

// Early sets the last share of its ttl in which a value may be refreshed before
// it ends, while all are served with it. It is refreshed sooner the longer its
// compute takes and the more it is asked for (XFetch: Vattani, Chierichetti,
// Lowenstein, VLDB 2015), but not before four times the compute's time is left.
// At least 0, which never refreshes early, and at most 1; the default is
// DefaultEarly.
func Early(share float64) Option { return Option{set: setEarly, share: share} }

// Stale lets a value be served for d after its ttl, while one caller's process
// computes the next in the background. The value key lives that much longer, so
// other programs that read it see a stale value, too. The default is 0.
func Stale(d time.Duration) Option { return Option{set: setStale, d: d} }

// StaleIfError lets a value be served for d after its ttl when the compute of
// the next one fails, and for a second after that without another try. It
// counts from the same moment as Stale, and keeps the value key alive like it. The
// default is 0.
func StaleIfError(d time.Duration) Option { return Option{set: setStaleIfError, d: d} }

// Negative keeps for d that a compute found nothing (ErrNotFound), so that those
// who ask meanwhile get a *NotFoundError without another compute. The value key
// stays absent. The default is 0: the next caller computes.
func Negative(d time.Duration) Option { return Option{set: setNegative, d: d} }

// Tags gives values tags by which InvalidateTag finds them. All calls for a key
// must give the same ones. Each costs a read, in the same round trip where the
// Doer is a command.Batcher. At most MaxTags.
func Tags(names ...string) Option { return Option{set: setTags, tags: names} }

// TagBy is Tags for a Cache whose keys have different ones.
func TagBy(f func(key string) []string) Option { return Option{set: setTagBy, tagBy: f} }

// Memory keeps values in this process, too, decoded: a hit costs no round trip
// and allocates nothing. What is kept is dropped when the server says that it
// has changed, and when the connection that tells is lost; where the server
// cannot push, nothing is kept.
//
// maxBytes bounds what a client keeps, in bytes of the values' texts and 512
// bytes each for what they cost beside; the largest bound that was asked for
// counts, and 65 536 values at most are kept. Beyond that goes what was not read for
// long.
//
// All callers get the same value: who wants to change what it points to makes a
// copy. After an invalidation by another process the old value may be served
// until the server's push has come: as long as the network takes, or 12 s
// where the connection fell silent without an end.
func Memory(maxBytes int) Option { return Option{set: setMemory, n: maxBytes} }

// WithCodec sets how values become text. The default is encoding/json. All who
// use a key must agree.
func WithCodec(c Codec) Option { return Option{set: setCodec, codec: c} }

// Namespace sets the first part of the names of tags' keys. The default is
// "redisx".
func Namespace(name string) Option { return Option{set: setNamespace, text: name} }

// Strict makes a call fail that cannot reach the server, or cannot store what it
// computed (*StoreError). Without it such a call computes alone, and Stats
// counts it.
func Strict() Option { return Option{set: setStrict} }

// Codec turns values into text and back: Encode(v) and Decode(data, &v).
type Codec = codec.Codec

// options are what the Options say.
type options struct {
	lease        time.Duration
	jitter       float64
	early        float64
	stale        time.Duration
	staleIfError time.Duration
	negative     time.Duration
	tags         []string
	tagBy        func(key string) []string
	memory       int
	codec        Codec
	namespace    string
	strict       bool
}

// read sets the defaults and then what opts say.
func (o *options) read(opts []Option) {
	*o = options{lease: DefaultLease, jitter: DefaultJitter, early: DefaultEarly, codec: codec.JSON{}}
	for i := range opts {
		switch opt := &opts[i]; opt.set {
		case setLease:
			o.lease = opt.d
		case setJitter:
			o.jitter = opt.share
		case setEarly:
			o.early = opt.share
		case setStale:
			o.stale = opt.d
		case setStaleIfError:
			o.staleIfError = opt.d
		case setNegative:
			o.negative = opt.d
		case setTags:
			o.tags = opt.tags
		case setTagBy:
			o.tagBy = opt.tagBy
		case setMemory:
			o.memory = opt.n
		case setCodec:
			o.codec = opt.codec
		case setNamespace:
			o.namespace = opt.text
		case setStrict:
			o.strict = true
		}
	}
	for _, d := range []*time.Duration{&o.lease, &o.stale, &o.staleIfError, &o.negative} {
		*d = min(*d, longest)
	}
}

// check says what is wrong with the options and the ttl.
func (o *options) check(ttl time.Duration) error {
	switch {
	case ttl < time.Millisecond:
		return &OptionError{"ttl", fmt.Sprintf("is %v, want at least 1ms", ttl)}
	case o.lease < fill.MinLease:
		return &OptionError{"lease", fmt.Sprintf("is %v, want at least %v", o.lease, fill.MinLease)}
	case !(o.jitter >= 0 && o.jitter < 1):
		return &OptionError{"jitter", fmt.Sprintf("is %v, want at least 0 and below 1", o.jitter)}
	case !(o.early >= 0 && o.early <= 1):
		return &OptionError{"early", fmt.Sprintf("is %v, want at least 0 and at most 1", o.early)}
	case o.stale < 0 || o.staleIfError < 0 || o.negative < 0:
		return &OptionError{"stale, stale if error or negative", "is below 0"}
	case o.memory < 0:
		return &OptionError{"memory", fmt.Sprintf("is %d bytes, want at least 0", o.memory)}
	case o.codec == nil:
		return &OptionError{"codec", "is nil"}
	}
	return nil
}

// tagsOf returns the tags of a key, sorted, each once.
func (o *options) tagsOf(key string) ([]string, error) {
	tags := o.tags
	if o.tagBy != nil {
		tags = append(slices.Clip(tags), o.tagBy(key)...)
	}
	if len(tags) == 0 {
		return nil, nil
	}
	tags = slices.Compact(slices.Sorted(slices.Values(tags)))
	if len(tags) > MaxTags {
		return nil, &OptionError{"tags", "are " + strconv.Itoa(len(tags)) + ", want at most " + strconv.Itoa(MaxTags)}
	}
	return tags, nil
}

// life returns for how long one value is fresh.
func (o *options) life(ttl time.Duration) time.Duration {
	return max(ttl-time.Duration(rand.Float64()*o.jitter*float64(ttl)), time.Millisecond)
}
