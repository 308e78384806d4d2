package dstest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

var roles = Roles{"writer": func(url string) int {
	c, err := redisx.Connect(context.Background(), url)
	if err != nil {
		return 1
	}
	if _, err := c.Cmd(context.Background(), "SET", "wrote", "it"); err != nil {
		return 1
	}
	select {} // until it is killed
}}

func TestMain(m *testing.M) {
	Play(roles)
	goleak.VerifyTestMain(m)
}

func TestAProcessPlaysItsRoleUntilItIsKilled(t *testing.T) {
	s := serverstest.Start(t)
	c := Connect(t, s)
	p := Process(t, "writer", s.URL())
	Eventually(t, 10*time.Second, "the process has written", func() bool { return !Cmd(t, c, "GET", "wrote").IsNull() })
	Kill(p)
	if p.ProcessState == nil || p.ProcessState.Success() {
		t.Errorf("killed, it ended with %v", p.ProcessState)
	}
	Kill(p)
}

func TestALostAnswerIsOfACommandThatHasRun(t *testing.T) {
	c := Start(t)
	script := command.NewScript("return redis.call('INCR', KEYS[1])")
	lost := 0
	l := &Lossy{Client: c, Lose: func(r command.Request) bool {
		if !Runs(r, script) {
			return false
		}
		lost++
		return lost == 1
	}}
	_, err := command.RunScript(t.Context(), l, script, command.AsInt, []string{"n"})
	var e *command.Error
	if !errors.As(err, &e) || e.Outcome != command.Maybe || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the lost answer is %v", err)
	}
	if n, err := command.RunScript(t.Context(), l, script, command.AsInt, []string{"n"}); n != 2 || err != nil {
		t.Errorf("the second run returned %d, %v", n, err)
	}
	if n := Int(t, c, "GET", "n"); n != 2 {
		t.Errorf("n is %d", n)
	}
}

func TestALostRequestIsOfACommandThatHasNotRun(t *testing.T) {
	l := &Lossy{Client: Start(t), Drop: func(r command.Request) bool { return r.Name() == "INCR" }}
	_, err := redisx.Do(t.Context(), l, command.Incr("n"))
	var e *command.Error
	if !errors.As(err, &e) || e.Outcome != command.Maybe || !Cmd(t, l.Client, "GET", "n").IsNull() {
		t.Errorf("the lost request: %v", err)
	}
	l.Change(func() { l.Drop = nil })
	if n, err := redisx.Do(t.Context(), l, command.Incr("n")); n != 1 || err != nil {
		t.Errorf("after that: %d, %v", n, err)
	}
}
