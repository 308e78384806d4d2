package tracking

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/internal/session"
)

// stocked returns a hub that holds n keys, without a server.
func stocked(n int) *Hub {
	h := New(pool.New(pool.Config{}), session.Config{}, Config{})
	h.line = &line{generation: h.node.Generation()}
	for i := range n {
		s := fill(&h.store, "a value of some length, as values have it", fmt.Sprint("user:", i))
		s.end = math.MaxInt64
	}
	return h
}

func requests(n int) []command.Request {
	rs := make([]command.Request, n)
	for i := range rs {
		rs[i] = command.Get(fmt.Sprint("user:", i)).Request()
	}
	return rs
}

const benchKeys = 1024

// BenchmarkHit is what a call costs that the cache answers, decoding included.
func BenchmarkHit(b *testing.B) {
	h, rs := stocked(benchKeys), requests(benchKeys)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	one := func(i int) {
		reply, err := h.Do(ctx, &rs[i%benchKeys], time.Hour)
		if err != nil {
			b.Fatal(err)
		}
		if s, err := command.AsString(reply.View()); err != nil || s == "" {
			b.Fatal(s, err)
		}
		reply.Release()
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			one(i)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				one(i)
			}
		})
	})
}

// BenchmarkMap is what BenchmarkHit cannot beat: a map under an RWMutex, by key.
func BenchmarkMap(b *testing.B) {
	var mu sync.RWMutex
	m, names := map[string]string{}, make([]string, benchKeys)
	for i := range names {
		names[i] = fmt.Sprint("user:", i)
		m[names[i]] = "a value of some length, as values have it"
	}
	one := func(i int) {
		mu.RLock()
		s := m[names[i%benchKeys]]
		mu.RUnlock()
		if s == "" {
			b.Fatal("nothing there")
		}
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			one(i)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				one(i)
			}
		})
	})
}

func TestAHitAllocatesNothing(t *testing.T) {
	h, rs := stocked(1), requests(1)
	if n := testing.AllocsPerRun(100, func() {
		reply, err := h.Do(bg, &rs[0], time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		command.AsString(reply.View())
		reply.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
