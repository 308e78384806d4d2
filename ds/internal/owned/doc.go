// Package owned is what a primitive leaves with a client: what must end with
// it, and the goodbyes of callers who have gone.
//
//	type attachment struct{} // one for each primitive
//
//	s, err := owned.By(client, attachment{})
//	err = s.Add(hold)        // stopped by the client's Close, until Remove
//	s.After(ctx, release)    // runs on when ctx has ended
//
// Guarantees: the client's Close stops what was added, gives what runs a second
// to get through to a server that answers, then ends its context, and returns
// when none of it runs any more. Nothing is added and nothing started after
// that.
//
// Not guaranteed: that a goodbye arrives. It must be such that the server can
// do without it.
//
// A nil *Set is that of a Doer which owns nothing: nothing is kept, and After
// runs in the foreground for a moment.
//
// All methods may be called by many goroutines.
package owned
