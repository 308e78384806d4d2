package replicas

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var script = command.NewScript("return 7")

// server answers a script with an integer frame, and WAIT with how many
// replicas have it.
type server struct {
	knows  bool // the script
	answer string
	acked  string
	cut    error // in place of the answer to WAIT
	sent   []string
}

func (s *server) Do(_ context.Context, r command.Request) (command.Reply, error) {
	s.sent = append(s.sent, r.Name())
	if !s.knows && r.Name() == "EVALSHA" {
		return command.Reply{}, resp3.ServerError("NOSCRIPT no matching script")
	}
	v := resp3.NewView([]byte(s.answer))
	return command.NewReply(&v, nil), nil
}

func (s *server) DoBatch(ctx context.Context, rs []command.Request, got func(int, resp3.View, error)) error {
	reply, err := s.Do(ctx, rs[0])
	got(0, reply.View(), err)
	s.sent = append(s.sent, rs[1].Name())
	got(1, resp3.NewView([]byte(s.acked)), s.cut)
	return s.cut
}

// plain sends no batches.
type plain struct{ s *server }

func (p plain) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return p.s.Do(ctx, r)
}

func TestTheValueCountsWheneverTheScriptHasRun(t *testing.T) {
	errCut := errors.New("cut")
	for name, tt := range map[string]struct {
		s     server
		short bool
		acked int
		sent  []string
	}{
		"confirmed":                  {server{knows: true, answer: ":7\r\n", acked: ":2\r\n"}, false, 2, []string{"EVALSHA", "WAIT"}},
		"too few":                    {server{knows: true, answer: ":7\r\n", acked: ":1\r\n"}, true, 1, []string{"EVALSHA", "WAIT"}},
		"the answer to WAIT is lost": {server{knows: true, answer: ":7\r\n", acked: ":0\r\n", cut: errCut}, true, 0, []string{"EVALSHA", "WAIT"}},
		"the server has no script":   {server{answer: ":7\r\n", acked: ":2\r\n"}, false, 2, []string{"EVALSHA", "WAIT", "EVAL", "WAIT"}},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := Run(t.Context(), &tt.s, Need{Count: 2, Within: time.Second}, script, command.AsInt, []string{"k"})
			var short *ShortError
			if v != 7 || errors.As(err, &short) != tt.short || !tt.short && err != nil {
				t.Errorf("Run: %d, %v; want 7, short %v", v, err, tt.short)
			}
			if short != nil && (short.Acked != tt.acked || !errors.Is(err, tt.s.cut) && tt.s.cut != nil) {
				t.Errorf("%+v, want %d acked and the cause", short, tt.acked)
			}
			if !slices.Equal(tt.s.sent, tt.sent) {
				t.Errorf("sent %v, want %v", tt.s.sent, tt.sent)
			}
		})
	}
}

func TestAnErrorOfTheScriptIsNoShortfall(t *testing.T) {
	s := &server{knows: true, answer: "+x\r\n", acked: ":2\r\n"}
	_, err := Run(t.Context(), s, Need{Count: 2, Within: time.Second}, script, command.AsInt, []string{"k"})
	var short *ShortError
	if err == nil || errors.As(err, &short) {
		t.Errorf("Run: %v, want what is wrong with the answer", err)
	}
}

func TestWhoNeedsNobodyNeedsNoBatch(t *testing.T) {
	s := &server{knows: true, answer: ":7\r\n"}
	if v, err := Run(t.Context(), plain{s}, Need{}, script, command.AsInt, []string{"k"}); v != 7 || err != nil {
		t.Errorf("Run: %d, %v", v, err)
	}
	if _, err := Run(t.Context(), plain{s}, Need{Count: 1}, script, command.AsInt, []string{"k"}); !errors.Is(err, ErrNoBatch) || len(s.sent) != 1 {
		t.Errorf("Run: %v after %v, want ErrNoBatch with nothing sent", err, s.sent)
	}
}
