// Package pool keeps the connections to one node: one shared by all ordinary
// commands, and private ones for commands that block or bind a connection.
//
// The shared connection is dialled by one goroutine at a time, on a context of
// its own, with exponential backoff and full jitter. While there is none,
// commands wait for it as long as their context and Config.OfflineWait let
// them, and then fail as not sent. Refused credentials surface at once. Private
// connections are dialled only while the shared one is up, with a backoff of
// their own. However long an outage, a node is dialled less than 20 times a
// second.
//
// Private connections are bounded in number; who waits for one is served in
// order. A blocking command whose caller leaves is ended with CLIENT UNBLOCK
// from the shared connection, and its connection kept if the reply comes within
// 250 ms; what the server had popped by then is lost and counted
// (PrivateStats.Lost). While commands block without end, or connections are
// taken, the node is asked for a sign of life every 5 s: if it gives none, on
// the shared connection and on a new one, they end within 15 s.
//
// With Config.Credentials the provider is asked when a connection is dialled,
// at most once a second, and before the credentials end. In a round every
// connection authenticates with the newest answer, in line with its commands,
// or is closed. Those in a caller's hands are closed when they are given back.
// A provider that fails is like refused credentials.
//
// A command that was not sent because its connection had died goes to the next
// one. No server has seen a byte of it, so that is no retry, and it is counted
// apart (Stats.PassedOn); what is sent again is decided in package topology.
package pool
