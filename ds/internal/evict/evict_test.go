package evict

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers INFO.
type server struct {
	info  string // the text, "" for none
	err   error
	asked int
}

func (s *server) Do(_ context.Context, r command.Request) (command.Reply, error) {
	s.asked++
	if got := string(r.Append(nil)); got != "*2\r\n$4\r\nINFO\r\n$6\r\nmemory\r\n" {
		return command.Reply{}, fmt.Errorf("sent %q", got)
	}
	if s.err != nil {
		return command.Reply{}, s.err
	}
	v := resp3.NewView(resp3.StringValue(s.info).Append(nil))
	return command.NewReply(&v, nil), nil
}

// client is a server that owns attachments.
type client struct {
	server
	attached map[any]io.Closer
}

func (c *client) Attach(key any, make func() io.Closer) (io.Closer, error) {
	if c.attached == nil {
		c.attached = map[any]io.Closer{}
	}
	if c.attached[key] == nil {
		c.attached[key] = make()
	}
	return c.attached[key], nil
}

func memory(policy string) string {
	return "# Memory\r\nused_memory:1\r\nmaxmemory_human:0B\r\nmaxmemory_policy:" + policy + "\r\nallocator_frag_ratio:1.0\r\n"
}

func TestOnlyNoevictionIsSafe(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "noevictionx"} {
		var unsafe *UnsafeServerError
		err := Check(t.Context(), &server{info: memory(policy)})
		if !errors.As(err, &unsafe) || unsafe.Policy != policy || !strings.Contains(unsafe.Explain(), policy) || !strings.Contains(err.Error(), policy) {
			t.Errorf("Check with %s: %v, want an UnsafeServerError that names it", policy, err)
		}
	}
	if err := Check(t.Context(), &server{info: memory("noeviction")}); err != nil {
		t.Errorf("Check with noeviction: %v", err)
	}
}

func TestAServerThatDoesNotTellIsUnsafe(t *testing.T) {
	t.Parallel()
	noperm := resp3.ServerError("NOPERM no permission to run 'info'")
	for name, s := range map[string]*server{
		"no such line":    {info: "# Memory\r\nused_memory:1\r\n"},
		"no permission":   {err: &command.Error{Command: "INFO", Phase: "reply", Outcome: command.Refused, Err: noperm}},
		"no such section": {err: &command.Error{Command: "INFO", Phase: "reply", Outcome: command.Done, Err: resp3.ServerError("ERR section (memory) is not supported")}},
	} {
		var unsafe *UnsafeServerError
		if err := Check(t.Context(), s); !errors.As(err, &unsafe) || unsafe.Policy != "" || unsafe.Explain() == "" {
			t.Errorf("%s: %v, want an UnsafeServerError without a policy", name, err)
		}
	}
}

func TestAServerThatCannotBeReachedIsNotCalledUnsafe(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{io.EOF, resp3.ServerError("LOADING wait"), resp3.ServerError("ERR max number of clients reached")} {
		c := &client{server: server{err: &command.Error{Command: "INFO", Phase: "dial", Err: cause}}}
		var unsafe *UnsafeServerError
		if err := Check(t.Context(), c); !errors.Is(err, cause) || errors.As(err, &unsafe) {
			t.Errorf("got %v, want %v", err, cause)
		}
		c.err, c.info = nil, memory(safe)
		if err := Check(t.Context(), c); err != nil {
			t.Errorf("the failure was remembered: %v", err)
		}
	}
}

func TestOnlyTheSafeAnswerIsRemembered(t *testing.T) {
	t.Parallel()
	c := &client{server: server{info: memory("allkeys-lru")}}
	for range 3 {
		if err := Check(t.Context(), c); err == nil {
			t.Error("accepted allkeys-lru")
		}
	}
	if c.asked != 3 {
		t.Errorf("asked %d times, want 3: an operator may mend it any time", c.asked)
	}
	c.info = memory(safe)
	for range 3 {
		if err := Check(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
	if c.asked != 4 {
		t.Errorf("asked %d times, want 4: a safe server is asked once", c.asked)
	}
}
