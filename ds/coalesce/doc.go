// Package coalesce turns many calls for the same thing into one, in a process
// and across processes.
//
//	report, err := coalesce.Do(ctx, client, "report:2026-11", func(ctx context.Context) (Report, error) {
//		return build(ctx) // once, whoever asks, wherever
//	})
//
//	var g coalesce.Group // in this process alone, without a server
//	page, err := coalesce.Local(ctx, &g, url, func(ctx context.Context) (*Page, error) { return fetch(ctx, url) })
//
// Do keeps a result only so long that those who waited find it. For values that
// are kept there is package aside.
//
// # Guarantees
//
// In a process (Local, and the calls of Do that share a Group):
//
//   - One compute at a time for each key, and all who ask meanwhile get its
//     result or its error.
//   - The caller that came first decides nothing for the others: when its
//     context ends it leaves, like any other. The compute's context ends when
//     the last one has left.
//   - A panic or a Goexit of the compute is an error with its stack for every
//     caller. The next call computes anew.
//   - After Group.Forget and Forget have returned, calls that begin then join
//     nothing that began before.
//
// Across processes (Do):
//
//   - A result that is still there costs one round trip: a plain GET.
//   - One compute at a time for each name: who finds no result takes the fill, a
//     lease with a token of its own, and others wait for it, by push where the
//     server can. In each process one caller waits for all.
//   - A filler that dies is followed by exactly one other, at the latest when
//     its fill has lapsed (Lease, 5 s).
//   - After Forget has returned, no result of a compute from before it is
//     returned by a call that begins then, in any process, however long such a
//     compute still runs: the server stores only what comes with the current
//     fill, and a call takes no result that may be older than itself.
//   - A compute that fails stores nothing. Its error goes to those who wait in
//     its process. The processes that wait then compute one after another, each
//     at most once for those who wait there, until one succeeds.
//   - A fill that cannot be renewed in time ends the compute's context before
//     the server lets another process in, and the result is not stored.
//   - Every key has a TTL. Eviction is safe: an evicted result is a miss, an
//     evicted fill is lost like one that lapsed.
//
// # Not guaranteed
//
//   - Exactly one compute. One that is overtaken by Forget, or whose fill is
//     lost, runs to its end if it does not mind its context, beside its
//     successor. Computes should read, not write; for effects there is idem.
//   - Which fn runs. Of callers that meet, one's fn and options count for all.
//   - Failover. A promoted replica may lack a fill that its primary had, or still
//     have what was forgotten.
//   - That waiting processes are served in order.
//   - A compute that asks for its own key. It gets ErrReentrant where its Group
//     can tell, by the context; with another context, or without a Group, it
//     waits for itself until that context ends.
//
// # State
//
// Of a name on the server; a token is used once.
//
//	          take: there is no result
//	┌──────┐ ───────────────────────────▶ ┌─────────────────┐ ──┐ renew
//	│ none │                              │ filling (token) │ ◀─┘
//	└──────┘ ◀─────────────────────────── └─────────────────┘
//	   ▲        release, lapse, forget            │
//	   │                                          │ store: the token is current
//	   │      expires, forget                     ▼
//	   └──────────────────────────────────── ┌────────┐
//	                                         │ result │
//	                                         └────────┘
//
// The keys are {namespace:coalesce:name}:value, the result as plain JSON
// (WithCodec), and {namespace:coalesce:name}:fill, a hash: kind
// ("coalesce.fill/1"), token (who computes: host, process, random bits, counter),
// key, and since (server time in µs).
//
// # Time
//
// TTLs of results and fills are the server's. The local monotonic clock only ends
// a compute early, a margin before its fill can lapse, and decides whether a
// result is older than a call of the same process. Wall clocks play no part.
//
// # Concurrency
//
// All functions and methods may be used by many goroutines. Each compute has
// one goroutine, owned by its Group; Group.Close ends the computes' contexts and
// waits for them. The Group that Do uses hangs on the client, whose Close
// does that. A Doer that is no command.Attacher has none: there, each call
// computes on its caller's goroutine and context, and only the server joins the
// calls. In gives such calls a Group.
package coalesce
