// Package observe hands events to the observers of one client, and keeps what
// they do to themselves away from it: an observer that panics is reported and
// otherwise as if it had returned.
//
// A nil *Set is that of a client without observers: all its methods may be
// called and do nothing.
package observe
