package faultproxy

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is a kind of fault.
type Kind uint8

// The kinds.
const (
	Cut       Kind = iota // both directions are closed, what was on its way is lost
	Reset                 // the client's end is reset (RST)
	HalfClose             // nothing more is sent to one side, which sees the end
	Hole                  // nothing passes in either direction; nothing is lost
	Delay                 // what passes in one direction is late
	Drip                  // one direction passes a few bytes at a time
	kinds
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"cut", "reset", "half-close", "hole", "delay", "drip"}[k]
}

// Side is the end of a connection that bytes go to.
type Side uint8

// The sides.
const (
	Client Side = iota
	Server
)

// String returns the side's name.
func (s Side) String() string { return [...]string{"client", "server"}[s] }

// Fault is one thing that happens to a connection.
type Fault struct {
	Kind Kind
	// To is the direction that Bytes counts, and that HalfClose, Delay and Drip
	// are about.
	To Side
	// Bytes is how many more bytes pass in that direction before a Cut, Reset or
	// HalfClose. Zero: it happens at once. The other kinds begin at once.
	Bytes int
	// For is how long a Hole, Delay or Drip lasts. Zero: until Heal.
	For time.Duration
	// Late is the delay of a Delay. Default 5 ms.
	Late time.Duration
}

// String says all of it.
func (f Fault) String() string {
	return fmt.Sprintf("%v to the %v after %d bytes for %v", f.Kind, f.To, f.Bytes, f.For)
}

// lasts reports whether the fault is a state rather than an event.
func (f Fault) lasts() bool { return f.Kind == Hole || f.Kind == Delay || f.Kind == Drip }

// Random returns a fault of any kind, one that lasts no longer than the limit.
func Random(r *rand.Rand, limit time.Duration) Fault {
	return Fault{
		Kind:  Kind(r.IntN(int(kinds))),
		To:    Side(r.IntN(2)),
		Bytes: r.IntN(2) * r.IntN(20_000),
		For:   time.Duration(1 + r.Int64N(int64(limit))),
		Late:  time.Duration(r.Int64N(int64(10 * time.Millisecond))),
	}
}
