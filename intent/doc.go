// Package intent says what you want; the Redis pattern behind it is chosen for
// you.
//
//	u, err := intent.GetOrCompute(ctx, client, "user:42", time.Minute, func(ctx context.Context) (User, error) {
//		return db.User(ctx, 42)
//	})
//
//	if err := intent.RateLimit(ctx, client, "api:/users", "100/m", intent.Burst(20)); err != nil {
//		return err // limiter: api:/users limited to 100/1m0s burst 20: fits in 412ms
//	}
//
//	receipt, err := intent.Once(ctx, client, "pay:order-7", charge)
//
//	err = intent.LeaseLock(ctx, client, "file:upload", func(ctx context.Context) error {
//		return upload(ctx) // ctx ends before anyone else gets in
//	})
//
//	err = intent.Leader(ctx, client, "cron", func(ctx context.Context) error {
//		return runJobs(ctx) // in one process at a time; ctx ends before anyone else leads
//	})
//
//	status, err := intent.WaitFor(ctx, client, "job:42:status", "done", 15*time.Second)
//
// Each function stands on one primitive and adds nothing to its semantics:
//
//	GetOrCompute, Invalidate   ds/aside      cache-aside with one compute across processes
//	RateLimit                  ds/limiter    any algorithm, on the server's clock
//	Once                       ds/idem       one run, and its result for every caller
//	LeaseLock                  ds/lease      a renewed lease with a fencing token
//	Semaphore                  ds/semaphore  permits that are leases, first come first served
//	Leader                     ds/coord      an election with terms, campaigned for again after a loss
//	WaitFor                    ds/smart      a read for each change that the server tells of
//
// # Guarantees
//
//   - GetOrCompute: a hit is one round trip, or none (Memory). Of all processes
//     that miss at once, one computes and the others get its result; when it
//     dies, exactly one other takes over, after 5 s at most. After Invalidate has
//     returned, no compute from before it can put an old value back.
//   - RateLimit: exact for any number of processes; a denied call costs nothing
//     and is told when to come again.
//   - Once: while its record lasts, fn runs once for a key, and everybody has the
//     same result; a runner that died is told, not hidden.
//   - LeaseLock: fn's context ends before the server lets another holder in, and
//     a lease that was lost while fn ran is an error, even if fn returned nil.
//   - Semaphore: at most n run at a time, in all processes; one that dies gives its
//     permit back within the TTL.
//   - Leader: fn's context ends before the server lets another process lead.
//   - WaitFor: no wake is lost; it ends only by what was read after the call.
//   - Errors are those of the primitive, found with errors.As; what can be helped
//     has an Explain method that says how.
//
// # Not guaranteed
//
//   - Exactly one compute, if computes do not mind their contexts: see the manual
//     of ds/aside.
//   - That two holders' writes to a third party never meet. For that, the third
//     party must check the fencing token: use lease.With, or the Lead of a
//     coord.Election, which have it.
//   - Any answer without a server: nothing here falls back to deciding alone, but
//     for GetOrCompute, whose function is then run once for each process.
//
// # State
//
//	GetOrCompute   none ─▶ filling ─▶ value ─▶ none
//	RateLimit      full ─▶ in use ─▶ full
//	Once           none ─▶ running ─▶ done ─▶ none
//	                          └─────▶ lost, until somebody has looked
//	LeaseLock      waiting ─▶ held ─▶ released
//	                            └───▶ lost: the context ends, with the reason
//	Semaphore      waiting ─▶ held ─▶ released, or lost
//	Leader         waiting ─▶ leading ─▶ resigned
//	                  ▲          └───▶ lost ─┐
//	                  └──────────────────────┘
//	WaitFor        reading ◀─▶ waiting ─▶ met
//
// The keys' states are drawn in the manuals of the primitives.
//
// # Time
//
// TTLs, rates and leases are counted by the server. The local monotonic clock
// only ends contexts early.
//
// # Concurrency
//
// All functions may be called by many goroutines. What they start is owned by the
// client, whose Close waits for it; on a Doer that is no command.Attacher,
// GetOrCompute waits for its compute.
package intent
