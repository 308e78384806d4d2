package inspect

import (
	"errors"
	"fmt"
)

// ErrTooMany ends a search that has found as many objects as AtMost allows.
var ErrTooMany = errors.New("inspect: more objects than asked for")

// ScanError reports a search that ended before it had seen all keys. What it
// found before is right, but not all.
type ScanError struct {
	Visited int64 // keys that the server has looked at, roughly
	Found   int   // objects that were yielded
	Err     error // why: the cause of the context, ErrTooMany, or the client's error
}

// Error says how far the search has come.
func (e *ScanError) Error() string {
	return fmt.Sprintf("inspect: the search ended after about %d keys, with %s found: %v", e.Visited, count(int64(e.Found), "object"), e.Err)
}

// Unwrap returns why the search ended.
func (e *ScanError) Unwrap() error { return e.Err }

// Explain says what to do.
func (e *ScanError) Explain() string {
	if errors.Is(e.Err, ErrTooMany) {
		return "What was found is right, but not all. Narrow the search by kind, namespace or name, or let it find more."
	}
	return "What was found before is right, but not all. Search again when the server can be reached; a narrower search or a higher rate needs less time."
}

// NotFoundError reports a name under which no object is on the server.
type NotFoundError struct {
	Namespace, Name Text
}

// Error names the name.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("inspect: nothing is called %v in the namespace %v", e.Name, e.Namespace)
}

// Explain says what to do.
func (e *NotFoundError) Explain() string {
	return "An object whose keys have all expired has left nothing. If its keys begin with another namespace than " + e.Namespace.String() + ", name that."
}
