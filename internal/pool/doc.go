// Package pool keeps the connections to one node: one shared by all ordinary
// commands, and private ones for commands that block or bind a connection.
//
// The shared connection is dialled by one goroutine at a time, on a context of
// its own, with exponential backoff and full jitter. While there is none,
// commands wait for it as long as their context and Config.OfflineWait let
// them, and then fail as not sent.
package pool
