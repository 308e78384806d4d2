package observe

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/redisx/redisx/telemetry"
)

// Set is the observers of one client, sorted by what they listen to. It may be
// used by many goroutines at once.
type Set struct {
	commands []telemetry.CommandObserver
	gates    []telemetry.Gate
	retries  []telemetry.RetryObserver
	conns    []telemetry.ConnObserver
	wires    []telemetry.WireObserver
	pushes   []telemetry.PushObserver
	panics   []telemetry.PanicObserver
	panicked atomic.Int64
}

// New returns the Set of list, nil if list is empty, or an error for an
// observer that listens to nothing.
func New(list []telemetry.Observer) (*Set, error) {
	if len(list) == 0 {
		return nil, nil
	}
	s := &Set{}
	for _, o := range list {
		n := sort(&s.commands, o) + sort(&s.gates, o) + sort(&s.retries, o) + sort(&s.conns, o) +
			sort(&s.wires, o) + sort(&s.pushes, o) + sort(&s.panics, o)
		if n == 0 {
			return nil, fmt.Errorf("observe: %T implements no interface of an observer", o)
		}
	}
	return s, nil
}

// sort adds o to list if it is one of them, and returns to how many it was added.
func sort[T any](list *[]T, o telemetry.Observer) int {
	v, ok := o.(T)
	if !ok {
		return 0
	}
	*list = append(*list, v)
	return 1
}

// Commands reports whether anybody listens to commands, or may refuse them.
func (s *Set) Commands() bool { return s != nil && len(s.commands)+len(s.gates) > 0 }

// Conns reports whether anybody listens to connections.
func (s *Set) Conns() bool { return s != nil && len(s.conns) > 0 }

// Wires reports whether anybody listens to bytes.
func (s *Set) Wires() bool { return s != nil && len(s.wires) > 0 }

// Pushes reports whether anybody listens to push messages.
func (s *Set) Pushes() bool { return s != nil && len(s.pushes) > 0 }

// Panicked returns how often an observer panicked.
func (s *Set) Panicked() int64 {
	if s == nil {
		return 0
	}
	return s.panicked.Load()
}

// Start tells that c starts and returns the context to run it with.
func (s *Set) Start(ctx context.Context, c *telemetry.Command) context.Context {
	for _, o := range s.commands {
		ctx = s.start(ctx, c, o)
	}
	return ctx
}

func (s *Set) start(ctx context.Context, c *telemetry.Command, o telemetry.CommandObserver) (derived context.Context) {
	defer func() {
		if v := recover(); v != nil || derived == nil {
			derived = ctx
			if v != nil {
				s.report(o, "CommandStarted", v)
			}
		}
	}()
	return o.CommandStarted(ctx, c)
}

// Admit asks the gates, and returns the first refusal.
func (s *Set) Admit(ctx context.Context, c *telemetry.Command) error {
	for _, g := range s.gates {
		if err := s.admit(ctx, c, g); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) admit(ctx context.Context, c *telemetry.Command, g telemetry.Gate) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.report(g, "AdmitCommand", v)
			err = fmt.Errorf("observe: %T panicked", g) // what it panicked with may be a secret
		}
	}()
	return g.AdmitCommand(ctx, c)
}

// End tells that c has ended, in the reverse order of Start.
func (s *Set) End(ctx context.Context, c *telemetry.Command) {
	for i := len(s.commands) - 1; i >= 0; i-- {
		o := s.commands[i]
		s.call(o, "CommandEnded", func() { o.CommandEnded(ctx, c) })
	}
}

// Retry tells that a command is sent again.
func (s *Set) Retry(ctx context.Context, r telemetry.Retry) {
	if s == nil {
		return
	}
	for _, o := range s.retries {
		s.call(o, "CommandRetried", func() { o.CommandRetried(ctx, r) })
	}
}

// Conn tells of a change of a connection.
func (s *Set) Conn(c telemetry.Conn) {
	if s == nil {
		return
	}
	for _, o := range s.conns {
		s.call(o, "ConnChanged", func() { o.ConnChanged(c) })
	}
}

// Wire tells of bytes.
func (s *Set) Wire(w telemetry.Wire) {
	for _, o := range s.wires {
		s.call(o, "WireMoved", func() { o.WireMoved(w) })
	}
}

// Push tells of a push message.
func (s *Set) Push(p telemetry.Push) {
	for _, o := range s.pushes {
		s.call(o, "PushReceived", func() { o.PushReceived(p) })
	}
}

func (s *Set) call(o telemetry.Observer, event string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			s.report(o, event, v)
		}
	}()
	f()
}

// report counts a panic and tells of it.
func (s *Set) report(o telemetry.Observer, event string, v any) {
	s.panicked.Add(1)
	p := telemetry.Panic{Observer: fmt.Sprintf("%T", o), Event: event, Value: v}
	for _, o := range s.panics {
		func() {
			defer func() {
				if recover() != nil {
					s.panicked.Add(1)
				}
			}()
			o.ObserverPanicked(p)
		}()
	}
}
