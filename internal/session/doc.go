// Package session is one connection to one server: it correlates replies with
// commands for any number of concurrent callers.
//
// # Mechanism
//
// There is no goroutine per connection. The callers do the work:
//
//   - A caller encodes its command into the connection's write buffer, under
//     one mutex. The first one in becomes the writer; if others are in flight
//     it yields once, so that runnable callers add theirs, and one write
//     carries them all.
//   - A waiting caller reads: the leader. It gives replies to their owners in
//     FIFO order, each copied into the owner's call, and every owner decodes
//     its own reply on its own goroutine. When its own reply is in, and what
//     was buffered is handed out, it hands the lead to the waiting caller that
//     came last: that one would have to be woken anyway.
//   - A timer ticks while calls are in flight. It watches the oldest
//     unanswered call (the stall clock), reads on behalf of callers that left,
//     and checks idle connections. Before the first write after a tick without
//     commands the socket is asked whether something has arrived: a connection
//     that its peer closed, or spoilt, takes no command.
//
// SUBSCRIBE and its like are answered by pushes, one for each name, or by one
// error. Subscribe gives such a command a slot like any other: the confirmations
// that it waits for complete it, in whatever order, and an error is the whole
// answer. Confirmations that nobody waits for are pushes.
//
// # States of a call
//
//	           reply            last reply
//	pending ──────────► busy ──────────────► done   (the caller is signalled)
//	   ▲                 │ more replies to come
//	   └─────────────────┘
//	   │ the caller leaves
//	   ▼
//	 gone   (its reply, when it comes, is thrown away)
//
// # Guarantees
//
//   - A reply goes to the call whose command it answers, or the connection
//     dies: a reply without a call, a reply that began to arrive before its
//     command was written, and any malformed byte end the connection with a
//     typed error.
//   - Every call ends when its context does (one whose write blocks, a tick
//     later), or when the stall clock says so. The stall clock is the age of the
//     oldest unanswered call; what is large and moves on puts it off, unless
//     nobody waits for it any more.
//   - Every error says whether the command may have run (command.Outcome).
//   - Commands in flight are bounded in number and bytes; a caller beyond the
//     bound waits in order, as long as its context lets it.
//
// # Not promised
//
// The protocol has no request ids. A server that leaves out one reply and
// keeps answering, or inserts one while commands are in flight, shifts the
// stream in a way no client can see. A peer that closes within a tick of the
// last reply may still be sent a command, which then may have run for all
// anybody knows. Reply memory of an abandoned command is freed only when its
// reply is complete. A transport that cannot resume an interrupted write (all
// but TCP and unix sockets) is written to in the background when a write could
// block; where one blocks nevertheless, because the peer answers what it does
// not read or the network takes nothing, its caller's context ends the
// connection.
package session
