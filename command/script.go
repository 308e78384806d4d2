package command

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/redisx/redisx/resp3"
)

// Program is what the server can be told to run: a Script or a Function. Its
// keys are declared, apart from its other arguments: they decide the node, and
// a program must touch no others.
type Program interface {
	// Call returns the request that runs the program if the server knows it:
	// for pipelines and transactions, where there is no second try.
	Call(keys []string, args ...Arg) Request

	// unknown reports whether err says that the server does not know the
	// program, which proves that nothing ran.
	unknown(err error) bool
	// again returns a request that a server which does not know the program
	// can run. It may send others before.
	again(ctx context.Context, d Doer, keys []string, args []Arg) (Request, error)
}

// Run runs p on d with its keys and its arguments apart, and decodes what it
// returns. Arguments are of the types that Untyped takes, or Args.
//
// A server that does not know the program says so before running anything; it
// is then told once, within the same call, and asked again. A program that
// fails may have written before it did: its error's Outcome is Done.
func Run[T any](ctx context.Context, d Doer, p Program, decode Decoder[T], keys []string, args ...any) (T, error) {
	list, err := argsOf(args)
	if err != nil {
		var zero T
		r := p.Call(keys)
		return zero, BuildError(&r, err)
	}
	return run(ctx, d, p, decode, keys, list)
}

func run[T any](ctx context.Context, d Doer, p Program, decode Decoder[T], keys []string, args []Arg) (T, error) {
	v, err := Do(ctx, d, New(p.Call(keys, args...), decode))
	if err == nil || !p.unknown(err) {
		return v, err
	}
	r, err := p.again(ctx, d, keys, args)
	if err != nil {
		return v, err
	}
	return Do(ctx, d, New(r, decode))
}

func argsOf(args []any) ([]Arg, error) {
	list := make([]Arg, len(args))
	for i, a := range args {
		arg, ok := a.(Arg)
		if !ok {
			arg, ok = ArgOf(a)
		}
		if !ok {
			return nil, &ArgumentError{Argument: fmt.Sprintf("argument %d", i), Reason: fmt.Sprintf("type %T is neither string, []byte, integer, float nor bool", a)}
		}
		list[i] = arg
	}
	return list, nil
}

// call returns a request of EVAL's form: what, number of keys, keys, arguments.
func call(spec *Spec, what string, keys []string, args []Arg) Request {
	r := Request{spec: spec}
	r.grow(2 + len(keys) + len(args))
	r.Add(Str(what))
	r.Add(Int(int64(len(keys))))
	for _, k := range keys {
		r.Add(Str(k))
	}
	for _, a := range args {
		r.Add(a)
	}
	return r
}

// Script is a Lua script as a value; any number of goroutines may use it. It is
// sent by its digest; a server that does not know it yet says so before running
// anything, and is then sent the source.
//
// A pipeline or a transaction has no second try: queue Load before the first
// use, or Eval, which carries the source.
type Script struct {
	source, digest string
	readOnly       bool
}

// NewScript returns the script of a source.
func NewScript(source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{source: source, digest: hex.EncodeToString(sum[:])}
}

// NewScriptRO returns the script of a source that only reads. It is sent as
// EVALSHA_RO and EVAL_RO (Redis 7.0): the server refuses its writes, a replica
// may run it, and it may be repeated when nobody knows whether it ran.
func NewScriptRO(source string) *Script {
	s := NewScript(source)
	s.readOnly = true
	return s
}

// Source returns the script's text.
func (s *Script) Source() string { return s.source }

// Digest returns the SHA-1 of the source in hex, as EVALSHA takes it.
func (s *Script) Digest() string { return s.digest }

// Load returns the command that tells the server the script and does not run
// it. Its result is the digest.
func (s *Script) Load() Cmd[string] { return ScriptLoad(s.source) }

// Eval returns the EVAL, or EVAL_RO, that carries the source: for transactions
// and pipelines, where there is no second try.
func (s *Script) Eval(keys []string, args ...Arg) Request {
	if s.readOnly {
		return call(&specEVALRO, s.source, keys, args)
	}
	return call(&specEVAL, s.source, keys, args)
}

// EvalSHA returns the EVALSHA, or EVALSHA_RO, that names the script by its
// digest.
func (s *Script) EvalSHA(keys []string, args ...Arg) Request {
	if s.readOnly {
		return call(&specEVALSHARO, s.digest, keys, args)
	}
	return call(&specEVALSHA, s.digest, keys, args)
}

