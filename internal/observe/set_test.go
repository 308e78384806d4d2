package observe

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

type key string

// recorder is a well-behaved observer.
type recorder struct {
	name   string
	log    *[]string
	panics *[]telemetry.Panic
}

func (r recorder) CommandStarted(ctx context.Context, _ *telemetry.Command) context.Context {
	*r.log = append(*r.log, "start "+r.name)
	return context.WithValue(ctx, key(r.name), true)
}

func (r recorder) CommandEnded(ctx context.Context, _ *telemetry.Command) {
	if ctx.Value(key(r.name)) == nil {
		*r.log = append(*r.log, "lost its context")
	}
	*r.log = append(*r.log, "end "+r.name)
}

func (r recorder) ObserverPanicked(p telemetry.Panic) { *r.panics = append(*r.panics, p) }

// bomb panics whatever it is told.
type bomb struct{}

func (bomb) CommandStarted(context.Context, *telemetry.Command) context.Context { panic("start") }
func (bomb) CommandEnded(context.Context, *telemetry.Command)                   { panic("end") }
func (bomb) AdmitCommand(context.Context, *telemetry.Command) error             { panic("secret") }
func (bomb) CommandRetried(context.Context, telemetry.Retry)                    { panic("retry") }
func (bomb) ConnChanged(telemetry.Conn)                                         { panic("conn") }
func (bomb) WireMoved(telemetry.Wire)                                           { panic("wire") }
func (bomb) PushReceived(telemetry.Push)                                        { panic("push") }
func (bomb) ObserverPanicked(telemetry.Panic)                                   { panic("panic") }

type forgetful struct{}

func (forgetful) CommandStarted(context.Context, *telemetry.Command) context.Context { return nil }
func (forgetful) CommandEnded(context.Context, *telemetry.Command)                   {}

func TestObserversNest(t *testing.T) {
	var log []string
	s, err := New([]telemetry.Observer{recorder{"a", &log, nil}, forgetful{}, recorder{"b", &log, nil}})
	if err != nil {
		t.Fatal(err)
	}
	var c telemetry.Command
	s.End(s.Start(bg, &c), &c)
	want := []string{"start a", "start b", "end b", "end a"}
	if len(log) != len(want) {
		t.Fatalf("%v, want %v", log, want)
	}
	for i := range want {
		if log[i] != want[i] {
			t.Errorf("%v, want %v", log, want)
		}
	}
}

func TestAnObserverThatPanicsHarmsNobody(t *testing.T) {
	var log []string
	var panics []telemetry.Panic
	s, err := New([]telemetry.Observer{bomb{}, recorder{"a", &log, &panics}})
	if err != nil {
		t.Fatal(err)
	}
	var c telemetry.Command
	ctx := s.Start(bg, &c)
	if err := s.Admit(ctx, &c); err == nil {
		t.Error("a gate that panics let a command in")
	} else if err.Error() != "observe: observe.bomb panicked" {
		t.Errorf("%q, want no word of what it panicked with", err)
	}
	s.End(ctx, &c)
	s.Retry(bg, telemetry.Retry{})
	s.Conn(telemetry.Conn{})
	s.Wire(telemetry.Wire{})
	s.Push(telemetry.Push{})
	const events = 7
	if len(log) != 2 || len(panics) != events || s.Panicked() != 2*events {
		t.Errorf("%v; told of %d panics, counted %d, want %d and twice as many", log, len(panics), s.Panicked(), events)
	}
	if p := panics[0]; p.Observer != "observe.bomb" || p.Event != "CommandStarted" || p.Value != "start" {
		t.Errorf("%+v", p)
	}
}

type gate struct{ err error }

func (g gate) AdmitCommand(context.Context, *telemetry.Command) error { return g.err }

func TestTheFirstGateThatRefusesDecides(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	s, _ := New([]telemetry.Observer{gate{}, gate{first}, gate{second}})
	if err := s.Admit(bg, &telemetry.Command{}); err != first || !s.Commands() {
		t.Errorf("%v", err)
	}
}

func TestWhatListensToNothingIsRefused(t *testing.T) {
	for _, o := range []telemetry.Observer{nil, 1, struct{}{}} {
		if _, err := New([]telemetry.Observer{o}); err == nil {
			t.Errorf("%T was taken for an observer", o)
		}
	}
}

func TestNobodyIsAsked(t *testing.T) {
	s, err := New(nil)
	if s != nil || err != nil || s.Commands() || s.Conns() || s.Wires() || s.Pushes() || s.Panicked() != 0 {
		t.Error("a Set without observers listens to something")
	}
	s.Retry(bg, telemetry.Retry{})
	s.Conn(telemetry.Conn{})
	quiet, _ := New([]telemetry.Observer{gate{}})
	if quiet.Conns() || quiet.Wires() || quiet.Pushes() {
		t.Error("a gate listens to more than commands")
	}
}
