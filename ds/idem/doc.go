// Package idem runs an operation once for a key, among all processes that share
// a server, and answers everybody else from the record.
//
//	receipt, err := idem.Run(ctx, client, "pay:7", func(ctx context.Context) (Receipt, error) {
//		r, err := charge(ctx, order)
//		if errors.Is(err, errDeclined) {
//			return r, idem.Final(err) // an outcome: stored
//		}
//		return r, err // any other error: not stored, the next caller runs
//	}, idem.Fingerprint(order))
//	if errors.Is(err, idem.ErrIndeterminate) {
//		// a runner died in the middle: look at the account, then idem.Forget
//	}
//
// Middleware does the same for HTTP requests with an Idempotency-Key.
//
// # When a runner dies
//
//	default          callers get ErrIndeterminate, until somebody has looked
//	RerunOnCrash     fn runs again, from the start
//	ResumeOnCrash    fn runs again; a Checkpoint that was reached returns what it
//	                 saved instead of running its step
//	Effect           commands for the server itself take place in the step that
//	                 stores the result: once, under every policy
//
// # Guarantees
//
//   - While a record lasts, fn runs once for a key: callers that come while it
//     runs wait for it (by push, within their context, or Wait), later ones get
//     the stored result. All get the same value, the runner too: its own, encoded
//     and decoded.
//   - A run that was begun and not ended is never taken for one that did not
//     happen. When a runner dies, its lease lapses within the TTL (10 s), and
//     the callers are told ErrIndeterminate, until somebody clears it or the
//     retention (24 h) ends; those with RerunOnCrash or ResumeOnCrash run again.
//   - A runner that comes back after others were told or let in is fenced: its
//     result, checkpoints and effects are refused, and it is told so. fn's
//     context has ended before.
//   - A step whose Checkpoint has returned is not run again by a later run of the
//     key, after a crash with ResumeOnCrash or after an error, until the key has
//     an outcome.
//   - Effects and the record are one step of the server.
//   - A key that comes with another Fingerprint gets ErrKeyMismatch.
//   - The end of a run and its result become visible in one step. If the server
//     cannot be reached then, or the caller has left, the step is repeated for
//     a TTL; it takes effect once. The client's Close waits for it, for a
//     second at most.
//   - A waiter that leaves disturbs nobody. A runner whose caller leaves ends
//     when fn does.
//   - A record that cannot hold its result (over 1 MiB, not encodable) still
//     prevents another run.
//   - What a run notes of what was done (checkpoints, outcomes) needs no free
//     memory on the server; new runs and effects are refused without it.
//
// # Not guaranteed
//
//   - That what fn does outside of the server happens exactly once. fn runs once
//     for a record; the effect may still have happened when fn returns an error
//     that is not Final, or panics, and the next caller then runs it again. Pass
//     the key on to systems that know idempotency keys themselves.
//   - That the step of a Checkpoint runs once: a runner that dies after the step
//     and before the server's note of it leaves one that is run again.
//   - Anything after the record is gone: the retention has ended, the server
//     lost its data (a restart without persistence, a failover to a replica
//     that lagged), or it evicts (refused unless AllowEviction).
//   - That a runner which lost its lease stops: fn must heed its context.
//   - That a claim whose answer was lost is undone. Run tries, for a TTL. If the
//     server stays unreachable, the key counts as begun and never ended, though
//     fn did not run.
//   - Order among waiters.
//   - Secrecy: results and checkpoints are stored as they are encoded.
//
// # States
//
//	         begin: claimed                  nil: finish, or commit with effects
//	none ───────────────────▶ running ──────────────────────────▶ done
//	 ▲ ▲                      │ │ │ │ │     Final(err), or a part of the effects
//	 │ └──────────────────────┘ │ │ │ └─────────────────────────▶ final
//	 │  abandon: other errors,  │ │ │       no room for the result
//	 │  panic, Goexit           │ │ └───────────────────────────▶ unstored
//	 │                          │ │         abandon, with checkpoints
//	 │                          │ └─────────────────────────────▶ open
//	 │                          │                                  │ begin:
//	 │                          │ running (new token) ◀────────────┘ claimed
//	 │                          │ lease lapsed, and a caller came:
//	 │                          ├──── default ──────────────────▶ lost
//	 │                          └──── Rerun-, ResumeOnCrash ─┐     │
//	 │                                running (new token) ◀──┴─────┘
//	 │
//	 └─ Forget, or the retention after done, final, unstored, open, lost
//
// A run that ends by abandon after an earlier runner has died, after its lease
// was lost, or after a step that no checkpoint could keep, leaves lost and not
// open or none: what was in doubt stays so.
//
// A record is one hash, {namespace:idem:key}:record, with the fields kind
// ("idem"), v ("1"), state, token, runner, since, ends (of the lease), settled,
// print (the fingerprint), runs, crashes, result, steps (how many checkpoints)
// and step:NAME for each of them; times are µs on the server's clock.
//
// # Time
//
// Two clocks, both the server's: the lease, renewed while fn runs, says that
// the runner lives; the retention says how long the outcome is kept. The local
// monotonic clock only ends fn's context early: a margin before the lease can
// lapse, counted from before the request left.
//
// A lease that has lapsed unseen does no harm: as long as nobody was told or
// let in, the runner may still renew, finish or abandon.
//
// Tokens are the larger of the last one plus 1 and the server's time in µs, so
// they rise over anything that makes the server forget.
//
// # Bounds
//
// A result, and all that the checkpoints of a run save together, are each
// MaxResult bytes at most; a run has 100 checkpoints and 1000 effects at most.
// A stored error's text is cut at 4 KiB. Middleware keeps a request's body
// (HTTP.MaxBody) and its response (MaxResult) in memory while the handler runs.
//
// # Concurrency
//
// All functions may be called by many goroutines. fn runs on the caller's
// goroutine; it may have several goroutines that use Checkpoint and Effect, until
// it returns. A Run waits without a goroutine; only a caller that leaves before
// its last step is answered leaves one behind, which the client owns. On a Doer
// that is no command.Attacher the caller does that step itself, for a second at
// most. The renewals of all runs of a client go together, in batches.
package idem
