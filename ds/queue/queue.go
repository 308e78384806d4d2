package queue

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/evict"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/resp3"
)

// maxBatchBytes bounds the payloads of one call of the enqueue script.
const maxBatchBytes = 1 << 20

// Queue is a queue of jobs whose payload is a T. It may be used by many
// goroutines; it holds no connection and needs no closing.
type Queue[T any] struct {
	core core
}

// core is what does not depend on the payload's type.
type core struct {
	d    command.Doer
	name string
	keys keyset
	cfg  config
	bad  error       // what is wrong with cfg
	safe atomic.Bool // the server was found not to evict
}

// New returns the queue of that name on d. It sends nothing; what is wrong with
// the options, and a server that evicts keys (*evict.UnsafeServerError), is
// reported by the first call. Options given here hold for all calls of the
// queue; Consume and Work take more.
func New[T any](d command.Doer, name string, opts ...Option) *Queue[T] {
	q := &Queue[T]{core: core{d: d, name: name, cfg: defaults().with(opts)}}
	q.core.bad = q.core.cfg.check()
	q.core.keys = newKeyset(keys.Prefix(q.core.cfg.namespace, "queue", name))
	return q
}

// Enqueue adds a job and returns its id, which stays the same over retries. The
// job is stored when Enqueue returns nil. On an error, command.SafeToRetry
// tells whether it is sure not to be; otherwise it may be in the queue, and
// enqueueing again may make two of it. Nothing is sent twice by itself.
func (q *Queue[T]) Enqueue(ctx context.Context, v T) (id string, err error) {
	if q.core.bad != nil {
		return "", q.core.bad
	}
	payload, err := q.core.cfg.codec.Encode(v)
	if err != nil {
		return "", fmt.Errorf("queue: %s: encode: %w", q.core.name, err)
	}
	ids, err := q.core.enqueue(ctx, nil, [][]byte{payload})
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// EnqueueMany adds jobs in the order of vs, up to 500 or about 1 MiB of them in
// one step: of those all are added or none. It returns the ids of the jobs that
// are known to be in the queue: all of them, or those before the step that
// failed. For that step see Enqueue.
func (q *Queue[T]) EnqueueMany(ctx context.Context, vs []T) (ids []string, err error) {
	if q.core.bad != nil {
		return nil, q.core.bad
	}
	payloads := make([][]byte, len(vs))
	for i, v := range vs {
		if payloads[i], err = q.core.cfg.codec.Encode(v); err != nil {
			return nil, fmt.Errorf("queue: %s: encode %d: %w", q.core.name, i, err)
		}
	}
	ids = make([]string, 0, len(vs))
	for len(payloads) > 0 && err == nil {
		n, size := 1, len(payloads[0])
		for n < min(len(payloads), maxBatch) && size+len(payloads[n]) <= maxBatchBytes {
			size += len(payloads[n])
			n++
		}
		ids, err = q.core.enqueue(ctx, ids, payloads[:n])
		payloads = payloads[n:]
	}
	return ids, err
}

// enqueue adds payloads in one step and appends their ids.
func (c *core) enqueue(ctx context.Context, ids []string, payloads [][]byte) ([]string, error) {
	if err := c.ready(ctx); err != nil {
		return ids, err
	}
	args := make([]command.Arg, 1, 1+len(payloads))
	args[0] = command.Str(schema)
	for _, p := range payloads {
		args = append(args, command.Bytes(p))
	}
	decode := func(v resp3.View) ([]string, error) {
		if v.Len() != len(payloads) || !v.Kind().IsAggregate() {
			return ids, &resp3.TypeError{Want: "an id for each job", Got: v.Kind()}
		}
		for e := range v.Elems() {
			id, err := e.Str()
			if err != nil {
				return ids, err
			}
			ids = append(ids, id)
		}
		return ids, nil
	}
	got, err := command.RunScript(ctx, c.d, enqueueScript, decode, []string{c.keys.jobs, c.keys.wake, c.keys.meta}, args...)
	if err != nil {
		return ids[:len(ids):len(ids)], c.failed("enqueue", err)
	}
	return got, nil
}

// ready checks the options and, once, the server.
func (c *core) ready(ctx context.Context) error {
	if c.safe.Load() {
		return nil
	}
	if c.bad != nil {
		return c.bad
	}
	if !c.cfg.allowEviction {
		if err := evict.Check(ctx, c.d); err != nil {
			return c.failed("open", err)
		}
	}
	c.safe.Store(true)
	return nil
}

// failed says of an error what was being done.
func (c *core) failed(doing string, err error) error {
	if found, ok := schemaOf(err); ok {
		return &MismatchError{Queue: c.name, Field: "schema", Want: schema, Got: found}
	}
	return fmt.Errorf("queue: %s: %s: %w", c.name, doing, err)
}
