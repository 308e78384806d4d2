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
// A command that was not sent because its connection had died goes to the next
// one; nothing else is ever sent again.
package pool