// Call is EvalSHA; it makes a Script a Program.
func (s *Script) Call(keys []string, args ...Arg) Request { return s.EvalSHA(keys, args...) }

// Run runs the script on d and returns what it returns, untyped: the function
// Run decodes.
func (s *Script) Run(ctx context.Context, d Doer, keys []string, args ...any) (resp3.Value, error) {
	return Run(ctx, d, s, AsValue, keys, args...)
}

func (s *Script) unknown(err error) bool { return IsCode(err, "NOSCRIPT") }

func (s *Script) again(_ context.Context, _ Doer, keys []string, args []Arg) (Request, error) {
	return s.Eval(keys, args...), nil
}

// RunScript is Run for a script with arguments that are Args.
func RunScript[T any](ctx context.Context, d Doer, s *Script, decode Decoder[T], keys []string, args ...Arg) (T, error) {
	// Not by way of run: through its interface keys and args would escape to
	// the heap, two allocations in every step of every primitive.
	v, err := Do(ctx, d, New(s.EvalSHA(keys, args...), decode))
	if err == nil || !s.unknown(err) {
		return v, err
	}
	return Do(ctx, d, New(s.Eval(keys, args...), decode))
}

// Library is the code of a library of functions (Redis 7.0) as a value, its
// first line such as "#!lua name=orders"; any number of goroutines may use it.
//
// Servers keep libraries until they are told otherwise, restarts and failovers
// included, so a library that changes must be deployed: send Replace, or give
// the library and its functions new names. Running a function never replaces a
// library that is there, which another version of the program may be using.
type Library struct{ code string }

// NewLibrary returns the library of a source.
func NewLibrary(code string) *Library { return &Library{code} }

// Code returns the library's text.
func (l *Library) Code() string { return l.code }

// Load returns the command that puts the library on a server which has none of
// that name. Its result is the name.
func (l *Library) Load() Cmd[string] { return FunctionLoad(l.code) }

// Replace returns the command that puts the library on a server in place of
// the one of that name.
func (l *Library) Replace() Cmd[string] { return FunctionReplace(l.code) }

// Function returns a function of the library, by the name it registers.
func (l *Library) Function(name string) *Function { return &Function{l, name, false} }

// FunctionRO returns a function of the library that only reads: one with the
// flag no-writes. It is sent as FCALL_RO, so a replica may run it, and it may
// be repeated when nobody knows whether it ran.
func (l *Library) FunctionRO(name string) *Function { return &Function{l, name, true} }

// Function is a function of a Library as a value; any number of goroutines may
// use it. A server that does not know it says so before running anything, and
// is then told the library. It is a fault of a function to answer "ERR Function
// not found" itself: that would be taken for the server's word.
//
// A pipeline or a transaction has no second try: load the library before.
type Function struct {
	library  *Library
	name     string
	readOnly bool
}

// Name returns the function's name.
func (f *Function) Name() string { return f.name }

// Call returns the FCALL, or FCALL_RO, of the function.
func (f *Function) Call(keys []string, args ...Arg) Request {
	if f.readOnly {
		return call(&specFCALLRO, f.name, keys, args)
	}
	return call(&specFCALL, f.name, keys, args)
}

// Run runs the function on d and returns what it returns, untyped: the function
// Run decodes.
func (f *Function) Run(ctx context.Context, d Doer, keys []string, args ...any) (resp3.Value, error) {
	return Run(ctx, d, f, AsValue, keys, args...)
}

func (f *Function) unknown(err error) bool {
	var e resp3.ServerError
	return errors.As(err, &e) && e == "ERR Function not found"
}

// again loads the library. If it is there already, somebody was faster, or the
// server has another version of it, which the second call shows.
func (f *Function) again(ctx context.Context, d Doer, keys []string, args []Arg) (Request, error) {
	_, err := Do(ctx, d, f.library.Load())
	var e resp3.ServerError
	if errors.As(err, &e) && strings.HasPrefix(string(e), "ERR Library '") && strings.HasSuffix(string(e), "' already exists") {
		err = nil
	}
	return f.Call(keys, args...), err
}

// IsCode reports whether err is an error reply with that first word.
func IsCode(err error, code string) bool {
	var e resp3.ServerError
	return errors.As(err, &e) && e.Code() == code
}
