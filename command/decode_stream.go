package command

import (
	"strconv"
	"time"

	"github.com/redisx/redisx/resp3"
)

// AsEntries reads entries of a stream. Nulls, which servers before 7.0 send for
// claimed entries that were deleted, are left out.
func AsEntries(v resp3.View) ([]Entry, error) {
	if v.Kind() != resp3.Array && v.Kind() != resp3.Null {
		return nil, mismatch(v, "an array")
	}
	out := make([]Entry, 0, room(v.Len()))
	for e := range v.Elems() {
		if e.IsNull() {
			continue
		}
		x, err := AsEntry(e)
		if err != nil {
			return out, err
		}
		out = append(out, x)
	}
	return out, nil
}

// AsEntry reads one entry of a stream.
func AsEntry(v resp3.View) (x Entry, err error) {
	e, err := tuple(v, 2)
	if err != nil {
		return x, err
	}
	if err = into(&x.ID, e[0], AsString); err != nil || e[1].IsNull() {
		return x, err
	}
	x.Fields, err = AsPairs(e[1])
	return x, err
}

// AsStreams reads what XREAD found, in the order asked for. Nothing, be it for
// want of entries or of time, is an empty slice.
func AsStreams(v resp3.View) ([]Stream, error) {
	var out []Stream
	err := eachPair(v, func(k, e resp3.View) error {
		var s Stream
		if err := into(&s.Key, k, AsString); err != nil {
			return err
		}
		var err error
		s.Entries, err = AsEntries(e)
		out = append(out, s)
		return err
	})
	return out, err
}

// AsClaimed reads one step of XAUTOCLAIM.
func AsClaimed(v resp3.View) (c Claimed, err error) {
	e, err := tuple(v, 2)
	if err != nil {
		return c, err
	}
	if err = into(&c.Next, e[0], AsString); err != nil {
		return c, err
	}
	if c.Entries, err = AsEntries(e[1]); err == nil && len(e) > 2 {
		c.Deleted, err = AsStrings(e[2])
	}
	return c, err
}

// AsClaimedIDs reads one step of XAUTOCLAIM JUSTID.
func AsClaimedIDs(v resp3.View) (c ClaimedIDs, err error) {
	e, err := tuple(v, 2)
	if err != nil {
		return c, err
	}
	if err = into(&c.Next, e[0], AsString); err != nil {
		return c, err
	}
	if c.IDs, err = AsStrings(e[1]); err == nil && len(e) > 2 {
		c.Deleted, err = AsStrings(e[2])
	}
	return c, err
}

// AsPending reads the summary of XPENDING.
func AsPending(v resp3.View) (p PendingSummary, err error) {
	e, err := tuple(v, 4)
	if err != nil {
		return p, err
	}
	if err = into(&p.Count, e[0], AsInt); err != nil || p.Count == 0 {
		return p, err
	}
	if err = into(&p.Lowest, e[1], AsString); err != nil {
		return p, err
	}
	if err = into(&p.Highest, e[2], AsString); err != nil {
		return p, err
	}
	p.Consumers, err = slice(e[3], func(v resp3.View) (c ConsumerPending, err error) {
		e, err := tuple(v, 2)
		if err != nil {
			return c, err
		}
		if err = into(&c.Name, e[0], AsString); err == nil {
			err = into(&c.Count, e[1], AsInt)
		}
		return c, err
	})
	return p, err
}

// AsPendingEntries reads the entries of XPENDING with a range.
func AsPendingEntries(v resp3.View) ([]PendingEntry, error) {
	return slice(v, func(v resp3.View) (p PendingEntry, err error) {
		e, err := tuple(v, 4)
		if err != nil {
			return p, err
		}
		if err = into(&p.ID, e[0], AsString); err != nil {
			return p, err
		}
		if err = into(&p.Consumer, e[1], AsString); err != nil {
			return p, err
		}
		if err = into(&p.Idle, e[2], AsMillis); err == nil {
			err = into(&p.Deliveries, e[3], AsInt)
		}
		return p, err
	})
}

