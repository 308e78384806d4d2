// Package keys builds the names of the keys that primitives use on the server.
//
//	p := keys.Prefix("", "lease", "video:42") // "{redisx:lease:video:42}:"
//	lease, fence := p+"lease", p+"fence"      // always in one slot
//
// Guarantees: two different (namespace, primitive, name) never give the same
// prefix; no name, whatever its bytes, ends or moves the hash tag, so all keys
// of one object share a slot; Parse undoes Prefix.
//
// Not guaranteed: that a name is short. Servers take keys of up to 512 MB;
// whoever lets strangers choose names should bound them.
//
// The functions are pure and may be used by many goroutines.
package keys
