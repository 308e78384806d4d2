package lease_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/resp3"
)

// answers is a server that says the same to everything.
type answers string

func (a answers) Do(_ context.Context, _ command.Request) (command.Reply, error) {
	v, _, err := resp3.Decode([]byte(a))
	if err != nil {
		return command.Reply{}, err
	}
	view := v.View()
	return command.NewReply(&view, nil), nil
}

func TestAnAnswerThatIsNoGrantIsAnError(t *testing.T) {
	t.Parallel()
	for _, wire := range []string{
		"_\r\n", "+OK\r\n", ":0\r\n", ":-7\r\n", "*0\r\n", "*1\r\n:1\r\n", "*1\r\n:2\r\n", "*1\r\n:5\r\n", "*1\r\n:9\r\n", "*1\r\n:0\r\n", "*2\r\n:0\r\n_\r\n", "%1\r\n:0\r\n:0\r\n",
	} {
		for name, opts := range map[string][]lease.Option{"alone": {}, "shared": {lease.Shared()}, "fair": {lease.Fair()}} {
			for call, acquire := range map[string]func(context.Context, command.Doer, string, ...lease.Option) (*lease.Lease, error){
				"Acquire": lease.Acquire, "TryAcquire": lease.TryAcquire, "TakeOver": lease.TakeOver,
			} {
				said := wire
				if name != "shared" && call != "TakeOver" {
					said = "*1\r\n" + wire // acquire.lua answers for one row of many
				}
				l, err := acquire(t.Context(), answers(said), "job", append(opts, lease.AllowEviction())...)
				if l != nil || err == nil || errors.Is(err, lease.ErrHeld) {
					t.Errorf("%s, %s: %q: %v, %v", call, name, said, l, err)
				}
			}
		}
	}
}

// granted is a server that grants, and says the same to everything else.
type granted struct{ answers answers }

func (g *granted) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	if dstest.Runs(r, lease.AcquireScript()) {
		return answers("*1\r\n:7\r\n").Do(ctx, r)
	}
	return g.answers.Do(ctx, r)
}

func TestDoTakesAReplyForEachCommandOrNone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		wire string
		ok   bool
	}{
		{"*3\r\n:1\r\n+OK\r\n+OK\r\n", true},
		{"*2\r\n:1\r\n+OK\r\n", false},
		{"*1\r\n:1\r\n", false},
		{"*4\r\n:1\r\n+OK\r\n+OK\r\n+OK\r\n", false},
		{"*4\r\n:1\r\n+OK\r\n+OK\r\n-ERR three\r\n", false},
		{"*3\r\n:1\r\n+OK\r\n-ERR two\r\n", false},
		{"*2\r\n:1\r\n-ERR one\r\n", false},
		{"*1\r\n:0\r\n", false},
		{"*5\r\n:0\r\n_\r\n_\r\n_\r\n_\r\n", false},
		{"*0\r\n", false},
		{"_\r\n", false},
	} {
		l := acquire(t, &granted{answers(tt.wire)}, "job", lease.AllowEviction(), lease.TTL(time.Hour))
		got, err := l.Do(t.Context(), raw("SET", "a", "1"), raw("SET", "b", "1"))
		if (err == nil) != tt.ok || tt.ok && len(got) != 2 || len(got) > 2 {
			t.Errorf("%q: %v, %v", tt.wire, got, err)
		}
		_ = l.Release(t.Context()) // ends its renewal
	}
}

func TestReleasingASetEndsItAsReleased(t *testing.T) {
	t.Parallel()
	for range 1000 {
		s, err := lease.AcquireAll(t.Context(), &granted{":1\r\n"}, []string{"a", "b"}, lease.AllowEviction())
		if err != nil {
			t.Fatal(err)
		}
		ctx := s.Context()
		_ = s.Release(t.Context())
		if cause := context.Cause(ctx); !errors.Is(cause, lease.ErrLost) {
			t.Fatalf("the cause is %v", cause)
		}
	}
}
