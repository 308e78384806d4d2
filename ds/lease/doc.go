// Package lease makes sure that one holder at a time does a thing, as long as
// the holder lives and says so.
//
//	l, err := lease.Acquire(ctx, client, "video:42", lease.TTL(8*time.Second))
//	if err != nil {
//		return err // ctx ended while somebody else held it: *lease.HeldError
//	}
//	defer l.Release(ctx)
//	if err := transcode(l.Context(), l.Token()); err != nil { // stops when the lease is lost
//		return err
//	}
//	_, err = l.Do(ctx, command.Set("video:42:state", "done").Request()) // refused when it is
//
// With does the same around a function. TryAcquire does not wait. Inspect tells
// who holds a lease.
//
// # Guarantees
//
// While the server keeps its data, at most one acquisition holds a lease.
//
// The context of a lease ends, with a *LostError as its cause, before the server
// lets anyone else in: when renewals do not come through in time, when the
// server says that the lease is not ours, when the machine has slept. After a
// pause of the process its first look at the context finds it ended.
//
// Do is checked by the server: it runs all commands with a token that is still
// the holder's, or none. A holder that was paused between its last look and its
// write cannot overwrite its successor.
//
// Tokens of one name rise with each grant, also across expiry, FLUSHALL,
// eviction and restart without data: a token is the server's time in
// microseconds, or one more than the last, whichever is greater.
//
// Renewal and release check the id of the acquisition, not the owner's name,
// and neither ever makes a key: a late renewal cannot bring a lease back, a late
// release cannot end the next holder's. Both work on a server that is out of
// memory. Release returns with no renewal in flight.
//
// What a cut connection leaves open is settled: an acquisition whose answer was
// lost is asked for again under its id, and can be granted only once; one that
// nobody will use is released in the background.
//
// # Non-guarantees
//
// A server that loses data can grant a lease twice. Redis replicates
// asynchronously: a primary that dies with the grant not yet on the replica that
// is promoted, or one restarted without persistence, knows of no holder. The
// first holder learns of it with its next renewal, a third of the TTL later. The
// token tells the two apart: where that matters, fence.
//
// A context stops only code that looks at it. Whatever the lease protects
// outside of this server (a file, a database, another service) must itself
// refuse tokens smaller than the greatest it has seen; Do does this for keys of
// this server.
//
// Tokens can repeat if the server forgets the last one (FLUSHALL, eviction, seven
// days without a grant, a failover) and its clock is set back, or the promoted
// server's clock is behind, by more than the time since that grant.
//
// A request that was delayed on its way may be granted after its caller gave
// up and the release in the background came before it. Nobody holds the lease
// then, and it lapses after one TTL.
//
// Waiters are served in no order. Leases are not reentrant: Acquire with a
// context that comes from the same lease returns ErrReentrant.
//
// # States
//
//	          TryAcquire: *HeldError
//	             ▲
//	Acquire ──▶ asking ◀──▶ waiting        push, or the holder's TTL
//	             │             │
//	             │             └── ctx ends ──▶ *HeldError
//	             ▼
//	            held ──── Release ─────────▶ released
//	            │  ▲ │
//	            └──┘ ├── window closes ────▶ lost (expired)
//	           renew ├── server: not ours ─▶ lost (gone)
//	                 ├── machine slept ────▶ lost (clock)
//	                 ├── client closed ────▶ lost (closed)
//	                 └── ctx ends ─────────▶ ended, not renewed: Release, or the TTL
//
// # On the server
//
//	{redisx:lease:NAME}:lease   hash  kind v id owner token since ttl   lives for the TTL
//	{redisx:lease:NAME}:fence   hash  kind v last                       lives 7 days after a grant
//
// "redisx" is the namespace. In both names the bytes %, {, } and control bytes
// are written %XX. since is in microseconds of the server's clock, ttl in
// milliseconds.
//
// # Time
//
// The server's clock decides when a lease lapses and what the next token is. The
// local clock only makes the holder stop earlier: it trusts the lease until the
// start of the last confirmed request + TTL − margin, by the monotonic clock,
// where margin is a tenth of the TTL, between 5 ms and 1 s. Setting the wall
// clock forward by more than the margin looks like a sleep and ends the leases
// of the process; setting it back does nothing.
//
// Renewals leave every third of the TTL, ±10 %. A failing one is repeated until
// the window closes.
//
// # Concurrency
//
// All functions and methods may be called by many goroutines. A lease has no
// goroutine at rest. What runs for it belongs to it, and Release waits for it, or
// to the client, whose Close waits.
package lease
