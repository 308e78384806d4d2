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
//	_, err = l.Do(ctx, command.Set("video:42:state", "done")) // refused when it is
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
// memory. A renewal that is under way with those of other leases may arrive
// after the release; it does nothing then.
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
// first holder learns of it with its next renewal, a third of the TTL later.
// Replicas narrows that: see below. The token tells the two apart: where that
// matters, fence.
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
// Without Fair the waiters of different clients are served in no order: see the
// queue below. Leases are not reentrant: Acquire with a context that comes from
// the same lease returns ErrReentrant.
//
// # The queue
//
// Fair makes Acquire wait in a queue, where the first to come is the first to be
// served. A place in it is a ticket:
//
//	          turn comes, lease is free
//	waiting ──────────────────────────▶ served
//	  │  ▲ │
//	  └──┘ ├── ctx ends ──────────────▶ left      at once, costs nobody anything
//	 renew └── silent for 3 s ────────▶ dropped   by whoever comes to it next
//
// A waiter renews its ticket about every second. Any number of waiters that die
// together cost those behind them 3 s in all, once; a process that was stopped
// for longer goes on at the end of the queue. A release tells only the next in
// line, and the lease stays promised to the queue until one of it has come.
//
// Nobody overtakes a queue that is there: Acquire without Fair joins it, and
// TryAcquire is refused. The one exception: between the moment when a dead
// holder's lease lapses and the moment when the queue asks, whoever asks first
// gets it. That takes some milliseconds, and up to a second if the next in line
// has become so only since it asked last. Who comes first is who reaches the
// server first. The queue of one lease has at most 10 000 tickets of some
// 400 bytes; beyond that Acquire returns ErrQueueFull.
//
// Without Fair, and while nobody is in the queue, those who wait on one client
// line up there: the first asks for all of them, and again when the lease is
// released; if it fails, each asks for itself. Between the clients there is no
// order: the first of each line asks upon a release, and TryAcquire may well be
// faster than all of them. Strict attempts are not part of a line.
//
// # Shared leases
//
// Shared asks for a share: readers hold the lease together, a writer, who is
// anybody without Shared, holds it alone. Each share is a Lease of its own, with
// an end of its own, so a reader that dies costs a writer the TTL of that reader.
// At most 10 000 share a lease; beyond that Acquire returns ErrQueueFull. With
// Share they have weights, and a limit; see package semaphore.
//
// Whoever waits as a reader or for readers waits in the queue. So a writer that
// waits keeps out all who come later; readers already in stay and renew. Readers
// next to each other in the queue come in together. Neither starves.
//
// The token of a grant, writer's or reader's, is greater than all before it. Do
// of a share asks for the share, not for the token: readers may write beside
// each other. There is no upgrade and no downgrade: two readers that both want
// to be the writer would wait for each other. Acquire in the context of a share
// returns ErrReentrant.
//
// # Several leases
//
// AcquireAll takes several leases or none. It takes them one after the other, in
// the order of their names, so that no two calls wait for each other. That does
// not hold for who calls Acquire within the context of a lease or a Set: then
// the program has to keep to one order itself. They are granted one by one, not
// in one step of the server, and in a cluster they may lie on several nodes.
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
//	           renew ├── server: not ours ─▶ lost (gone, not owner, failover)
//	                 ├── TakeOver ─────────▶ lost (taken over), with the next renewal or Do
//	                 ├── HandOver ─────────▶ ended (handed over) ── Adopt ──▶ another's: held
//	                 ├── machine slept ────▶ lost (clock)
//	                 ├── client closed ────▶ lost (closed)
//	                 └── ctx ends ─────────▶ ended, not renewed: Release, or the TTL
//
// The reason is failover where the server says gone or not owner, and its run_id
// is not that of the server which confirmed the lease last. It is known from the
// first renewal of a client on, which leaves with its first grant. A lease that
// the promoted server knows as ours goes on, failover or not. New grants are
// held back after a failover, for one TTL, where Strict asks for it.
//
// # Replicas
//
// With Replicas(n, within) a grant counts when n replicas have it, and a renewal
// extends the trust window only when they have that, too: otherwise a promoted
// replica without the last renewal could let somebody in before the window
// closes. With n as great as the number of replicas a failover then neither
// loses a grant nor shortens it. With fewer, the one that is promoted may be
// one that has not confirmed; nor is anything said of disks, or of a primary
// that goes on beside its successor and takes renewals from clients that still
// reach it, as long as its replicas are enough for it. What Do writes is not
// waited for.
//
// # Handing over and taking over
//
// HandOver gives the lease to whoever adopts its ticket, with a greater token,
// and lets nobody else in between; two never hold it. A ticket that nobody adopts
// lapses after the TTL.
//
// TakeOver takes it from a holder who will not let go. The token of the old one
// is refused from that moment on, by Do and wherever tokens are checked, but its
// context ends only with its next renewal or Do: for a third of its TTL two
// believe that they hold it. Readers who are driven out are told "not owner".
//
// # Outside of this server
//
// Fence refuses small tokens for a resource in this process. Elsewhere the
// resource has to do it: the example of Fence has the statement for SQL.
//
// # On the server
//
//	{redisx:lease:NAME}:lease   hash  kind v id owner token since ttl meta offered   lives for the TTL
//	{redisx:lease:NAME}:fence   hash  kind v last deposed why below                  lives 6 to 7 days after a grant
//	{redisx:lease:}:server      hash  kind v server since                            lives 30 days after Strict asked
//
// meta is there if the holder gave it, offered while a ticket waits to be
// adopted; deposed is the last id that lost the lease by force or by hand, and
// why. It is "readers" when they all did, whose tokens are below that one.
//
// While somebody waits in the queue, for the TTL of a ticket each:
//
//	{redisx:lease:NAME}:queue   hash  kind v, and by id: end in ms, write or read, owner
//	{redisx:lease:NAME}:order   zset  id by the time of its coming, in µs
//	{redisx:lease:NAME}:queue:0 to 255  touched to tell the next, never there between two scripts
//
// A lease that is free and promised to the queue has the id "queue". While
// readers hold it, it has the id "readers", a field reader:ID for each (token,
// since, ttl, weight, length of owner, owner and meta), used, which is the sum of
// the weights, limit, if Share gave one, and beside it
//
//	{redisx:lease:NAME}:readers zset  id by the end of its share, in ms, lives as long as the last
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
// Renewals leave every third of the TTL, ±10 %, those of one client together
// where they are due together: 10 000 leases with a TTL of 30 s are renewed by
// about 5 scripts a second. A failing one is repeated until the window closes.
//
// # Concurrency
//
// All functions and methods may be called by many goroutines. A lease has no
// goroutine and no timer at rest. What runs for it belongs to the client, whose
// Close waits.
package lease
