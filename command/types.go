package command

import "time"

// Pair is a name and its value: a key of MSET, a field of a hash or of a
// stream's entry, an element popped with its key.
type Pair struct {
	Key   string
	Value string
}

// KV returns a Pair.
func KV(key, value string) Pair { return Pair{Key: key, Value: value} }

// Z is a member of a sorted set with its score.
type Z struct {
	Score  float64
	Member string
}

// From says where to read a stream on: after ID. "$" is the end, and for
// groups ">" is what no consumer of the group was given yet.
type From struct {
	Key string
	ID  string
}

// Optional is a value that may be absent.
type Optional[T any] struct {
	Value T    // the zero value when absent
	OK    bool // present
}

// Side is an end of a list.
type Side string

// The ends of a list.
const (
	Left  Side = "LEFT"  // the head
	Right Side = "RIGHT" // the tail
)

// Place says on which side of an element LINSERT inserts.
type Place string

// The places of LINSERT.
const (
	Before Place = "BEFORE"
	After  Place = "AFTER"
)

// BitOperation is what BITOP does with the bits of its sources.
type BitOperation string

// The operations of BITOP. Not takes one source.
const (
	And BitOperation = "AND"
	Or  BitOperation = "OR"
	Xor BitOperation = "XOR"
	Not BitOperation = "NOT"

	// Of Redis 8.2: the bits of the first source that none of the others has,
	// those of the others that the first has not, those of the first that any
	// of the others has, and those that exactly one of all has.
	Diff  BitOperation = "DIFF"
	Diff1 BitOperation = "DIFF1"
	AndOr BitOperation = "ANDOR"
	One   BitOperation = "ONE"
)

// Lifetime is how long a key has left.
type Lifetime struct {
	Left    time.Duration // 0 when Forever
	Forever bool          // the key never expires
}

// Deadline is when a key expires.
type Deadline struct {
	At      time.Time // zero when Forever
	Forever bool      // the key never expires
}

// Popped is what was taken from one of several lists.
type Popped struct {
	Key    string
	Values []string
}

// PoppedZ is what was taken from one of several sorted sets.
type PoppedZ struct {
	Key     string
	Members []Z
}

// Rank is the place of a member, from 0, with its score.
type Rank struct {
	Rank  int64
	Score float64
}

// ScanResult is one step of a scan. The scan is over when Cursor is 0.
type ScanResult struct {
	Cursor uint64
	Keys   []string // keys, or members of a set; some may come twice
}

// HScanResult is one step of a scan of a hash.
type HScanResult struct {
	Cursor uint64
	Fields []Pair // some may come twice
}

// ZScanResult is one step of a scan of a sorted set.
type ZScanResult struct {
	Cursor  uint64
	Members []Z // some may come twice
}

// Entry is one entry of a stream.
type Entry struct {
	ID     string
	Fields []Pair // in the order they were added; nil when the entry was deleted
}

// Get returns the first value of a field.
func (e Entry) Get(field string) (value string, ok bool) {
	for _, f := range e.Fields {
		if f.Key == field {
			return f.Value, true
		}
	}
	return "", false
}

// Stream is what was read of one stream.
type Stream struct {
	Key     string
	Entries []Entry
}

// Claimed is one step of XAUTOCLAIM. The scan is over when Next is "0-0".
type Claimed struct {
	Next    string   // the ID to go on from
	Entries []Entry  // now the caller's
	Deleted []string // entries that were pending and exist no more (Redis 7.0)
}

// ClaimedIDs is Claimed without the entries' contents.
type ClaimedIDs struct {
	Next    string
	IDs     []string
	Deleted []string
}

// PendingSummary tells of all entries that a group delivered and that are not
// acknowledged.
type PendingSummary struct {
	Count     int64
	Lowest    string // smallest ID, "" when Count is 0
	Highest   string
	Consumers []ConsumerPending
}

// ConsumerPending is the number of unacknowledged entries of one consumer.
type ConsumerPending struct {
	Name  string
	Count int64
}

// PendingEntry is one unacknowledged entry.
type PendingEntry struct {
	ID         string
	Consumer   string
	Idle       time.Duration // since it was delivered last
	Deliveries int64
}

// StreamInfo tells of a stream as a whole. Fields that the server lacks are
// zero.
type StreamInfo struct {
	Length               int64
	RadixTreeKeys        int64
	RadixTreeNodes       int64
	Groups               int64
	EntriesAdded         int64 // ever (Redis 7.0)
	LastGeneratedID      string
	MaxDeletedEntryID    string // (Redis 7.0)
	RecordedFirstEntryID string // (Redis 7.0)
	First, Last          Optional[Entry]
}

// GroupInfo tells of a consumer group.
type GroupInfo struct {
	Name            string
	Consumers       int64
	Pending         int64
	LastDeliveredID string
	EntriesRead     Optional[int64] // (Redis 7.0)
	Lag             Optional[int64] // entries not yet delivered, when known (Redis 7.0)
}

// ConsumerInfo tells of a consumer of a group.
type ConsumerInfo struct {
	Name     string
	Pending  int64
	Idle     time.Duration           // since it last tried to do anything
	Inactive Optional[time.Duration] // since it last got anything (Redis 7.2)
}

// Role is what a server is in replication.
type Role struct {
	Name     string    // "master", "slave" or "sentinel"
	Offset   int64     // of replication
	Primary  string    // of a replica: host:port of its primary
	State    string    // of a replica: "connect", "connecting", "sync", "connected"…
	Replicas []Replica // of a primary
	Masters  []string  // of a sentinel: the names it watches
}

// Replica is a replica as its primary sees it.
type Replica struct {
	Host   string
	Port   string
	Offset int64
}

// SlowEntry is one entry of the log of slow commands.
type SlowEntry struct {
	ID     int64
	At     time.Time
	Took   time.Duration
	Args   []string // the command, cut by the server where it was long
	Client string   // host:port
	Name   string   // the client's name
}

// LibraryInfo tells of a library of functions on the server.
type LibraryInfo struct {
	Name      string
	Engine    string
	Functions []FunctionInfo
	Code      string // "" unless it was asked for
}

// FunctionInfo tells of one function of a library.
type FunctionInfo struct {
	Name        string
	Description Optional[string]
	Flags       []string
}
