// Package keyspace tells of changes of keys by the server's keyspace events,
// where it does not push them (CLIENT TRACKING needs RESP3).
//
// # Mechanism
//
// A server with notify-keyspace-events publishes each change of a key on a
// channel of the key's own, __keyspace@<db>__:<key>. A hub subscribes to the
// channels of the keys that are watched, on the connection of the client's other
// subscriptions. It never changes the setting, and never subscribes to patterns:
// events of other keys stay at the server.
//
//	     setting covers the classes        confirmed              an event, a gap
//	Watch ──────────────────────► joining ───────────► watching ──────────────────► told
//	  │ it does not, nobody may                           │                           │
//	  ▼ ask, or subscribe                                 └───────── Stop ────────────┘
//	error
//
// A key's channel is given up with its last watch, told or not. So who goes on
// watching takes the next watch before it stops the last one, and subscribes
// once. The channel of the last key of all stays for 10 s: with it stays the
// connection.
//
// # Guarantees
//
//   - A change after Watch has returned closes Changed, if its class is
//     published: the server has confirmed the subscription by then.
//   - A gap in the stream (a lost connection, a full buffer) tells every watch,
//     and makes the hub ask for the setting again.
//   - What was learnt of the setting is used for 5 s at most.
//   - While the connection is not up, or after a refusal, Watch fails at once: 1 s
//     after what passes by itself, a minute after a server that will not answer
//     CONFIG GET, or will not let the user subscribe. Nobody waits for a server
//     that is silent for longer than 1 s.
//   - Bounds: 100 000 watches, 64 MiB of keys, 16 Ki events that have arrived.
//
// # Not promised
//
//   - Events are published for commands. FLUSHALL, FLUSHDB and SWAPDB, a replica
//     that loads its primary's data, and a change of the setting have none; a
//     key's end has one when the server removes the key, which may be late. So who
//     watches looks again from time to time.
//   - Anybody may publish on the channels: an event means that the key may have
//     changed.
//   - The payload is not looked at.
//
// # Locks
//
// Hub.mu guards all, and comes before those of package pubsub.
package keyspace
