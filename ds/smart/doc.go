// Package smart waits until keys are as they should be, without asking again
// and again.
//
//	r, err := smart.WaitFor(ctx, client,
//		smart.Key("job:42:status", func(v string, ok bool) bool { return v == "done" }),
//		smart.Budget(15*time.Second))
//	if errors.Is(err, smart.ErrBudget) {
//		log.Printf("still %q after 15 s", r.Value)
//	}
//
//	for v, err := range smart.Changes(ctx, client, "config:web") {
//		if err != nil {
//			return err
//		}
//		apply(v.Value)
//	}
//
// Conditions are values: Key, Exists, Absent, ListLen, StreamAfter, and groups
// of them, AnyOf and AllOf, over keys of any types and hash slots.
//
// # Guarantees
//
// No wake is lost. The read that looks at a key is, in one step of the server,
// the interest in its next change (CLIENT TRACKING), so there is no moment
// between the two. After a lost connection, FLUSHALL, and an eviction from the
// server's tracking table, all keys concerned are read again. Where the server
// publishes changes instead, the read comes after it has confirmed the
// subscription.
//
// A condition is met only by a read that began after the call. A caller who has
// written a key sees its own write, or what came after.
//
// All waits of one client for one key, and one kind of condition, share one
// read for each change, on the one connection on which the client is told of
// changes. Changes while that read is under way cost one more read, however
// many they are.
//
// The end of a key's life is seen when it comes, not when the server happens to
// remove the key: a few milliseconds late at most, and the way to the server.
//
// Changes shows the last state for certain, whatever it has to skip.
//
// Functions given to Key run on the goroutine that waits, never on one that reads
// for others: one that is slow delays only its own wait, one that panics ends
// only its own.
//
// A call returns when its context ends or its budget runs out. It leaves
// nothing behind: who was the last to wait for a key ends what read it.
//
// Bounds: MaxWaiters conditions (100 000 by default), and 64 MiB of keys and
// values for all waits of a client. Beyond them a wait fails with ErrOverloaded at
// once; none is queued.
//
// # Non-guarantees
//
// States may be skipped. A value that is set and replaced before it could be
// read is seen by nobody: wait for what stays. What must not be missed belongs
// into a stream or a queue.
//
// A condition was met when the key was read, which may be history when the call
// returns. To act on it alone, take a lease, or let the server check again (WATCH,
// a script).
//
// AllOf is met by the last reads of its keys, which are not of one instant.
//
// All who wait for a key wake when it changes. For consumers of which one is to
// get each element use ds/queue, BLPOP or XREADGROUP.
//
// What is missing of a stream (Seen.Lost) is told as far as the server's counts
// tell it. Of StreamAfter the server sends the first and the last entry with each
// read (XINFO STREAM): with large entries each change costs their size.
//
// On the rung of events, what no command did to the key itself is seen with the
// next look, 5 s later at most: FLUSHALL, FLUSHDB and SWAPDB, an overwriting by
// another type where the server does not publish all classes, and what happens
// after somebody has changed notify-keyspace-events.
//
// A network that breaks without a word delays what is told until the
// connection's checks notice, 12 s at most. Waits cannot be listed on the
// server: they exist in the processes that wait.
//
// # Rungs
//
// How a change is learnt of, from the quickest. A key is on the highest rung that
// serves it, and the choice is made anew with each read.
//
//	push    the server tells who has read the key: RESP3, and a user who may run
//	        CLIENT TRACKING. A change reaches a waiter in one round trip and a
//	        half. It costs a read; a key that does not change costs nothing.
//	events  the server publishes changes: for clients without push (RESP2, other
//	        users, servers and proxies without tracking) that may subscribe, and
//	        read the setting notify-keyspace-events with CONFIG GET. It must have
//	        K, g, e and the class of the condition: $ for Key, l for ListLen, t for
//	        StreamAfter, and all of them ("AK") for Exists and Absent. It is never
//	        set here. As quick as push; besides the read a SUBSCRIBE for each key,
//	        on the connection of the client's subscriptions, and one look every 2.5
//	        to 5 s.
//	poll    otherwise, also while the connection for push cannot be had: each
//	        key is read after 10 to 250 ms, growing by half each time, with jitter,
//	        and beginning anew after a change. A change reaches a waiter after 250
//	        ms and one round trip at the latest.
//
// StatsOf tells how many keys are on which rung, and Rung in a *BudgetError. A
// key moves up when the server can push after a reconnect, and within 5 s when it
// begins to publish; where CONFIG GET or SUBSCRIBE was refused, within a minute.
// It moves down within 5 s when the server ceases to publish.
//
// # States of a key that is waited for
//
//	         first waiter              answered
//	(none) ───────────────▶ reading ─────────────▶ known ──▶ (none)  the last waiter has left
//	                         ▲   ▲ │                 │
//	                         │   └─┘ failed: 10      │ told of a change, its life
//	                         │       to 250 ms       │ has ended, a new waiter
//	                         └───────────────────────┘ needs proof, time to poll
//
// # Errors
//
// Lost connections, servers that are loading or busy, and failovers end no wait.
// The reads are repeated, with the pauses of polling; a *BudgetError holds the
// last failure. Answers about the key or the user (WRONGTYPE, NOPERM) end the
// waits for that key, and are found with errors.As as a redisx.ServerError.
// Errors that have advice give it in a method Explain() string.
//
// # Time
//
// The life of a key is the server's (PTTL); the local monotonic clock counts it
// down, and the budget. A clock that runs fast costs one more read, never a wrong
// answer.
//
// # Concurrency
//
// All functions may be called by many goroutines; conditions are immutable. One
// goroutine reads each key that is waited for; it belongs to the client, whose
// Close ends the waits and waits for it. On a Doer that is no command.Attacher
// the goroutines belong to the call, which waits for them.
package smart