// AsStreamInfo reads the reply of XINFO STREAM. Fields it does not know are
// ignored.
func AsStreamInfo(v resp3.View) (s StreamInfo, err error) {
	err = each(v, func(k, e resp3.View) error {
		switch string(k.Bytes()) {
		case "length":
			return into(&s.Length, e, AsInt)
		case "radix-tree-keys":
			return into(&s.RadixTreeKeys, e, AsInt)
		case "radix-tree-nodes":
			return into(&s.RadixTreeNodes, e, AsInt)
		case "groups":
			return into(&s.Groups, e, AsInt)
		case "entries-added":
			return into(&s.EntriesAdded, e, AsInt)
		case "last-generated-id":
			return into(&s.LastGeneratedID, e, AsString)
		case "max-deleted-entry-id":
			return into(&s.MaxDeletedEntryID, e, AsString)
		case "recorded-first-entry-id":
			return into(&s.RecordedFirstEntryID, e, AsString)
		case "first-entry":
			return into(&s.First, e, AsOptional(AsEntry))
		case "last-entry":
			return into(&s.Last, e, AsOptional(AsEntry))
		}
		return nil
	})
	return s, err
}

// AsGroups reads the reply of XINFO GROUPS.
func AsGroups(v resp3.View) ([]GroupInfo, error) {
	return slice(v, func(v resp3.View) (g GroupInfo, err error) {
		err = each(v, func(k, e resp3.View) error {
			switch string(k.Bytes()) {
			case "name":
				return into(&g.Name, e, AsString)
			case "consumers":
				return into(&g.Consumers, e, AsInt)
			case "pending":
				return into(&g.Pending, e, AsInt)
			case "last-delivered-id":
				return into(&g.LastDeliveredID, e, AsString)
			case "entries-read":
				return into(&g.EntriesRead, e, AsOptional(AsInt))
			case "lag":
				return into(&g.Lag, e, AsOptional(AsInt))
			}
			return nil
		})
		return g, err
	})
}

// AsConsumers reads the reply of XINFO CONSUMERS.
func AsConsumers(v resp3.View) ([]ConsumerInfo, error) {
	return slice(v, func(v resp3.View) (c ConsumerInfo, err error) {
		err = each(v, func(k, e resp3.View) error {
			switch string(k.Bytes()) {
			case "name":
				return into(&c.Name, e, AsString)
			case "pending":
				return into(&c.Pending, e, AsInt)
			case "idle":
				return into(&c.Idle, e, AsMillis)
			case "inactive":
				return into(&c.Inactive, e, AsOptional(asInactive))
			}
			return nil
		})
		return c, err
	})
}

// asInactive reads milliseconds; -1, never active, is 0.
func asInactive(v resp3.View) (time.Duration, error) {
	d, err := AsMillis(v)
	return max(d, 0), err
}

// EntryRemoval is what became of one entry of a stream that was to be removed.
type EntryRemoval int64

// What becomes of an entry. EntryReferred: with ACKED, some group has not
// acknowledged it yet.
const (
	EntryAbsent   EntryRemoval = -1
	EntryRemoved  EntryRemoval = 1
	EntryReferred EntryRemoval = 2
)

// String returns it in words.
func (e EntryRemoval) String() string {
	switch e {
	case EntryAbsent:
		return "absent"
	case EntryRemoved:
		return "removed"
	case EntryReferred:
		return "still referred to"
	}
	return "EntryRemoval(" + strconv.FormatInt(int64(e), 10) + ")"
}

// AsRemovals reads what became of each entry.
func AsRemovals(v resp3.View) ([]EntryRemoval, error) {
	return slice(v, func(e resp3.View) (EntryRemoval, error) {
		n, err := AsInt(e)
		return EntryRemoval(n), err
	})
}
