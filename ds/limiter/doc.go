// Package limiter admits so many calls in so much time, for all processes that
// share a server.
//
//	users := limiter.New(client, "100/m", limiter.Burst(20))
//	d, err := users.Allow(ctx, "user:42")
//	if err != nil {
//		return err // the server could not be asked; you decide
//	}
//	if err := d.Err(); err != nil {
//		w.Header().Set("Retry-After", seconds(d.RetryAfter))
//		return err // limiter: user:42 limited to 100/1m0s burst 20: fits in 412ms
//	}
//
// The rule "100/m burst 20" is a bucket of 20 calls that refills at 100 a
// minute (GCRA). So any window of length T admits at most 20 + 100·T/minute:
// 120 in the first minute, 100 in each one after it under constant pressure.
// Without a burst the bucket holds as much as one period refills: "100/m" alone
// admits 100 at once, and up to 200 in a first minute. For "never more than 100
// in any minute" choose a rate and a burst that add up to 100.
//
// # Guarantees
//
//   - The bound above holds exactly, to the microsecond, for any number of
//     processes, on one server: the arithmetic is in whole numbers and never
//     rounds towards admitting more.
//   - One round trip decides; the decision and its bookkeeping are one script.
//   - A denied call costs nothing: calling again and again does not push the
//     next admission back. After RetryAfter a call fits unless others took it.
//   - A cost that is more than the whole burst is *NeverFitsError, not a wait.
//   - A key that is full again leaves nothing on the server: it expires then.
//   - A changed rule takes effect with the next call. Calls in use stay in use,
//     at most a whole burst of them, and drain at the new rate.
//
// # Not guaranteed
//
//   - When a call returns an error that command.SafeToRetry does not clear, it
//     may have been charged.
//   - A server that loses its data (a restart without persistence, eviction, a
//     failover to a replica that lagged) forgets what was admitted: at most one
//     more burst for each key.
//   - Nothing is fair among callers of a key: who asks at the right moment wins.
//   - Two rules on one key at the same time (two versions of a service) each
//     apply their own to the same calls in use; the bound is the larger one's.
//   - Names are not bounded in length. Bound what strangers may choose.
//
// # State
//
//	          Allow fits: debt += cost
//	        ┌───────────────────────────┐
//	        ▼                           │
//	┌─────────────┐               ┌───────────┐  Allow does not fit:
//	│ full        │               │ in use    │──┐ denied, nothing changes
//	│ (no key)    │               │ (one key) │◀─┘
//	└─────────────┘               └───────────┘
//	        ▲    debt drained: the key │
//	        └──────────────────────────┘ expires
//
// The value of {namespace:limiter:name}:bucket is
// "limiter/1 <count> <per> <burst> <last> <debt>": the kind and the version of
// the format, the rule (count calls cost per each per microsecond, reduced to
// lowest terms), when the debt was noted (µs), and the debt, per a call.
//
// # Time
//
// All time is the server's TIME, in microseconds; the clock of the caller plays
// no part. If the server's clock steps back by less than the bucket takes to
// fill, nothing drains until it has caught up. If it steps back further, the
// debt is noted anew at the time that is then true. If it jumps ahead, at most
// one more burst is admitted.
//
// # Concurrency
//
// A Limiter may be used by many goroutines. It holds nothing but its rule, so
// making one for each call is fine too.
package limiter
