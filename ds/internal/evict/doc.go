// Package evict refuses servers that throw keys away.
//
//	if err := evict.Check(ctx, d); err != nil {
//		return err // *evict.UnsafeServerError: maxmemory-policy is allkeys-lru
//	}
//
// A server that evicts can drop a lease or a job as it drops a cache entry, at
// any time and without a word. Check asks for its maxmemory-policy and accepts
// noeviction only, also where no maxmemory is set yet: the day it is set is the
// day things go wrong.
//
// Guarantees: nil means that the server said noeviction, now or when the Doer
// was first checked. Where the Doer is a command.Attacher, a server that was
// found safe is not asked again; one that was not is asked each time, so that
// mending it needs no restart.
//
// Not guaranteed: that the policy stays. CONFIG SET changes it any time. In a
// cluster, or after a failover, only the node that answered was asked.
//
// Check may be called by many goroutines.
package evict
