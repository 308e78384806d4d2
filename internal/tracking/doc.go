// Package tracking stands on the server's push messages (CLIENT TRACKING): on
// one connection it reads keys, and is told when they change. On that stand a
// cache of replies and a feed of changes.
//
// # The cache
//
// What was read on the tracking connection is kept until the server says that
// one of its keys may have changed. The life of an entry:
//
//	          first caller                reply
//	(nothing) ────────────► being fetched ──────► stored
//	    ▲                         │                  │
//	    └─────────────────────────┴──────────────────┘
//	     a key of it changed, was written by this client, or cannot
//	     be told of any more; evicted; too old for the caller
//
// A fetch that has been taken out is still answered to those who waited for
// it, and its reply is not stored: who comes later fetches again.
//
// # Guarantees of the cache
//
//   - An answer is never older than an invalidation that was delivered before
//     the call: invalidations are applied by the goroutine that reads them, in
//     the order of the stream, and take out fetches that are under way.
//   - A write of this client is seen by its later reads: its keys are dropped
//     when it is sent and again before its caller has the answer, whatever that
//     answer is.
//   - Nothing is served that was read over a connection that is gone: its end
//     drops everything before anything else happens. While there is none, ErrUncached.
//     The same when the node's shared connection was replaced: the other end
//     may be another server.
//   - Nothing is served after the end of its key: the batch that reads asks for
//     PTTL first, and the reply lives from before the batch was sent.
//   - Nothing is served to a caller who called it too old.
//   - Callers of the same command at the same time cause one fetch. Who leaves
//     does not disturb the others; the last one to leave ends it.
//   - Entries are bounded in bytes, their overhead included. Fetches are bounded
//     by their callers, and by the bounds of the connection.
//
// # Not promised
//
//   - The push about another client's write takes as long as the network takes.
//     When the peer of the tracking connection falls silent without closing, it
//     takes until the connection's check notices (12 s at most, see
//     internal/session).
//   - What the server does not push stays for as long as callers accept it, such
//     as what a user may no longer read after ACL SETUSER. Fields of a hash with
//     ends of their own (HEXPIRE) go when the server removes them, which may be
//     a little later than their ends.
//   - A script's writes to keys that it did not declare are known only by push.
//
// # The feed
//
// Watch notes the interest, reads the key on the tracking connection (the
// server notes it in the same step), then lets the caller read for itself. Any
// change after that is pushed. A lost connection counts as a change of
// everything. Track does it with one read, which is the caller's own.
//
// # Locks
//
// Hub.mu guards all. It is taken while a connection is locked (its OnClose), so
// no method of a connection may be called with it held.
package tracking
