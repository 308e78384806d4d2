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
// # Commands are values
//
// Every method of [Commands] is short for a value of package command, and the
// same value runs anywhere:
//
//	v, err := redisx.Do(ctx, client, command.Get("foo"))
//	p := client.Pipeline()
//	n := redisx.Queue(p, command.Incr("n"))
//	err = p.Exec(ctx)
//	fmt.Println(n.Result())
//
// What the table lacks is sent with [Client.Cmd].
//
// # Errors
//
// Every error of a command is a *[Error] that says which command, on which
// node, how far it got, and whether the server may have run it
// ([Error.Outcome], [SafeToRetry]). It holds no argument and no secret.
// errors.Is finds context.Canceled and context.DeadlineExceeded, errors.As
// finds a [ServerError].
//
// # Guarantees
//
//   - Nothing is sent twice behind the caller's back. A command that found its
//     connection dead before a byte of it was written goes to the next one.
//   - Every call ends with its context. Without a deadline a command ends after
//     Config.Timeout (5 s).
//   - A command in flight when its context ends may still be run by the server;
//     its error says so.
//   - All commands of all goroutines share one connection, bounded in commands
//     and bytes in flight; commands that block get private ones.
//
// # Not promised
//
// One server or one address is one node: Sentinel, Cluster, TLS and WebSocket
// are not there yet. A server that leaves out a reply while it keeps answering
// cannot be detected, as the protocol carries no request ids.
//
// # Concurrency
//
// A Client may be used by any number of goroutines; a Pipeline and a Session by
// one at a time. Close a Client when done with it.
package redisx
