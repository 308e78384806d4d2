package smart

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Condition is something that can be waited for. It is a value: made by Key,
// Exists, Absent, ListLen, StreamAfter, AnyOf and AllOf, and used any number of
// times, by any number of goroutines.
type Condition struct {
	leaf *leaf
	all  bool // of a group: all of it, not any
	of   []Condition
	bad  string // why it cannot be waited for
}

// leaf is a condition on one key.
type leaf struct {
	kind  kind
	key   string
	met   func(s state) bool
	after streamID
}

// Key is met when met says so of the string at key; ok is false, and v "", when
// there is none. A key that holds something else ends the wait
// with the server's WRONGTYPE.
//
// met is called on the goroutine of WaitFor, at least once for what WaitFor
// returns, and as often as that goroutine wants; it may be slow, and where it
// panics only that wait ends.
func Key(key string, met func(v string, ok bool) bool) Condition {
	if met == nil {
		return Condition{bad: "Key without a function"}
	}
	return Condition{leaf: &leaf{kind: value, key: key, met: func(s state) bool { return met(s.value, s.exists) }}}
}

// Exists is met when there is something at key, of any type.
func Exists(key string) Condition {
	return Condition{leaf: &leaf{kind: presence, key: key, met: func(s state) bool { return s.exists }}}
}

// Absent is met when there is nothing at key.
func Absent(key string) Condition {
	return Condition{leaf: &leaf{kind: presence, key: key, met: func(s state) bool { return !s.exists }}}
}

// ListLen is met when the list at key has at least that many elements; an
// absent list has none. A key that holds something else ends the
// wait with WRONGTYPE.
//
// It is for observing. To take elements, use BLPOP or a queue: of all who see
// the list grow only one can have the element.
func ListLen(key string, atLeast int64) Condition {
	return Condition{leaf: &leaf{kind: length, key: key, met: func(s state) bool { return s.length >= atLeast }}}
}

// StreamAfter is met when an entry with an ID greater than id was added to the
// stream at key, whether it is still there or not: Seen.Lost says if entries
// after id are missing. id is as in XADD: "1692632086370-0", "1692632086370" or
// "0". An absent stream is waited for. A key that holds something else ends the
// wait with WRONGTYPE.
func StreamAfter(key, id string) Condition {
	after, ok := parseID(id)
	if !ok {
		return Condition{bad: fmt.Sprintf("StreamAfter with an ID that is none: %q", id)}
	}
	return Condition{leaf: &leaf{kind: stream, key: key, after: after, met: func(s state) bool { return after.less(s.last) }}}
}

// AnyOf is met when at least one of the conditions is. They may be of different
// kinds and keys, also of different hash slots, and groups themselves.
func AnyOf(conditions ...Condition) Condition { return group("AnyOf", false, conditions) }

// AllOf is met when all of the conditions are, each by the last read of its key.
// Keys are read one by one: that all were met at one instant is not said.
func AllOf(conditions ...Condition) Condition { return group("AllOf", true, conditions) }

func group(name string, all bool, conditions []Condition) Condition {
	if len(conditions) == 0 {
		return Condition{bad: name + " without conditions"}
	}
	c := Condition{all: all, of: make([]Condition, len(conditions))}
	copy(c.of, conditions)
	return c
}

// leaves returns the conditions on single keys, from left to right.
func (c Condition) leaves(to []*leaf) ([]*leaf, error) {
	if c.leaf != nil {
		return append(to, c.leaf), nil
	}
	if c.bad == "" && len(c.of) == 0 {
		c.bad = "the zero Condition"
	}
	if c.bad != "" {
		return nil, fmt.Errorf("smart: %s", c.bad)
	}
	var err error
	for _, sub := range c.of {
		if to, err = sub.leaves(to); err != nil {
			return nil, err
		}
	}
	return to, nil
}

// holds reports whether the condition is met where ok says it of the leaves,
// of which the first is number at. It returns the number of the leaf after it.
func (c Condition) holds(at int, ok func(i int) bool) (met bool, next int) {
	if c.leaf != nil {
		return ok(at), at + 1
	}
	met = c.all
	for _, sub := range c.of {
		var m bool
		if m, at = sub.holds(at, ok); m != c.all {
			met = m
		}
	}
	return met, at
}

// streamID is the ID of an entry.
type streamID struct{ ms, seq uint64 }

func parseID(s string) (streamID, bool) {
	first, second, both := strings.Cut(s, "-")
	ms, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return streamID{}, false
	}
	if !both {
		return streamID{ms: ms}, true
	}
	seq, err := strconv.ParseUint(second, 10, 64)
	return streamID{ms, seq}, err == nil
}

func (id streamID) less(other streamID) bool {
	return id.ms < other.ms || id.ms == other.ms && id.seq < other.seq
}

func (id streamID) String() string {
	return strconv.FormatUint(id.ms, 10) + "-" + strconv.FormatUint(id.seq, 10)
}

// baseline is what was known of a stream when nothing was after the ID that is
// waited from.
type baseline struct {
	known bool
	added int64
}

// unknownLoss is Seen.Lost where the counts of a stream say nothing.
const unknownLoss = -1

// lost returns how many entries after an ID are missing in a stream that has
// gone beyond it, compared with how it was then.
func (s state) lost(after streamID, then baseline) int64 {
	empty := s.length == 0
	removed := s.added - s.length
	switch {
	case removed <= 0 || !empty && !after.less(s.first):
		return 0
	case after == streamID{}:
		return removed
	case then.known && s.added >= then.added:
		return max(s.added-then.added-s.length, unknownLoss)
	}
	return unknownLoss
}

// maxCount keeps the arithmetic of lost from overflowing on what a server sends.
const maxCount = math.MaxInt64 / 4
