package command

import (
	"context"

	"github.com/redisx/redisx/resp3"
)

// Decoder reads a reply of one shape. It must not keep the View or bytes of it.
type Decoder[T any] func(resp3.View) (T, error)

// Cmd is a command as a value: what is sent, and how its reply becomes a T. It
// is immutable and safe to share: the same Cmd goes into a client, a session, a
// pipeline or a transaction, any number of times.
type Cmd[T any] struct {
	req    Request
	decode Decoder[T]
}

// Sendable is what is sent as one command: a Cmd of whatever result, or a
// Request.
type Sendable interface{ Request() Request }

// Void is the result of commands that only succeed or fail.
type Void = struct{}

// New returns the command that sends r and decodes its reply by decode.
func New[T any](r Request, decode Decoder[T]) Cmd[T] { return Cmd[T]{req: r, decode: decode} }

// Request returns what is sent.
func (c Cmd[T]) Request() Request { return c.req }

// AppendRequest appends what is sent to rs.
func (c *Cmd[T]) AppendRequest(rs []Request) []Request { return append(rs, c.req) }

// Decode decodes a reply.
func (c Cmd[T]) Decode(v resp3.View) (T, error) { return c.decode(v) }

// Decoder returns what decodes a reply.
func (c *Cmd[T]) Decoder() Decoder[T] { return c.decode }

// As returns the same command with its reply read by another decoder: into
// bytes, into a buffer of yours, as an untyped value.
func As[T, U any](c Cmd[T], decode Decoder[U]) Cmd[U] { return Cmd[U]{req: c.req, decode: decode} }

// Do runs c on d and returns its result. A command that was built wrong is
// refused here, before d sees it.
func Do[T any](ctx context.Context, d Doer, c Cmd[T]) (T, error) { return c.Do(ctx, d) }

// Do is the function Do for a command in a variable. It saves a copy of the
// command on the stack of the caller, who waits there: thousands of waiting
// callers take turns in the processor's caches.
func (c *Cmd[T]) Do(ctx context.Context, d Doer) (T, error) {
	if err := c.req.Err(); err != nil {
		var zero T
		return zero, BuildError(&c.req, err)
	}
	return c.Finish(d.Do(ctx, c.req))
}

// RequestRef returns what is sent, in place, to a caller who neither keeps nor
// changes it.
func (c *Cmd[T]) RequestRef() *Request { return &c.req }

// Finish decodes and releases the reply that a Doer returned, or passes on its
// error.
func (c *Cmd[T]) Finish(reply Reply, err error) (T, error) {
	if err != nil {
		var zero T
		return zero, err
	}
	v, err := c.decode(reply.View())
	reply.Release()
	if err != nil {
		var zero T
		return zero, DecodeError(c.req.spec, err)
	}
	return v, nil
}

// DoInto runs c, whose reply must be a string, on d and appends the string to
// dst. With room in dst it allocates nothing. Without a string (Nil, an error)
// it returns dst as it is.
func DoInto[T any](ctx context.Context, d Doer, c Cmd[T], dst []byte) ([]byte, error) {
	if err := c.req.Err(); err != nil {
		return dst, BuildError(&c.req, err)
	}
	reply, err := d.Do(ctx, c.req)
	if err != nil {
		return dst, err
	}
	out, err := appendTo(dst, reply.View())
	reply.Release()
	if err != nil {
		return out, DecodeError(c.req.spec, err)
	}
	return out, nil
}

// DecodeError wraps what a decoder returned. Nil stays as it is: an absent
// value is an answer, not a failure.
//
//go:noinline
func DecodeError(spec *Spec, err error) error {
	if err == Nil {
		return err
	}
	return &Error{Command: spec.Name, Node: "client", Phase: "decode", Outcome: Done, Err: err}
}

// BuildError returns the error for a request that must not be sent, because
// its Err is err: Phase "build", NotSent.
//
//go:noinline
func BuildError(r *Request, err error) *Error {
	name := ""
	if r.spec != nil {
		name = r.spec.Name
	}
	return &Error{Command: name, Node: "client", Phase: "build", Outcome: NotSent, Err: err}
}
