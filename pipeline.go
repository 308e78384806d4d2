package redisx

import (
	"context"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// Pipeline collects commands and sends them in one go. Each command has its own
// outcome; a pipeline is not a transaction (see Tx). It may be used by one
// goroutine at a time. Its results stay valid until Reset.
//
// While it runs, a pipeline takes about three times its own memory, whatever
// the server does: the arguments (the caller's), the encoded commands, and the
// replies. A long pipeline is sent while its replies are read, so it may be
// larger than all buffers on the way; beyond Config.MaxBytes it waits until
// nothing else is in flight.
type Pipeline struct {
	PipelineCommands

	q queue
	b command.Batcher
}

// Pipeline returns an empty pipeline.
func (c *Client) Pipeline() *Pipeline { return newPipeline(c) }

func newPipeline(b command.Batcher) *Pipeline {
	p := &Pipeline{b: b}
	p.PipelineCommands = PipelineCommands{q: &p.q}
	return p
}

func (p *Pipeline) queued() *queue { return &p.q }

// Len returns how many commands are queued.
func (p *Pipeline) Len() int { return len(p.q.requests) }

// Exec sends all queued commands and waits for their replies. It returns the
// first error: of the connection, if there is one, else of the first command
// that the server answered with an error; then the other commands have run
// nonetheless. Result tells of each. An empty pipeline does nothing.
//
// If the connection ends, or ctx does, each command without a reply says for
// itself how far it got: not sent, cut, or maybe run. A command that is built
// wrong keeps all from being sent.
func (p *Pipeline) Exec(ctx context.Context) error {
	q := &p.q
	if q.executed {
		return errExecuted
	}
	q.executed = true
	if len(q.requests) == 0 {
		return nil
	}
	var first error
	err := p.b.DoBatch(ctx, q.requests, func(i int, v resp3.View, err error) {
		if err != nil {
			if first == nil {
				first = err
			}
			q.fail(i, err)
			v = resp3.View{}
		}
		q.replies.Add(v)
	})
	if err != nil {
		return err
	}
	return first
}

// Reset empties the pipeline for the next use. Results of the last one are
// gone; memory is kept for 4096 commands and 1 MiB of replies.
func (p *Pipeline) Reset() { p.q.reset() }
