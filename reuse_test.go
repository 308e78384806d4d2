package redisx

import (
	"context"
	"strings"
	"testing"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// echo is a Batcher that answers each request with the same reply.
type echo struct{ reply resp3.View }

func (e *echo) DoBatch(_ context.Context, rs []command.Request, got func(int, resp3.View, error)) error {
	for i := range rs {
		got(i, e.reply, nil)
	}
	return nil
}

// A reply of 64 bytes costs the string that the caller gets, and nothing else.
func TestAPipelineThatIsUsedAgainAllocatesOnlyResults(t *testing.T) {
	const replies = 100
	text := strings.Repeat("x", 64)
	p := newPipeline(&echo{resp3.NewView(resp3.AppendBulk(nil, text))})
	futures := make([]Future[string], 0, replies)
	round := func() {
		p.Reset()
		futures = futures[:0]
		for range replies {
			futures = append(futures, p.Get("key"))
		}
		if err := p.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, f := range futures {
			if v, err := f.Result(); err != nil || v != text {
				t.Fatal(v, err)
			}
		}
	}
	if n := testing.AllocsPerRun(100, round); n > replies+5 {
		t.Errorf("%v allocations for %d replies", n, replies)
	}
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			round()
		}
	})
	if perReply := r.AllocedBytesPerOp() / replies; perReply > 80 {
		t.Errorf("%d bytes allocated per reply", perReply)
	}
}
