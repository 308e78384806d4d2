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
// After Stop has returned no renewal is running or will run.
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
//	             │      ├── Renew says ErrGone ─────────▶ lost (gone)
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
// goroutine, only two timers; a renewal runs on the goroutine of its timer, and
// never two at once.
package hold
