package telemetry

import "context"

// Observer is one who listens: it implements at least one of Gate,
// CommandObserver, RetryObserver, ConnObserver, WireObserver, PushObserver and
// PanicObserver. A client refuses to connect with an observer that implements
// none of them.
type Observer any

// CommandObserver is told of every command once, when it starts and when it has
// ended.
type CommandObserver interface {
	// CommandStarted returns the context that the command is run with: ctx, or
	// one derived from it, which CommandEnded is then called with.
	CommandStarted(ctx context.Context, c *Command) context.Context
	CommandEnded(ctx context.Context, c *Command)
}

// Gate is asked before a command is sent: a circuit breaker, a quota, a check
// of keys. An error refuses the command, which then fails as not sent with that
// error as its cause; of a batch, all of it. A Gate that panics refuses too.
type Gate interface {
	AdmitCommand(ctx context.Context, c *Command) error
}

// RetryObserver is told of every attempt beyond the first.
type RetryObserver interface {
	CommandRetried(ctx context.Context, r Retry)
}

// ConnObserver is told when the state of a connection changes.
type ConnObserver interface {
	ConnChanged(c Conn)
}

// WireObserver is shown the bytes of all connections. It must not block, nor
// use the client.
type WireObserver interface {
	WireMoved(w Wire)
}

// PushObserver is told of every push message. It must not block, nor use the
// client.
type PushObserver interface {
	PushReceived(p Push)
}

// PanicObserver is told when an observer panicked.
type PanicObserver interface {
	ObserverPanicked(p Panic)
}
