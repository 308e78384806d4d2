// Package redisx is a client of Redis and Valkey, and the ground on which the
// distributed primitives of ds/… and intent stand.
//
//	client, err := redisx.Connect(ctx, "redis://127.0.0.1:6379")
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//
//	err = client.Set(ctx, "foo", "bar", redisx.EX(time.Minute), redisx.NX)
//	v, err := client.Get(ctx, "foo") // redisx.Nil when absent
//
// The guides in docs/guides go through all of it with programs that run as they
// stand.
//
// # Commands are values
//
// Every method of [Commands] is short for a value of package command, and the
// same value runs anywhere: on a [Client], in a [Session], a [Pipeline], a [Tx],
// through [Cached].
//
//	v, err := redisx.Do(ctx, client, command.Get("foo"))
//
// What the table lacks is sent with [Client.Cmd]; arguments are never split or
// formatted. Hashes become structs ([HGetAllAs]) and structs hashes
// (command.Fields). Scripts and functions are values too:
//
//	n, err := redisx.Run(ctx, client, script, command.AsInt, []string{"key"}, 5)
//
// # Many keys, big values
//
//	for key, err := range client.ScanAll(ctx, redisx.MATCH("user:*"), redisx.COUNT(1000)) { … }
//	n, err := client.CopyTo(ctx, file, command.Get("video:42")) // in pieces, to any io.Writer
//	buf, err = client.GetInto(ctx, "foo", buf[:0])              // no allocation
//
// # Pipelines, transactions, sessions
//
//	p := client.Pipeline()
//	n := p.Incr("n")
//	user := redisx.Queue(p, command.HGetAll("user:1")) // any command value
//	err := p.Exec(ctx)                                 // one round trip; not atomic
//	fmt.Println(n.Result())                            // each has its own outcome
//
//	tx := client.Tx()
//	n := tx.Incr("n")
//	err := tx.Exec(ctx) // MULTI … EXEC in one go
//	fmt.Println(n.Result())
//
// [Tx.Exec] tells apart what ran, what did not, and what nobody knows.
// [Client.WatchTx] is the optimistic loop, bounded in attempts. What binds a
// connection (SELECT, WATCH) runs inside [Client.WithSession]. A blocking
// command whose context ends returns at once and is ended on the server; what
// the server popped before it knew is lost, and counted ([Stats.Lost]).
//
// # Pub/Sub
//
//	sub, err := client.Subscribe(ctx, redisx.Channels("orders"), redisx.Patterns("news.*"))
//	defer sub.Close()
//	for m, err := range sub.Messages(ctx) {
//		…
//	}
//
// A [Subscription] survives lost connections. Its buffer is bounded, and
// wherever messages may be missing the stream holds a [Gap].
//
// # Cache
//
//	user, err := redisx.Cached(ctx, client, command.HGetAll("user:1"), time.Minute)
//
// [Cached] answers reads from memory until the server tells of a change by push,
// this client writes to the key, the key ends, or the reply is older than the
// caller accepts. It is bounded in bytes; see [CacheConfig] and
// [Client.CacheStats].
//
// # Errors
//
// Every error of a command is a *[Error] that says which command, on which
// node, how far it got, and whether the server may have run it
// ([Error.Outcome], [SafeToRetry]). No argument and no secret is put into it; a
// server's own text may quote what it is about. errors.Is finds context.Canceled
// and context.DeadlineExceeded, errors.As finds a [ServerError]. Only [Nil], the
// answer "nothing there", comes as it is.
//
// Nothing is sent twice in silence. Reads whose answer was lost, and commands
// that the server refused for a while (LOADING) or never had whole, are sent
// again within the caller's context and a budget of a tenth of the traffic
// ([RetryConfig], [Repeatable]); a write that may have run is not, nor anything
// after a deadline. [Error.Attempts], [Stats] and observers tell of it.
//
// # Seeing it
//
// [Config.Observers] listen to commands, connections, retries, pushes or the
// wire, or refuse commands (package telemetry); [Config.Logger] takes a
// slog.Logger; [Client.Stats] and [Client.State] are snapshots.
//
// # Guarantees
//
//   - Nothing is sent twice behind the caller's back. A command that found its
//     connection dead before a byte of it was written goes to the next one.
//   - Every call ends with its context. Without a deadline each attempt ends after
//     Config.Timeout (5 s).
//   - A command in flight when its context ends may still be run by the server;
//     its error says so.
//   - All commands of all goroutines share one connection, bounded in commands
//     and bytes in flight. Commands that block get private ones, bounded in
//     number. The cache, the buffers of subscriptions and what is accepted from
//     the server are bounded as well; see Config.
//   - Whoever reads the shared connection runs no code of users, but for a
//     telemetry.WireObserver or PushObserver.
//
// # Not promised
//
//   - One server or one address is one node: Sentinel, Cluster and reads from
//     replicas are not there yet.
//   - A server that leaves out a reply while it keeps answering cannot be
//     detected, as the protocol carries no request ids.
//   - What primary and replicas lose in a failover is lost here too.
//
// # Concurrency
//
// A Client and a Subscription may be used by any number of goroutines; a
// Pipeline, a Tx and a Session by one at a time. Close a Client when done with
// it.
package redisx
