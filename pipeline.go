package redisx

import (
	"context"
	"errors"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// ErrNotExecuted is the result of a queued command before Exec.
var ErrNotExecuted = errors.New("redisx: the pipeline has not been executed")

// Pipeline collects commands and sends them in one go. Each command has its own
// outcome; a pipeline is not a transaction. It may be used by one goroutine at
// a time. Its results stay valid until Reset.
type Pipeline struct {
	PipelineCommands

	b        command.Batcher
	requests []command.Request
	executed bool
	replies  []byte // the frames of all replies
	ends     []int  // where each reply ends in replies
	errs     map[int]error
}

// Pipeline returns an empty pipeline.
func (c *Client) Pipeline() *Pipeline { return newPipeline(c) }

func newPipeline(b command.Batcher) *Pipeline {
	p := &Pipeline{b: b}
	p.PipelineCommands = PipelineCommands{p: p}
	return p
}

// Future is the result to come of one command of a pipeline.
type Future[T any] struct {
	p      *Pipeline
	i      int
	decode command.Decoder[T]
	spec   *command.Spec
}

// Queue adds a command value to p and returns its result to come. A pipeline
// that has been executed must be Reset first: the command is then not queued
// and its result is ErrNotExecuted.
func Queue[T any](p *Pipeline, c command.Cmd[T]) Future[T] {
	r := c.Request()
	f := Future[T]{p: p, i: len(p.requests), decode: c.Decode, spec: r.Spec()}
	if p.executed {
		f.i = -1
		return f
	}
	p.requests = append(p.requests, r)
	return f
}

// Len returns how many commands are queued.
func (p *Pipeline) Len() int { return len(p.requests) }

// Exec sends all queued commands and waits for their replies. It returns the
// first error: of the connection, if there is one, else of the first command
// that the server answered with an error. The other commands have run
// nonetheless; Result tells of each. An empty pipeline does nothing.
func (p *Pipeline) Exec(ctx context.Context) error {
	if p.executed {
		return errors.New("redisx: the pipeline has been executed: Reset it first")
	}
	p.executed = true
	var first error
	err := p.b.DoBatch(ctx, p.requests, func(i int, v resp3.View, err error) {
		if err != nil {
			if first == nil {
				first = err
			}
			if p.errs == nil {
				p.errs = map[int]error{}
			}
			p.errs[i] = err
		}
		p.replies = v.Append(p.replies)
		p.ends = append(p.ends, len(p.replies))
	})
	if err != nil {
		return err
	}
	return first
}

// Reset empties the pipeline for the next use. Results of the last one are gone.
func (p *Pipeline) Reset() {
	p.requests, p.executed, p.errs = p.requests[:0], false, nil
	p.replies, p.ends = p.replies[:0], p.ends[:0]
}

// Result returns the command's result, or its error.
func (f Future[T]) Result() (T, error) {
	var zero T
	p := f.p
	if p == nil || f.i < 0 || !p.executed || f.i >= len(p.ends) {
		return zero, ErrNotExecuted
	}
	if err := p.errs[f.i]; err != nil {
		return zero, err
	}
	from := 0
	if f.i > 0 {
		from = p.ends[f.i-1]
	}
	v, err := f.decode(resp3.NewView(p.replies[from:p.ends[f.i]]))
	if err != nil {
		return zero, command.DecodeError(f.spec, err)
	}
	return v, nil
}
