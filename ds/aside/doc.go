// Package aside is cache-aside: a value is looked for in memory, then on the
// server, and else computed, once for all processes.
//
//	users := aside.New(client, time.Minute, func(ctx context.Context, key string) (User, error) {
//		return db.User(ctx, strings.TrimPrefix(key, "user:")) // once, whoever asks, wherever
//	}, aside.Stale(10*time.Second), aside.Memory(64<<20))
//
//	u, err := users.Get(ctx, "user:42")
//	err = users.Invalidate(ctx, "user:42") // after the user has changed
//
// GetOrCompute is the same with a function for each call. Package coalesce
// joins calls without keeping what they return; redisx.Cached keeps the replies of
// single commands.
//
// # Guarantees
//
// Of computes:
//
//   - A value on the server costs one round trip, tags included; one in memory
//     costs none, and allocates nothing.
//   - One compute at a time for each key, in all processes: who finds no value
//     takes the fill, a lease with a token of its own, and others wait for it, by
//     push where the server can. In each process one caller waits for all.
//   - A filler that dies is followed by exactly one other, at the latest when
//     its fill has lapsed (Lease, 5 s).
//   - Who is served is not kept waiting: a value that is about to end (Early), or
//     has ended lately (Stale), is served, while one process computes the next.
//     Where a compute takes at most a fifth of the ttl and the key is asked for
//     often enough, nobody ever waits for it after the first.
//   - The caller that came first decides nothing for the others: when its
//     context ends it leaves, like any other. The compute's context ends when
//     the last one has left. A refresh counts as one, until its value has ended.
//   - A panic or a Goexit of the compute is a *coalesce.PanicError with its
//     stack for every caller. The next call computes anew.
//   - A compute that fails stores nothing. Its error goes to those who wait in
//     its process. The processes that wait then compute one after another, each
//     at most once for those who wait there, until one succeeds. Where there is
//     a value that may still be served (Early, Stale, StaleIfError), it is, and
//     nobody, anywhere, tries again for a second.
//   - Without the server (lost, full, loading) each process computes for itself,
//     once for all who ask meanwhile, and 32 such computes of a client at a time;
//     others wait for a place. Strict makes that an error.
//
// Of invalidations:
//
//   - After Invalidate has returned, no value that a compute made from before it
//     is readable under the key, nor returned to a call that begins then, in any
//     process, however long such a compute still runs: the server stores only
//     what comes with the current fill, and a call takes no result that may be
//     older than itself.
//   - After InvalidateTag has returned, the same holds for what calls of this
//     package return, for all values with that tag.
//   - Both exclude what other processes have in Memory: that is dropped when the
//     server's push has come. Memory of the client that invalidates is dropped
//     before the call returns. So Memory is a choice, not the default.
//   - Eviction is safe: an evicted value is a miss, an evicted fill is lost like
//     one that lapsed, and without its tag's generation a value does not count.
//
// Of keys:
//
//   - The value key is the one you gave and holds plain JSON (WithCodec). Any
//     client can read it. Where there is known to be nothing it is absent. Every
//     key has a TTL.
//   - A value that another program sets is served, also when it does so while a
//     compute runs. With tags it does not count, since nobody knows whether it is
//     older than an invalidation.
//   - nil is a value like any other. That there is none is ErrNotFound.
//
// # Not guaranteed
//
//   - Exactly one compute. One that is overtaken by an invalidation, or whose
//     fill is lost, runs to its end if it does not mind its context, beside its
//     successor. Computes should read, not write; for effects there is idem.
//   - Invalidation by plain DEL. It drops the value, but a compute in progress
//     can still store what it read before. A plain SET during a compute wins
//     over it, unless that value has gone again before the compute ends.
//   - Invalidation without the server: its error says whether it may have
//     happened.
//   - That other programs which read the value key notice tags, or that a value
//     is stale.
//   - Freshness beyond the source: a compute that reads a lagging replica stores
//     what the replica has.
//   - Which fn runs. Of callers that meet, one's fn, ttl and options count for
//     all.
//   - Failover. A promoted replica may lack an invalidation or a fill that its
//     primary had.
//   - That waiting processes are served in order.
//   - A compute that asks for its own key. It gets coalesce.ErrReentrant where
//     that can be told, by the context; with another context it waits for itself
//     until that context ends.
//   - That a server which is frozen, not gone, is noticed at once: a call waits
//     for it as long as the client's timeouts say.
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
//	   │                                          ▼
//	   │ invalidate   ┌───────┐  ttl ends   ┌───────────┐
//	   ├───────────── │ stale │ ◀────────── │   fresh   │  or absent (Negative)
//	   │ goes         └───────┘             └───────────┘
//	   │                  │    refresh: take    │  ▲
//	   │                  └─────────┬───────────┘  │ store
//	   │  goes, invalidate          ▼              │
//	   └──────────────── stale or fresh, and filling
//
// Beside the value key user:42 lie, in the same hash slot, two hashes:
//
//	{user:42}:redisx:aside:user:42   what is known of the value: kind ("aside"), v, key, version, expires, stored,
//	                                 fresh, took, quiet, tags, absent, computes, spent; ends with the value
//	{user:42}:redisx:fill:user:42    who computes it: kind ("coalesce.fill/1"), token, key, since
//
// The braces are the tag of the key if it has one, else the key itself; for keys
// with a } but without a tag ("a}b", "x{}y"), or none at all, a number of the
// same slot. A tag has a key of its own, {namespace:aside:name}:tag, with a
// generation that each value with the tag carries; InvalidateTag deletes it. It
// lives while a value with it is computed, and twice as long as what carries it
// may.
//
// # Time
//
// TTLs and leases are the server's, and so is the rest of a value's life, by
// which refreshes are drawn. The local monotonic clock measures computes, ends
// one early, a margin before its fill can lapse, ends what is in memory, counted
// from before it was read, and decides whether a result is older than a call of
// the same process. Wall clocks play no part.
//
// # Bounds
//
// Of a client: 65 536 callers that wait, and as many computes; 1024 refreshes;
// 32 computes without the server; Memory's bytes and 65 536 values, or less with
// tags (80 000 watches); figures of 8192 keys. Of a value: 16 tags. What happens
// there: a *coalesce.OverloadError; no refresh; waiting; the least read go; only the
// figures of the client; an *OptionError.
//
// # Concurrency
//
// All functions and methods may be used by many goroutines. Each compute has
// one goroutine, and each refresh another that waits for it; the client's Close
// ends their contexts and waits for them. A Doer that is no command.Attacher can
// keep nothing: there, a call waits for its own compute even when its context has
// ended, nothing is refreshed in the background or kept in memory, and only the
// server joins the calls.
package aside
