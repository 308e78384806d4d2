// Package coalesce turns many calls for the same thing into one, in a process
// and across processes.
//
//	u, err := coalesce.Fill(ctx, client, "user:42", time.Minute, func(ctx context.Context) (User, error) {
//		return db.User(ctx, 42) // once, whoever asks, wherever
//	})
//
//	err = coalesce.Invalidate(ctx, client, "user:42") // after the user has changed
//
//	var g coalesce.Group // in this process alone, without a server
//	page, err := coalesce.Local(ctx, &g, url, func(ctx context.Context) (*Page, error) { return fetch(ctx, url) })
//
// Do is Fill for what is no cache: it keeps the result only so long that those
// who waited find it.
//
// # Guarantees
//
// In a process (Local, and the calls of Fill and Do that share a Group):
//
//   - One compute at a time for each key, and all who ask meanwhile get its
//     result or its error.
//   - The caller that came first decides nothing for the others: when its
//     context ends it leaves, like any other. The compute's context ends when
//     the last one has left.
//   - A panic or a Goexit of the compute is an error with its stack for every
//     caller. The next call computes anew.
//   - After Group.Forget, Invalidate and Forget have returned, calls that begin
//     then join nothing that began before.
//
// Across processes (Fill, Do):
//
//   - A hit costs one round trip: a plain GET.
//   - One compute at a time for each key: who finds no value takes the fill, a
//     lease with a token of its own, and others wait for it, by push where the
//     server can. In each process one caller waits for all.
//   - A filler that dies is followed by exactly one other, at the latest when
//     its fill has lapsed (Lease, 5 s).
//   - After Invalidate has returned, no value that a compute made from before
//     it is readable under the key, nor returned by a call that begins then, in
//     any process, however long such a compute still runs: the server stores
//     only what comes with the current fill, and a call takes no result that may
//     be older than itself.
//   - A compute that fails stores nothing. Its error goes to those who wait in
//     its process. The processes that wait then compute one after another, each
//     at most once for those who wait there, until one succeeds.
//   - A fill that cannot be renewed in time ends the compute's context before
//     the server lets another process in, and the result is not stored.
//   - The value key is the one you gave and holds plain JSON (WithCodec). Any
//     client can read it. Every key has a TTL.
//   - A value that another program sets while a compute runs stays; the caller
//     gets that one.
//   - Eviction is safe: an evicted value is a miss, an evicted fill is lost like
//     one that lapsed.
//
// # Not guaranteed
//
//   - Exactly one compute. One that is overtaken by Invalidate, or whose fill is
//     lost, runs to its end if it does not mind its context, beside its
//     successor. Computes should read, not write; for effects there is idem.
//   - Invalidation by plain DEL. It drops the value, but a compute in progress
//     can still store what it read before. A plain SET during a compute wins
//     over it, unless that value has gone again before the compute ends.
//   - Freshness beyond the source: a compute that reads a lagging replica stores
//     what the replica has.
//   - Which fn runs. Of callers that meet, one's fn and ttl count for all.
//   - Failover. A promoted replica may lack an invalidation or a fill that its
//     primary had.
//   - That waiting processes are served in order.
//   - A compute that asks for its own key. It gets ErrReentrant where its Group
//     can tell, by the context; with another context, or without a Group, it
//     waits for itself until that context ends.
//
// # State
//
// Of a key on the server; a token is used once.
//
//	          take: there is no value
//	┌──────┐ ───────────────────────────▶ ┌─────────────────┐ ──┐ renew
//	│ none │                              │ filling (token) │ ◀─┘
//	└──────┘ ◀─────────────────────────── └─────────────────┘
//	   ▲        release, lapse, invalidate        │
//	   │                                          │ store: the token is current
//	   │      expires, invalidate                 ▼
//	   └──────────────────────────────────── ┌───────┐
//	                                         │ value │
//	                                         └───────┘
//
// The fill of the value key user:42 is the hash {user:42}:redisx:fill:user:42,
// in the same hash slot: with the tag of the key if it has one, else with the key
// itself as the tag; and for keys with a } but without a tag ("a}b", "x{}y"), or
// none at all, with a number of the same slot. Its fields are kind
// ("coalesce.fill/1"), token (who fills: host, process, random bits, counter),
// key, and since (server time in µs).
// Do keeps {namespace:coalesce:name}:value and {namespace:coalesce:name}:fill.
//
// # Time
//
// TTLs of values and fills are the server's. The local monotonic clock only ends
// a compute early, a margin before its fill can lapse, and decides whether a
// result is older than a call of the same process. Wall clocks play no part.
//
// # Concurrency
//
// All functions and methods may be used by many goroutines. Each compute has
// one goroutine, owned by its Group; Group.Close ends the computes' contexts and
// waits for them. The Group that Fill and Do use hangs on the client, whose Close
// does that. A Doer that is no command.Attacher has none: there, each call
// computes on its caller's goroutine and context, and only the server joins the
// calls. In gives such calls a Group.
package coalesce
