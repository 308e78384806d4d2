// Package simnet is a network in memory, for tests in virtual time: pairs of
// connected streams with latency, splits at any byte, bounded windows, cuts and
// deadlines that obey the clock of a testing/synctest bubble.
//
//	client, server := simnet.Pipe(simnet.Options{Seed: 7, Latency: time.Millisecond, Split: 16})
//
// It guarantees what a plain byte stream does: bytes arrive in order or not at
// all, and what Write took before it failed is a prefix of what it was given.
// It starts no goroutine. Production code does not import it.
package simnet
