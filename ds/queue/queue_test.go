package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/queue"
)

func TestSmoke(t *testing.T) {
	_, c := setup(t)
	q := queue.New[email](c, "email")
	ids, err := q.EnqueueMany(t.Context(), mails(1000))
	if err != nil || len(ids) != 1000 {
		t.Fatal(err, len(ids))
	}
	t.Logf("%+v", stats(t, q))
	ctx, cancel := context.WithCancel(t.Context())
	start := time.Now()
	n := 0
	for j, err := range q.Consume(ctx) {
		if err != nil {
			t.Log(err)
			break
		}
		if err := j.Ack(ctx); err != nil {
			t.Fatal(err)
		}
		if n++; n == 1000 {
			cancel()
		}
	}
	t.Log(time.Since(start))
	t.Logf("%+v", stats(t, q))
	empty(t, c, "email")
}
