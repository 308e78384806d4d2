// Package telemetry holds the events that a client tells of, and the
// interfaces of those who listen.
//
// An Observer implements one or more of the interfaces below and is given to
// the client in Config.Observers. What an observer implements is found out
// once, when the client connects; an event that nobody listens to costs a
// comparison with nil.
//
//	type slow struct{}
//
//	func (slow) CommandStarted(ctx context.Context, c *telemetry.Command) context.Context { return ctx }
//
//	func (slow) CommandEnded(ctx context.Context, c *telemetry.Command) {
//		if c.Duration > 50*time.Millisecond {
//			slog.WarnContext(ctx, "slow command", "command", c.Name, "took", c.Duration, "outcome", c.Outcome)
//		}
//	}
//
// # Who calls, and when
//
//	interface        is told of                            called by
//	Gate             a command, before it is sent          the caller's goroutine; may refuse it
//	CommandObserver  a command, its start and its end      the caller's goroutine
//	RetryObserver    a command that is sent again          the caller's goroutine
//	ConnObserver     a connection, when its state changes  a goroutine that the client's Close waits for
//	WireObserver     bytes that were written or have come  whoever reads or writes the connection
//	PushObserver     a push message that has come          whoever reads the connection
//	PanicObserver    an observer that panicked             the goroutine that it panicked on
//
// Observers are called in the order of Config.Observers; CommandEnded in
// reverse order, so that they nest. All of them may be called by many
// goroutines at once. A WireObserver or PushObserver that blocks stops every
// caller of the connection, and one that runs a command on the same client
// waits for itself. A ConnObserver must not call the client's Close.
//
// # What an observer sees
//
// Every command that a caller gives to a client is seen once, whatever becomes
// of it: refused by a Gate, cancelled, sent three times. A batch, such as a
// pipeline or a transaction, is one Command with an Item for each command in
// it. What the client says by itself (handshakes, pings, the tracking of keys)
// is no Command; it is counted in the statistics and on the wire.
//
// Arguments are not part of any event but Wire, which shows the bytes that
// travel. Wire shows only the size of what may hold a secret: handshakes and
// their answers, commands with credentials, administrative commands, and
// commands that the client's table lacks. Keys are handed out when asked for;
// they are data of users and belong in no label and no log. Errors of the
// server may quote arguments: labels should take Outcome, or the error's code.
//
// # Names for metrics
//
// Command.Name, Command.Outcome, Conn.Role, Conn.State, Push.Kind and
// Retry.Outcome are bounded sets of short words, fit for labels, with two
// exceptions: Command.Name is whatever a caller gave to Client.Cmd, and
// Push.Kind is the server's word, of at most 64 bytes.
//
// # Not promised
//
// Reads through a client's cache (redisx.Cached) are no Command, whether they
// were answered from memory or fetched; CacheStats counts them. Observers are
// not told of commands on other clients of the same process. An
// event of a connection may come after an event of its successor. A process
// that ends without Close tells of no end. The order of Wire events of the two
// directions of a connection is not the order on the wire.
package telemetry
