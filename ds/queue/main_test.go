package queue_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

func TestMain(m *testing.M) {
	dstest.Play(roles)
	goleak.VerifyTestMain(m)
}

type email struct {
	To   string `json:"to"`
	Body string `json:"body"`
}

// setup starts a server of its own and a client of it.
func setup(t testing.TB) (*servers.Server, *redisx.Client) {
	t.Helper()
	s := serverstest.Start(t)
	return s, dstest.Connect(t, s)
}

func integer(t testing.TB, v resp3.Value) int64 {
	t.Helper()
	n, err := v.Int()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stats[T any](t testing.TB, q *queue.Queue[T]) queue.Stats {
	t.Helper()
	s, err := q.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// empty fails the test unless the queue holds nothing: no job, nothing pending,
// no dead letter, and no key but those that define it.
func empty(t testing.TB, c *redisx.Client, name string) {
	t.Helper()
	prefix := "{redisx:queue:" + name + "}:"
	if n := dstest.Int(t, c, "XLEN", prefix+"jobs"); n != 0 {
		t.Errorf("%d entries in the stream", n)
	}
	groups := dstest.Cmd(t, c, "XINFO", "GROUPS", prefix+"jobs").Elems()
	if len(groups) != 1 {
		t.Fatalf("%d groups", len(groups))
	}
	for i, f := range groups[0].Elems() {
		if f.Text() == "pending" {
			if n := integer(t, groups[0].Elems()[i+1]); n != 0 {
				t.Errorf("%d deliveries pending", n)
			}
		}
	}
	for _, k := range dstest.Cmd(t, c, "KEYS", "*"+name+"*").Elems() {
		switch strings.TrimPrefix(k.Text(), prefix) {
		case "jobs", "meta", "tidied":
		default:
			t.Errorf("key %s is left", k.Text())
		}
	}
}

// consumer consumes until the end of the test, or stop.
func consumer[T any](t testing.TB, q *queue.Queue[T], opts ...queue.Option) (jobs <-chan *queue.Job[T], stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan *queue.Job[T])
	done := make(chan struct{})
	go func() {
		defer close(done)
		for job, err := range q.Consume(ctx, opts...) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("consume: %v", err)
				}
				continue
			}
			select {
			case out <- job:
			case <-ctx.Done():
			}
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return out, stop
}

func receive[T any](t testing.TB, jobs <-chan *queue.Job[T], within time.Duration) *queue.Job[T] {
	t.Helper()
	select {
	case j := <-jobs:
		return j
	case <-time.After(within):
		t.Fatalf("no job within %v", within)
		return nil
	}
}

func mails(n int) []email {
	out := make([]email, n)
	for i := range out {
		out[i] = email{To: fmt.Sprintf("user%d@example.com", i), Body: "hello"}
	}
	return out
}
