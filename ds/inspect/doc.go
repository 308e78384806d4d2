// Package inspect finds what primitives have left on a server, and says how it
// stands: who holds it, since when, who waits. The command redisx inspect is
// made of it.
//
//	for r, err := range inspect.Reports(ctx, client, inspect.InNamespace("app")) {
//		if err != nil {
//			return err // *inspect.ScanError: what came before is right, but not all
//		}
//		fmt.Println(r.Kind, r.Name, r.Says) // lease video:42 held by node-A since …
//	}
//
// Find yields the objects without asking how they stand; Explain asks for one.
// Lookup finds by name, without a search.
//
// # Guarantees
//
// Nothing is written: SCAN and scripts that only read are all that is sent. A
// user may run them who has +@read +@connection +time +eval +eval_ro +evalsha
// +evalsha_ro, and all keys.
//
// The search walks over the keys with SCAN, never KEYS, 250 at a time at most,
// and at no more than Rate keys a second. It ends at once with its context.
//
// An object that is there from the beginning of the search to its end is found,
// once. Its memory does not depend on how many keys of others there are; of our
// own, AtMost bounds it.
//
// Of values that users store, nothing is read or shown but their length. What
// names, owners and metadata hold is shown, and cannot break a terminal: see
// Text. All of Report prints as it is.
//
// Keys that are not as this version of redisX writes them (another type, a newer
// schema, a kind it does not know) are said to be so in Problem, and not guessed
// at.
//
// # Non-guarantees
//
// A search is no snapshot. Each report is of one moment, reports are of
// different ones, and an object may be gone when its report arrives.
//
// Keys that come and go by themselves, such as those of single generations of a
// barrier, are not listed with their object. What lease.Strict notes of the server
// is no object.
//
// Waiters are those that the server knows of. Who waits for a lease without
// lease.Fair only watches it and has left nothing there.
//
// Anybody who may write to the server can write keys that look like ours, and
// say anything. A search of one server sees that server: of a cluster, search
// each primary.
//
// # What is recognised
//
// Keys under "{namespace:primitive:name}:", as all primitives write them, by the
// fields kind and v (queue: schema) of their hashes, and limiters by the first
// words of their strings; and what ds/aside keeps beside a value,
// "{tag}:redisx:aside:KEY" and, while it is computed, "{tag}:redisx:fill:KEY": both
// are one value, whose name is its key. A tag of values has the name that the user
// gave. What a rule of a limiter.Group counts has the name "GROUP:rule:RULE:KEY".
// The leases that elections and semaphores stand on are told by the beginnings
// "leader:" and "semaphore:" of their names; a lease of one's own that is called
// so is taken for one. A key of others that has the form of ours costs one
// question, and is left alone unless it says that it has a kind and a version.
//
// # Time
//
// Since, Left and the like are by the server's clock. The local clock only paces
// the search.
//
// # Concurrency
//
// All functions may be called by many goroutines, and start none. An iterator
// may be ranged over again: that is a new search.
package inspect
