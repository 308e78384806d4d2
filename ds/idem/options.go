package idem

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redisx/redisx/ds/internal/codec"
)

// Defaults of the options.
const (
	defaultTTL       = 10 * time.Second
	defaultRetention = 24 * time.Hour
	defaultMaxResult = 1 << 20
	minTTL           = 20 * time.Millisecond
	maxStoredMessage = 4 << 10
)

// Option tunes a call.
type Option func(*config)

type config struct {
	namespace     string
	ttl           time.Duration
	retention     time.Duration
	wait          time.Duration // how long to wait for another runner, if
	bounded       bool          // there is a bound to it
	crash         policy
	fingerprint   string
	maxResult     int
	allowEviction bool
	codec         codec.Codec
	err           error
}

func configure(opts []Option) (config, error) {
	c := config{
		ttl: defaultTTL, retention: defaultRetention, maxResult: defaultMaxResult,
		crash: failOnCrash, codec: codec.JSON{},
	}
	for _, o := range opts {
		o(&c)
	}
	return c, c.err
}

func (c *config) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("idem: "+format, args...)
	}
}

// TTL sets how long the server lets a runner be silent before it counts as
// dead; it is renewed three times as often while fn runs. The default is 10 s,
// the least 20 ms, in whole milliseconds.
func TTL(d time.Duration) Option {
	return func(c *config) {
		if d < minTTL {
			c.fail("a TTL of %v is below %v", d, minTTL)
		}
		c.ttl = d.Truncate(time.Millisecond)
	}
}

// Retention sets how long a record is kept after the run has ended, or after
// its runner counts as dead. It is how long the key protects. The default is
// 24 h, the least 1 ms.
func Retention(d time.Duration) Option {
	return func(c *config) {
		if d < time.Millisecond {
			c.fail("a retention of %v is below 1ms", d)
		}
		c.retention = d.Truncate(time.Millisecond)
	}
}

// Namespace sets the first part of the keys' names, to keep applications and
// operations on one server apart. The default is "redisx".
func Namespace(name string) Option { return func(c *config) { c.namespace = name } }

// Wait bounds how long a caller waits for another runner's outcome before it
// gets ErrInProgress. Wait(0) does not wait at all. The default is as long as
// the caller's context lasts. It does not bound the caller's own run.
func Wait(budget time.Duration) Option {
	return func(c *config) {
		if budget < 0 {
			c.fail("a wait of %v is negative", budget)
		}
		c.wait, c.bounded = budget, true
	}
}

// policy says what a caller does that finds a run whose runner has died.
type policy string

const (
	failOnCrash   policy = "fail"
	rerunOnCrash  policy = "rerun"
	resumeOnCrash policy = "resume"
)

// RerunOnCrash makes this caller run fn, from the start, when it finds that a
// runner has died, also if others have been told ErrIndeterminate before. Right
// where a second run does no harm. No Checkpoint of an earlier run is used.
func RerunOnCrash() Option { return func(c *config) { c.crash = rerunOnCrash } }

// ResumeOnCrash makes this caller run fn when it finds that a runner has died,
// also if others have been told ErrIndeterminate before. Each Checkpoint that an
// earlier run has reached returns what it saved instead of running its step
// again. Right where each step is a checkpoint, or may run twice.
func ResumeOnCrash() Option { return func(c *config) { c.crash = resumeOnCrash } }

// Fingerprint ties the key to the arguments of the operation: a call with
// another fingerprint gets ErrKeyMismatch instead of a foreign result. It is
// the SHA-256 of v's JSON with object keys in order, so the order of map keys
// and struct fields does not matter, while 1 and 1.0 differ. What cannot be
// marshalled makes Run fail. Calls without a fingerprint match any.
//
// The hash is stored. It hides a card number no better than any plain hash of
// one does: leave secrets of few possible values out of v.
func Fingerprint(v any) Option {
	return func(c *config) {
		sum, err := canonicalSum(v)
		if err != nil {
			c.fail("fingerprint: %w", err)
		}
		c.fingerprint = sum
	}
}

func canonicalSum(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	var tree any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber() // 2^53+1 and 2^53 are not the same amount
	if err := dec.Decode(&tree); err != nil {
		return "", err
	}
	if b, err = json.Marshal(tree); err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Codec replaces json.Marshal and json.Unmarshal for results and for what
// checkpoints save. All who use a key must use the same. decode must not keep
// data.
func Codec(encode func(v any) ([]byte, error), decode func(data []byte, v any) error) Option {
	return func(c *config) {
		if encode == nil || decode == nil {
			c.fail("the codec is nil")
		}
		c.codec = functions{encode, decode}
	}
}

// functions are a codec.
type functions struct {
	encode func(v any) ([]byte, error)
	decode func(data []byte, v any) error
}

// Encode calls encode.
func (f functions) Encode(v any) ([]byte, error) { return f.encode(v) }

// Decode calls decode.
func (f functions) Decode(data []byte, v any) error { return f.decode(data, v) }

// MaxResult sets how large an encoded result may be, in bytes, and how large all
// that the checkpoints of a run save may be together. Of a larger result only
// the fact is stored that it ran. The default is 1 MiB, the least 1.
func MaxResult(n int) Option {
	return func(c *config) {
		if n < 1 {
			c.fail("a result limit of %d bytes is below 1", n)
		}
		c.maxResult = n
	}
}

// AllowEviction waives the check of the server's maxmemory-policy. A server
// that evicts may forget a record at any time, and the operation then runs
// again.
func AllowEviction() Option { return func(c *config) { c.allowEviction = true } }
