package tracking

import (
	"context"
	"errors"
	"testing"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/pool"
	"github.com/redisx/redisx/resp3"
)

func TestTrackTellsOfWhateverChangesAfterItsRead(t *testing.T) {
	h, n := setup(t)
	for _, tt := range []struct {
		name   string
		before func()
		read   command.Sendable
		code   string // of the error
		change func()
	}{
		{"a value", func() { run(t, n, "SET", "k", "1") }, command.Get("k"), "", func() { run(t, n, "SET", "k", "2") }},
		{"an absent key", func() {}, command.Get("k"), "", func() { run(t, n, "SET", "k", "2") }},
		{"a key of another type", func() { run(t, n, "RPUSH", "k", "x") }, command.Get("k"), "WRONGTYPE", func() { run(t, n, "DEL", "k") }},
		{"an absent stream", func() {}, command.XInfoStream("k"), "ERR", func() { run(t, n, "XADD", "k", "*", "f", "v") }},
		{"a life", func() { run(t, n, "SET", "k", "1") }, command.Get("k"), "", func() { run(t, n, "PEXPIRE", "k", "100000") }},
		{"the end of a life", func() { run(t, n, "SET", "k", "1", "PX", "50000") }, command.Get("k"), "", func() { run(t, n, "PERSIST", "k") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, n, "DEL", "k")
			tt.before()
			r := tt.read.Request()
			reply, w, err := h.Track(bg, &r)
			var said resp3.ServerError
			if tt.code == "" && err != nil || tt.code != "" && (!errors.As(err, &said) || said.Code() != tt.code) {
				t.Fatalf("error %v, want %q", err, tt.code)
			}
			reply.Release()
			asleep(t, w, "nothing")
			tt.change()
			wake(t, w, tt.name)
			w.Stop()
		})
	}
	if got := h.Watches(); got != 0 {
		t.Errorf("%d watches are left", got)
	}
}

func TestOnlyAReadWithOneKeyIsTracked(t *testing.T) {
	h, _ := setup(t)
	for _, c := range []command.Sendable{
		command.Set("k", "v"), command.Exists("a", "b"), command.Ping(),
		command.Exists(), // cannot be built
	} {
		r := c.Request()
		_, w, err := h.Track(bg, &r)
		var e *command.Error
		if w != nil || !errors.As(err, &e) || e.Phase != "build" || e.Outcome != command.NotSent {
			t.Errorf("%s: watch %v, error %v", r.Name(), w, err)
		}
	}
}

func TestTrackObeysItsContextAndClose(t *testing.T) {
	h, n := setup(t)
	ended, cancel := context.WithCancel(bg)
	cancel()
	r := command.Get("k").Request()
	if _, w, err := h.Track(ended, &r); w != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("watch %v, error %v", w, err)
	}
	_, w, err := h.Track(bg, &r)
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	wake(t, w, "Close")
	if _, w, err := h.Track(bg, &r); w != nil || !errors.Is(err, pool.ErrClosed) {
		t.Errorf("after Close: watch %v, error %v", w, err)
	}
	if got := h.Watches(); got != 0 {
		t.Errorf("%d watches are left", got)
	}
}
