// Package tracking tells callers that a key may have changed, by the server's
// push messages (CLIENT TRACKING), on one connection for all keys of a node.
//
// The order is: note the interest, read the key on the tracking connection
// (the server notes it in the same step), then let the caller read for itself.
// Any change after that is pushed. A lost connection counts as a change of
// everything.
package tracking
