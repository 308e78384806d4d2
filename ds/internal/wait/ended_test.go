package wait

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

func TestEndedHasTheErrorOfAContextAndItsCause(t *testing.T) {
	if err := Ended(t.Context()); err != nil {
		t.Errorf("a context that lasts: %v", err)
	}
	plain, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Ended(plain); err != context.Canceled {
		t.Errorf("a plain end: %v", err)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if err := Ended(late); err != context.DeadlineExceeded {
		t.Errorf("a deadline: %v", err)
	}
	why := errors.New("enough")
	caused, end := context.WithCancelCause(t.Context())
	end(why)
	if err := Ended(caused); !errors.Is(err, why) || !errors.Is(err, context.Canceled) {
		t.Errorf("with a cause: %v", err)
	}
}

func TestWhatPassesIsNotFinal(t *testing.T) {
	said := func(phase, text string) error {
		return fmt.Errorf("over: %w", &command.Error{Phase: phase, Err: resp3.ServerError(text)})
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{said("reply", "WRONGTYPE no"), true},
		{said("reply", "NOPERM no"), true},
		{said("reply", "ERR unknown command"), true},
		{resp3.ServerError("WRONGTYPE no"), true}, // of a Doer with errors of its own
		{resp3.ServerError("LOADING"), false},
		{said("reply", "LOADING"), false},
		{said("reply", "BUSY a script"), false},
		{said("reply", "OOM"), false},
		{said("reply", "READONLY a replica"), false},
		{said("reply", "MOVED 1 host:1"), false},
		{said("dial", "ERR max number of clients reached"), false},
		{said("dial", "WRONGPASS"), false},
		{&command.Error{Phase: "build", Err: errors.New("too long")}, true},
		{&command.Error{Phase: "decode", Err: errors.New("an array")}, true},
		{&resp3.TypeError{Want: "a string", Got: resp3.Array}, true},
		{&command.Error{Phase: "read", Err: errors.New("cut")}, false},
		{errors.New("anything"), false},
		{context.Canceled, false},
	} {
		if got := Final(tt.err); got != tt.want {
			t.Errorf("Final(%v) is %v", tt.err, got)
		}
	}
}
