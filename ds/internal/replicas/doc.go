// Package replicas runs a script and has replicas confirm what it wrote.
//
//	token, err := replicas.Run(ctx, d, replicas.Need{Count: 1, Within: 200 * time.Millisecond}, script, decode, keys, args...)
//
// Guarantees: the script and the WAIT behind it go down one connection, one
// after the other, because WAIT counts only what its own connection has
// written: on another one it answers at once, with replicas that have nothing
// of it. An error says whether the script has run: with nil and with a
// *ShortError it has, and its value is there. Nothing is sent twice, save that
// a server which does not know the script is sent its source.
//
// Not guaranteed: that a replica which confirmed is the one that is promoted,
// unless all have to; that it has written to disk. A confirmation says nothing
// of what the next script writes.
//
// The pair occupies a connection of its own while it waits, so it takes one of
// the client's private connections. All functions may be used by many
// goroutines.
package replicas
