// Package wait waits until something on the server is so.
//
//	err := wait.Until(ctx, d, key, func(ctx context.Context) (bool, time.Duration, error) {
//		held, left, err := try(ctx)
//		return !held, left, err // again when key changes, or when the lease has run out
//	})
//
// A Reader is for those who only look: its read is the interest in the next
// change where the Doer is a command.Tracker, so that a change costs one read.
// Package smart shares one among all who wait for a key.
//
// Guarantees: try runs at least once; no change is missed, because the first
// try that may be followed by a wait comes after the server has noted the
// interest; Until returns as soon as ctx ends, with its cause, and leaves no
// goroutine and no interest behind.
//
// Not guaranteed: that try sees every state of the key. Changes in quick
// succession wake once, and wakes without a change happen (a lost connection
// counts as one). There is no order among those who wait for the same key.
//
// # Rungs
//
//	push    the Doer is a command.Watcher: the server tells of the change
//	events  it cannot watch, but is a command.EventWatcher, and the server
//	        publishes all changes that matter: try again upon an event, and after
//	        2.5 to 5 s without one, as some changes are not published
//	poll    otherwise: try again after 10 to 250 ms, growing by half each time,
//	        with jitter
//
// The rung is chosen anew before each try. Until needs the events of all classes;
// a Reader says which it needs. Counts tells how many waits went down which rung.
//
// # Time
//
// Only durations are used, on the local monotonic clock: the caller passes on
// how long the server says that something still lasts.
//
// All functions may be used by many goroutines, a Reader by one at a time.
package wait
