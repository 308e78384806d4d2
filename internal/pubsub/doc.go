// Package pubsub receives published messages for any number of subscriptions,
// in order, bounded, and with word of every place where messages may be missing.
//
// # Mechanism
//
// A feed is one connection and the subscriptions that share it. Subscriptions
// that drop messages when their consumer is slow share one feed; one that holds
// the connection up instead (BlockOnOverflow) has a feed of its own.
//
// Each feed has one goroutine, its keeper, for as long as anything is subscribed
// to. It alone dials and sends: it compares what is wanted with what the server
// has confirmed, and sends the difference, one command with many names at a time.
// So commands are never in a race with each other, however many callers are.
//
//	       keeper sends             confirmed
//	off ──────────────► subscribing ─────────► on
//	 ▲                                          │ nobody wants it any more:
//	 │ confirmed                                │ keeper sends
//	 └──────────────── unsubscribing ◄──────────┘
//
// A lost connection, or an end that the server declares (sunsubscribe when a
// slot moves), takes a topic back to off; it is wanted still, so the keeper
// subscribes again.
//
// # Members
//
// A member is one subscription's interest in one topic:
//
//	joining ── confirmed ──► live ── lost ──► lost ── confirmed ──► back ── none lost any more ──► live
//
// Only live members get messages. Those of a subscription become live again
// together, and at that moment the gap is put into its stream: what its consumer
// reads elsewhere upon the gap, to catch up, is then not outdated unnoticed.
//
// # Guarantees
//
//   - Messages of one topic come in the order of the server.
//   - Between two messages that are not neighbours in the server's order there
//     is a Gap in the stream, whatever the reason.
//   - The reader of a connection runs no code of users, and waits only for a
//     subscription that has the connection for itself.
//   - A buffer is bounded in messages and bytes. A message larger than the
//     buffer is dropped, unless the policy is CloseOnOverflow, which ends.
//
// # Not promised
//
// Published messages are not stored by the server: what is sent while nobody is
// connected is gone, and a Gap only says so. A gap does not mean that something
// was missed, only that it may have been. Nothing is acknowledged. A message
// counts as received when it is in the buffer.
package pubsub
