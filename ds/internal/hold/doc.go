// Package hold keeps something that a server holds for us until it lapses: a
// lease, a permit, a delivery, a leadership.
//
//	sent := time.Now() // before the request leaves
//	if err := acquire(ctx); err != nil {
//		return err
//	}
//	h := hold.Start(ctx, sent, hold.Options{TTL: ttl, Renew: renew, Lost: lost})
//	defer h.Stop()
//	work(h.Context()) // ends before the server gives the thing to anyone else
//
// # Guarantees
//
// The context ends, with the cause that Lost builds, at the latest a margin
// before the server would let anyone else in, whatever happens to the network
// or to the server. It also ends as soon as the server says that the thing is
// not ours, and when a gap between the wall clock and the monotonic clock
// shows that the machine has slept.
//
// The context looks at the clock itself: after a pause of the process (SIGSTOP,
// a paused virtual machine, a long garbage collection) the first use of Done,
// Err, Value or context.Cause finds it ended, even where no timer has run yet.
// What was derived from it ends when the runtime gets to it, moments later.
//
// After Stop has returned no renewal that Renew makes is running or will run.
//
// # Renewing together
//
// Holds with a Row are renewed together, by one script for up to 256 of them:
// 10 000 holds with a TTL of 30 s cost about 5 scripts a second, and no
// goroutine at rest. What is due within a sixtieth of its TTL goes along early,
// so nothing waits for a batch to fill. A batch is one script of one Doer, for
// TTLs of the same order (a power of two), since its shortest TTL says how long
// it may take: a third of it. A batch that fails or hangs takes no other with
// it, and its holds are repeated in batches to come, each at its own random
// time. An error for one row is that row's alone.
//
// The engine hangs on the Doer, if that is a command.Attacher, whose Close ends
// it and waits; what is held then ends with its window, unless it is stopped.
// Each hold of another Doer renews its row for itself.
//
// The answer to a batch names the server. One that says gone, and is not the one
// that confirmed the hold last, has taken its place: the reason is failover. So
// that the first hold of a client knows, its first renewal leaves at once.
//
// A batch under way is not called back by Stop. Its script checks the id and
// never makes a key, so it does nothing to what was given back.
//
// All rows of a batch go to one server and, in a cluster, would have to be in
// one slot: the kind of a group is the place where a slot belongs then.
//
// # Non-guarantees
//
// Code that never looks at its context is not stopped. Between the look and
// the write the process can be paused: a write is safe only where the server
// checks the token (fencing).
//
// Where the monotonic clock stops while the machine sleeps and somebody sets
// the wall clock back by as much, the sleep is not seen.
//
// # States
//
//	          renewed
//	          ┌────┐
//	Start ──▶ trusted ──┬── now ≥ sent + TTL − margin ──▶ lost (expired)
//	             │      ├── the server says not ours ───▶ lost (gone, not owner, taken over,
//	             │      │                                       handed over, failover)
//	             │      └── wall − monotonic > margin ──▶ lost (clock)
//	             ├── Stop ─────────────────────────────▶ ended (released)
//	             └── the parent ends ──────────────────▶ ended, the parent's cause
//
// Nothing leads back. A renewal whose answer comes after the window has closed
// does not open it again.
//
// # Time
//
// The server's clock decides when the thing lapses. The window here starts when
// the request that got or renewed it was about to leave: whatever time the
// request took is already spent on the server. It ends TTL − Margin(TTL) later
// on the local monotonic clock, so the local clock can only make us stop
// earlier.
//
// Renewals leave about every third of the TTL, spread by ±10 %. One that fails
// for any reason but ErrGone is repeated after 5 to 10 % of the TTL, as long as
// the window lasts; an answer that never came counts as no renewal.
//
// # Concurrency
//
// All methods may be called by many goroutines. At rest a Hold has no
// goroutine. With a Row it has no timer either: the group's one timer starts
// renewals and ends what nobody renewed. Without, it has two; a renewal runs on
// the goroutine of its timer, and never two at once.
package hold
