package command

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"

	"github.com/redisx/redisx/resp3"
)

// Script is a Lua script as a value. It is sent by its digest; a server
// that does not know it yet says so before running anything, and is then sent
// the source.
type Script struct {
	source, digest string
}

// NewScript returns the script of a source.
func NewScript(source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{source: source, digest: hex.EncodeToString(sum[:])}
}

// Source returns the script's text.
func (s *Script) Source() string { return s.source }

// Digest returns the SHA-1 of the source in hex, as EVALSHA takes it.
func (s *Script) Digest() string { return s.digest }

func (s *Script) request(spec *Spec, code string, keys []string, args []Arg) Request {
	r := Request{spec: spec}
	if n := 2 + len(keys) + len(args) - inline; n > 0 {
		r.more = make([]Arg, 0, n)
	}
	r.Add(Str(code))
	r.Add(Int(int64(len(keys))))
	for _, k := range keys {
		r.Add(Str(k))
	}
	for _, a := range args {
		r.Add(a)
	}
	return r
}

// Eval returns the EVAL that carries the source: for transactions and
// pipelines, where there is no second try.
func (s *Script) Eval(keys []string, args ...Arg) Request {
	return s.request(&specEVAL, s.source, keys, args)
}

// EvalSHA returns the EVALSHA that names the script by its digest.
func (s *Script) EvalSHA(keys []string, args ...Arg) Request {
	return s.request(&specEVALSHA, s.digest, keys, args)
}

// RunScript runs s on d with its keys and arguments apart and decodes what it
// returns. On NOSCRIPT, which proves that nothing ran, it sends the source.
func RunScript[T any](ctx context.Context, d Doer, s *Script, decode Decoder[T], keys []string, args ...Arg) (T, error) {
	v, err := Do(ctx, d, New(s.EvalSHA(keys, args...), decode))
	if err == nil || !IsCode(err, "NOSCRIPT") {
		return v, err
	}
	return Do(ctx, d, New(s.Eval(keys, args...), decode))
}

// IsCode reports whether err is an error reply with that first word.
func IsCode(err error, code string) bool {
	var e resp3.ServerError
	return errors.As(err, &e) && e.Code() == code
}
