// Package limiter admits so many calls in so much time, for all processes that
// share a server.
//
//	users := limiter.New(client, "100/m", limiter.Burst(20))
//	d, err := users.Allow(ctx, "user:42")
//	if err != nil {
//		return err // the server could not be asked; you decide, or OnError does
//	}
//	if err := d.Err(); err != nil {
//		return err // limiter: user:42 limited to 100/1m0s burst 20: fits in 412ms
//	}
//
// # What there is
//
//	Limiter.Allow, AllowN, Peek   decide now: one round trip, which concurrent callers share
//	Limiter.Wait, WaitN           take the next slot and wait for it: one round trip, nobody polls
//	Limiter.Reserve               take calls out until it is known what they come to; Settle, Cancel
//	Limiter.Stock                 take chunks and decide in this process, millions of times a second
//	NewGroup                      several rules at once, all or nothing: a user's, a tenant's, everybody's
//	Using                         GCRA, TokenBucket, FixedWindow, SlidingWindow
//	OnError, Shadow               what happens without the server; what a rule would do
//	Middleware, SetHeaders        net/http: RateLimit, RateLimit-Policy, Retry-After, 429
//	Inspect, Group.Inspect        how a key stands, and why it is refused
//
// # How much is admitted
//
//	algorithm      at most, in any window of length T      state of a key in use
//	GCRA           burst + T·count/per                     one string, about 60 bytes
//	TokenBucket    burst + count·(T/per + 1)               one string, about 60 bytes
//	FixedWindow    count a window by the calendar,         one string, about 60 bytes
//	               2·count in any other of its length
//	SlidingWindow  count, for T = per                      one hash, an entry a call: 1001 at most, some 60 kB
//
// "100/m" by GCRA, the default, with a burst of 20 admits 120 in a first minute
// and 100 in each one after it. Without a burst that is as much as a period
// brings, so up to 200 in a first minute. For "never more than 100 in any
// minute" use a SlidingWindow, or a rate and a burst that add up to 100.
//
// A SlidingWindow with a count above 1000 keeps calls within a 1000th of the
// period together: they leave with the last of them, so up to 0.1 % less is
// admitted than the count, never more. Slots that are waited for come on top of
// the 1001 entries: as many as MaxWait brings.
//
// # Guarantees
//
//   - The bounds above hold exactly, to the microsecond, for any number of
//     processes, on one server: the arithmetic is in whole numbers and never
//     rounds towards admitting more. Calls that Wait lets through count at their
//     slot, reservations for as long as they are open and then as what was used.
//   - The decision and its bookkeeping are one script. Several rules are charged
//     together or not at all, and Decision.Rule names the one that denied.
//   - A denied call costs nothing: calling again and again does not push the
//     next admission back. After RetryAfter a call fits unless others took it.
//   - A cost that is more than the whole burst is *NeverFitsError, not a wait.
//   - A key that is full again leaves nothing on the server: it expires then.
//   - A changed rule takes effect with the next call. Calls in use stay in use,
//     at most a whole burst of them, and drain at the new rate.
//   - A process that dies holds nothing for longer than Lapse and what its calls
//     take to drain.
//
// # Not guaranteed
//
//   - When a call returns an error that command.SafeToRetry does not clear, it
//     may have been charged. The same holds for a wait that ends with its
//     context before the server has answered.
//   - A server that loses its data (a restart without persistence, eviction, a
//     failover to a replica that lagged) forgets what was admitted: at most one
//     more burst for each key, and what was reserved.
//   - Nothing is fair among callers of Allow: who asks at the right moment wins.
//     Who waits has a slot, and nobody is let in before it; slots are in the
//     order in which the server is asked.
//   - A slot that is given back while others have slots behind it passes unused,
//     but for a SlidingWindow: at most the cost of each wait that was cancelled.
//   - Wait does not wait for reservations: nobody knows when they are settled.
//   - Two rules on one key at the same time (two versions of a service) each
//     apply their own to the same calls in use; the bound is the larger one's.
//     Two algorithms on one key count apart, and so do a Limiter and a Group.
//   - A period of a SlidingWindow that is made longer counts from then on.
//   - What OnError admits is not told to the server later.
//   - Names are not bounded in length. Bound what strangers may choose.
//
// # State
//
//	          Allow fits: used += cost
//	        ┌───────────────────────────┐
//	        ▼                           │
//	┌─────────────┐               ┌───────────┐  does not fit:
//	│ full        │               │ in use    │──┐ denied, nothing changes,
//	│ (no key)    │               │ (a key)   │◀─┘ or Wait takes a slot
//	└─────────────┘               └───────────┘
//	        ▲       drained: the key │    ▲ Settle: used, Cancel: nothing,
//	        └────────────────────────┘    │ lapsed: all of it, at that time
//	                              ┌───────────────┐
//	             Reserve fits ──▶ │ reserved      │ counts, and does not drain
//	                              │ (another key) │
//	                              └───────────────┘
//
// Under {namespace:limiter:name}: lie bucket (GCRA), tokens, window (FixedWindow)
// or log (SlidingWindow), and beside each, while something is reserved,
// bucket:reserved and so on. Those of a Group are in
// {namespace:limiter:group}:rule:NAME:KEY:bucket. The first three are the text
// "limiter/1 <count> <per> <burst> <at> <used>", with " <held> <first> <last>" while
// something is reserved: the kind and the version of the format, the rule (of
// GCRA in lowest terms), when it was noted (µs), and what is used, of GCRA in
// units of a call per per. The others are hashes with the fields kind and v.
//
// # Time
//
// All time is the server's TIME, in microseconds; the clocks of callers play no
// part. If the server's clock steps back by less than the bucket takes to
// fill, nothing drains until it has caught up. If it steps back further, what is
// in use is noted anew at the time that is then true. If it jumps ahead, at most
// one more burst is admitted. This process's monotonic clock says how long Wait
// sleeps, from the server's answer on; when a Stock's chunk is over, from before
// it was asked for; and what Local admits.
//
// # Concurrency and bounds
//
// A Limiter, a Group, a Reservation and a Stock may be used by many goroutines.
// A Limiter holds its rule and counters only, and with Local 4096 buckets, so
// making one for each call is fine but for Local and Stats. A group has at most
// 8 rules, a key at most 1000 reservations. Goroutines: those that share round
// trips, as many as round trips are under way, and one for each slot, chunk or
// reservation that is given back after its caller has left, for 2 s at most; the
// client owns them and its Close waits for them.
//
// # Sources
//
// GCRA is ITU-T I.371, as brandur.org/rate-limiting has it for servers. The
// headers are draft-ietf-httpapi-ratelimit-headers-10, the problem is RFC 9457.
package limiter
